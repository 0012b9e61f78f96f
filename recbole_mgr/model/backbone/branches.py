"""What the decoder knows of single branches of the prefix trie, beside what their codes share with others."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.layers import Dropout

ROWS_OF_BLOCK = 16  # of one node, that a CPU multiplies together
_BRANCH_WEIGHT = re.compile(r"\.branches\.(?:bias|vectors)\.(\d+)$")


class BranchScores(nn.Module):
    """A bias and a vector of its own for each branch (child node) of the trie, added to its code's logit.

    A code means other items after another prefix, but its head's weights are the same everywhere: what is particular
    to a few items, how popular they are and with what they are bought, has to pass the decoder's one block. Here each
    branch has weights of its own for that, as in a hierarchical softmax, and its code still speaks for it where they
    have learned little.

    Source: the vectors of a tree's nodes are those of Mnih & Hinton, "A scalable hierarchical distributed language
    model" (2008); adding them to the shared codes' logits is ours. Branches of items that join later have zeros.

    Args:
        trie: of the catalogue.
        hidden_size: H of the decoder's features.
        size: R of the vectors, >= 1.
        dropout: of the projected features, in [0, 1).
    """

    def __init__(self, trie: PrefixTrie, *, hidden_size: int, size: int, dropout: float) -> None:
        super().__init__()
        counts = [trie.num_nodes(depth + 1) for depth in range(trie.num_digits)]
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(count)) for count in counts)
        self.vectors = nn.ParameterList(nn.Parameter(torch.randn(count, size) * 0.02) for count in counts)
        self.query = nn.Linear(hidden_size, size, bias=False)
        self.dropout = Dropout(dropout)
        self.trie = trie

    def forward(self, depth: int, nodes: Tensor, features: Tensor, logits: Tensor) -> Tensor:
        """Logits [..., K] with the branches' own scores added.

        Args:
            depth: the digit.
            nodes: int64 [...], the prefixes; -1 has no branches.
            features: float [..., H], what the head sees.
            logits: float [..., K], of the codes.
        """
        query = self.dropout(self.query(features))  # [..., R]
        if depth == 0:  # all stand at the root
            scores, codes = self._scores(0, nodes.new_zeros(()), query)
        elif nodes.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            scores, codes = self._scores(depth, nodes, query.unsqueeze(-2))
            scores = scores.squeeze(-2)
        else:  # a search meets the same nodes in many rows
            found = self._scores_by_node(depth, nodes.flatten(), query.flatten(0, -2))
            scores, codes = (part.view(*nodes.shape, part.shape[-1]) for part in found)
        return logits.scatter_add(-1, codes.expand_as(scores), scores.to(logits.dtype))

    def _scores(self, depth: int, nodes: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [..., Q, C] of the branches below ``nodes`` [...] for ``queries`` [..., Q, R] of each, 0 where there
        is none; and their codes, [..., C]."""
        children = self.trie.children_of(depth, nodes)  # [..., C]
        branches = children.nodes.clamp(min=0)
        scores = queries @ self.vectors[depth][branches].mT + self.bias[depth][branches].unsqueeze(-2)
        return scores.masked_fill(~children.valid.unsqueeze(-2), 0.0), children.codes

    def _scores_by_node(self, depth: int, nodes: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and codes [n, C] of the branches below each of ``nodes`` [n] for its own ``query`` [n, R].

        Rows of the same node are multiplied in blocks, for each of which a CPU reads the branches' vectors once.
        """
        nodes, order = nodes.sort()
        row = torch.arange(len(nodes), device=nodes.device)
        is_first = F.pad(nodes[1:] != nodes[:-1], (1, 0), value=True)  # of its node
        of_node = row - row.masked_fill(~is_first, 0).cummax(dim=0).values  # [n], 0 for the first row of each node
        is_start = of_node % ROWS_OF_BLOCK == 0
        block = is_start.cumsum(dim=0) - 1
        place = torch.empty_like(order)
        place[order] = block * ROWS_OF_BLOCK + of_node % ROWS_OF_BLOCK  # of the rows as they came
        blocks = query.new_zeros(int(is_start.sum()), ROWS_OF_BLOCK, query.shape[1])
        blocks.flatten(0, 1).index_copy_(0, place, query)
        scores, codes = self._scores(depth, nodes[is_start], blocks)
        return scores.flatten(0, 1).index_select(0, place), codes.index_select(0, place // ROWS_OF_BLOCK)


def moved_branches(old: PrefixTrie, new: PrefixTrie, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights with those of its branches where they stand in the trie of an extended catalogue.

    Args:
        old, new: tries; the old one's items have the same ids and codes in the new one.
        weights: of the network, by name.

    Returns:
        All weights; branches that the old trie has not have zeros.
    """
    items = old.leaf_items.long()
    places = [trie.path_to_leaf(items)[:, 1:] for trie in (old, new)]  # [N, D]
    moved = dict(weights)
    for name, tensor in weights.items():
        match = _BRANCH_WEIGHT.search(name)
        if match:
            depth = int(match.group(1))
            was, is_ = (branches[:, depth] for branches in places)  # [N]
            moved[name] = tensor.new_zeros(new.num_nodes(depth + 1), *tensor.shape[1:])
            moved[name][is_] = tensor[was]
    return moved
