"""What the decoder knows of items that the user has already."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.generation.trie import PrefixTrie

STRETCH = 100.0  # of the scores: an optimiser moves all weights by the same step, and e^-3 is no refusal yet
_NOTHING_LEFT = 1e-30  # of a branch's items are new to the user, where all of them are in the history


class RepeatScores(nn.Module):
    """A learned score of the items of the history, pushed down the trie.

    Where nobody takes an item twice it becomes a refusal, where people do it becomes an invitation: what masking the
    history decides from outside is learned from the training sequences. A branch with n items, s of them in the
    history, gains ``log((n - s + s exp(score)) / n)``: that of a prior that gives new items 0 and the others the score
    (`recbole_mgr.generation.priors`). So a branch whose items are all in the history is refused where it begins, and
    not only at the digit that tells its last two items apart. Ours; it starts at 0.

    Args:
        codes: int64 [N+1, D], row 0 belongs to PAD.
        trie: of the same codes.
    """

    codes: Tensor
    shares: Tensor

    def __init__(self, codes: Tensor, trie: PrefixTrie) -> None:
        super().__init__()
        self.trie = trie
        self.score = nn.Parameter(torch.zeros(()))
        item_ids = torch.arange(1, len(codes))
        branches = trie.path_to_leaf(item_ids)[:, 1:]  # [N, D]
        leaves = [trie.num_leaves(d + 1, branches[:, d]) for d in range(trie.num_digits)]
        shares = F.pad(1 / torch.stack(leaves, dim=1), (0, 0, 1, 0))
        self.register_buffer("shares", shares, persistent=False)  # [N+1, D], of an item among those below its branch
        self.register_buffer("codes", codes, persistent=False)  # [N+1, D]

    def forward(self, depth: int, nodes: Tensor, history: Tensor, logits: Tensor) -> Tensor:
        """Logits [..., K] with the scores of the branches added.

        Args:
            depth: the digit.
            nodes: int64 [...], the prefixes; -1 stands for none.
            history: int64 [..., L], distinct item ids (`distinct_items`), 0 = none.
            logits: float [..., K].
        """
        first, end = (bound.unsqueeze(-1) for bound in self.trie.leaf_range(depth, nodes.clamp(min=0)))
        leaves = self.trie.leaf(history)  # [..., L]
        is_below = (leaves >= first) & (leaves < end)
        spare = logits.shape[-1]  # a column for the items that are not below
        columns = torch.where(is_below, self.codes[history, depth], spare)
        nothing = torch.zeros(*logits.shape[:-1], spare + 1, device=logits.device)
        together = nothing.scatter_add(-1, columns, torch.ones_like(columns, dtype=nothing.dtype)).gather(-1, columns)
        seen = (together * self.shares[history, depth]).clamp(max=1)  # [..., L], share of each item's branch
        score = torch.logaddexp((1 - seen).clamp(min=_NOTHING_LEFT).log(), seen.log() + STRETCH * self.score)
        gain = nothing.scatter_add(-1, columns, score / together)[..., :spare]
        return logits + gain.to(logits.dtype)


def distinct_items(history: Tensor) -> Tensor:
    """A history, int64 [..., L], with each item where it stands first and 0 elsewhere."""
    is_same = history.unsqueeze(-1) == history.unsqueeze(-2)  # [..., L, L]
    return history.masked_fill(is_same.tril(diagonal=-1).any(dim=-1), 0)
