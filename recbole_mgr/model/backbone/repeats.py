"""What the decoder knows of items that the user has already."""

import torch
from torch import Tensor, nn

from recbole_mgr.generation.trie import PrefixTrie

STRETCH = 100.0  # of the scores: an optimiser moves all weights by the same step, and e^-3 is no refusal yet


class RepeatScores(nn.Module):
    """For each digit a learned score of the codes that lead to nothing but an item of the user's history.

    Where nobody takes an item twice it becomes a refusal, where people do it becomes an invitation: what masking the
    history decides from outside is learned from the training sequences. Ours; it starts at 0.

    Args:
        codes: int64 [N+1, D], row 0 belongs to PAD.
        trie: of the same codes.
    """

    digits: Tensor
    nodes: Tensor
    codes: Tensor

    def __init__(self, codes: Tensor, trie: PrefixTrie) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.zeros(trie.num_digits))
        item_ids = torch.arange(1, len(codes))
        path = trie.path(item_ids)  # [N, D]
        branches = torch.cat([path[:, 1:], trie.leaf(item_ids)[:, None]], dim=1)  # [N, D]
        leaves = torch.stack([trie.num_leaves(d + 1, branches[:, d]) for d in range(trie.num_digits)], dim=1)
        deciding = (leaves == 1).int().argmax(dim=1, keepdim=True)  # [N, 1], the first digit that leaves no other item
        for name, values, nothing in (
            ("digits", deciding, -1),
            ("nodes", path.gather(1, deciding), -1),
            ("codes", codes[1:].gather(1, deciding), 0),
        ):
            column = torch.cat([values.new_full((1,), nothing), values.squeeze(1)])
            self.register_buffer(name, column, persistent=False)  # [N+1]

    def forward(self, depth: int, nodes: Tensor, history: Tensor, logits: Tensor) -> Tensor:
        """Logits [..., K] with the score added where a code repeats an item.

        Args:
            depth: the digit.
            nodes: int64 [...], the prefixes.
            history: int64 [..., L] item ids, 0 = none.
            logits: float [..., K].
        """
        num_codes = logits.shape[-1]
        is_here = (self.digits[history] == depth) & (self.nodes[history] == nodes.unsqueeze(-1))  # [..., L]
        columns = torch.where(is_here, self.codes[history], num_codes)  # a spare column takes the others
        repeats = logits.new_zeros(*logits.shape[:-1], num_codes + 1).scatter(-1, columns, 1.0)[..., :num_codes]
        return logits + STRETCH * self.score[depth].to(logits.dtype) * repeats
