"""The levels of a prefix trie, and how they are built from a catalogue's codes.

A level is a CSR matrix: where each node's children begin, and the code on the edge into each child. Where nodes are
wide, as near the root, it is also a dense table, which is read faster than ragged rows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LARGEST_KEY = 2**63  # packed digits are compared as int64
DENSE_SHARE = 1 / 3  # a level whose widest node has at least this share of the K codes is read as a table ...
DENSE_ENTRIES_PER_ITEM = 4  # ... if the table, 8 bytes an entry, has at most so many


class Level(nn.Module):
    """The edges from one depth to the next.

    Args:
        first_child: int32 [nodes + 1], where each node's children begin; the last entry is their number.
        child_codes: integer [children], the code on the edge into each child.
        size: K of the digit.
        max_entries: the largest table to hold.

    Attributes:
        min_children, max_children: number of children of the narrowest and of the widest node.
        child_table: int32 [nodes, K], the child under each code, -1 where there is none; None unless dense.
        penalty: float32 [nodes, K], 0 where there is a child and -inf elsewhere, to be added to logits; None unless
            dense.
    """

    child_table: Tensor | None
    penalty: Tensor | None

    def __init__(self, first_child: Tensor, child_codes: Tensor, *, size: int, max_entries: int):
        super().__init__()
        self.num_nodes = len(first_child) - 1
        self.min_children, self.max_children = map(int, first_child.diff().aminmax())
        child_table = penalty = None
        if self.max_children >= DENSE_SHARE * size and self.num_nodes * size <= max_entries:
            child_table = torch.full((self.num_nodes * size,), -1, dtype=torch.int32, device=first_child.device)
            nodes = torch.arange(self.num_nodes, device=first_child.device)
            parents = nodes.repeat_interleave(first_child.diff())  # [children]
            children = torch.arange(len(child_codes), dtype=torch.int32, device=first_child.device)
            child_table[parents * size + child_codes] = children
            child_table = child_table.view(self.num_nodes, size)
            penalty = torch.zeros_like(child_table, dtype=torch.float32).masked_fill_(child_table < 0, -torch.inf)
        self.register_buffer("first_child", first_child, persistent=False)
        self.register_buffer("child_codes", child_codes, persistent=False)
        self.register_buffer("child_table", child_table, persistent=False)
        self.register_buffer("penalty", penalty, persistent=False)

    @property
    def is_dense(self) -> bool:
        return self.child_table is not None


def check_rows(codes: Tensor, sizes: Sequence[int], item_ids: Tensor) -> None:
    """Raise ValueError unless the shapes fit, codes are in range and item ids positive."""
    if codes.dim() != 2 or not len(codes) or codes.shape[1] != len(sizes) or not len(sizes):
        raise ValueError(
            f"codes: expected [items, {len(sizes)}], one column per entry of sizes, got {tuple(codes.shape)}"
        )
    if item_ids.shape != codes.shape[:1]:
        raise ValueError(f"item_ids: expected one per row, [{len(codes)}], got {tuple(item_ids.shape)}")
    lows, highs = (ends.tolist() for ends in codes.aminmax(dim=0))
    for digit, (size, lowest, highest) in enumerate(zip(sizes, lows, highs, strict=True)):
        if lowest < 0 or highest >= size:
            column = codes[:, digit].long()
            row = int(((column < 0) | (column >= size)).nonzero()[0])
            raise ValueError(f"codes: row {row} has code {int(column[row])} at digit {digit}, outside 0..{size - 1}")
    if bool((item_ids <= 0).any()):
        row = int((item_ids <= 0).nonzero()[0])
        raise ValueError(f"item_ids: row {row} has {int(item_ids[row])}; ids begin at 1, 0 is padding")


def lexicographic_order(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """The row numbers of ``codes`` [N, D] in the order of their codes, int64 [N]."""
    keys, radix = [], 1
    for digit, size in enumerate(sizes):  # as many digits into one key as an int64 can tell apart
        if not keys or radix * size > LARGEST_KEY:
            keys.append(codes[:, digit].long())
            radix = size
        else:
            keys[-1] = keys[-1] * size + codes[:, digit]
            radix *= size
    order = keys[-1].argsort(stable=True)
    for key in reversed(keys[:-1]):
        order = order[key[order].argsort(stable=True)]
    return order


def build_levels(codes: Tensor, sizes: Sequence[int], order: Tensor) -> list[Level]:
    """The levels of the trie over rows ``codes`` [N, D], given their lexicographic ``order`` [N].

    Raises:
        ValueError: If two rows are equal.
    """
    smallest_dtype = next(d for d in (torch.uint8, torch.int16, torch.int32) if max(sizes) - 1 <= torch.iinfo(d).max)
    digits = codes.to(smallest_dtype)[order].T.contiguous()  # [D, N]
    is_first = torch.zeros(len(order), dtype=torch.bool, device=codes.device)  # first item below a node
    is_first[0] = True
    firsts = is_first.nonzero().squeeze(1)  # [nodes of the depth]
    levels = []
    for digit_codes, size in zip(digits, sizes, strict=True):
        is_first[1:] |= digit_codes[1:] != digit_codes[:-1]
        child_of_item = is_first.cumsum(0, dtype=torch.int32) - 1  # [N]
        first_child = torch.cat([child_of_item[firsts], child_of_item[-1:] + 1])
        firsts = is_first.nonzero().squeeze(1)
        max_entries = DENSE_ENTRIES_PER_ITEM * len(order)
        levels.append(Level(first_child, digit_codes[firsts], size=size, max_entries=max_entries))
    if len(firsts) < len(order):
        repeated = (~is_first).nonzero()[0]
        rows = sorted([int(order[repeated - 1]), int(order[repeated])])
        raise ValueError(f"codes: row {rows[1]} repeats row {rows[0]}, {codes[rows[0]].tolist()}; add a dedup digit")
    return levels
