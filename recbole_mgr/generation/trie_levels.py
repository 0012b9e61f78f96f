"""The levels of a prefix trie, and how they are built from a catalogue's codes.

A level is a CSR matrix: where each node's children begin, and the code on the edge into each child. Where nodes are
wide, as near the root, it is also a dense table, which is read faster than ragged rows. Nodes are those of the level's
depth, children those of the next.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

LARGEST_KEY = 2**63  # packed digits are compared as int64
DENSE_SHARE = 1 / 3  # a level whose widest node has at least this share of the K codes is read as a table ...
DENSE_ENTRIES_PER_ITEM = 4  # ... if the table, 8 bytes an entry, has at most so many

CodeSoftmax = Literal["legal", "full"]


class Children(NamedTuple):
    """The children of each node, by ascending code, padded to the widest node of the depth.

    Attributes:
        codes: int64 [..., C], the code that leads to the child; 0 where there is no child.
        nodes: int64 [..., C], the child's node at the next depth; -1 where there is no child.
        valid: bool [..., C], where there is a child.
    """

    codes: Tensor
    nodes: Tensor
    valid: Tensor


class Level(nn.Module):
    """The edges from one depth to the next, as ragged rows. What the methods do is said at those of `PrefixTrie`.

    Args:
        first_child: int32 [nodes + 1], where each node's children begin; the last entry is their number.
        child_codes: integer [children], the code on the edge into each child.
        size: K of the digit.

    Attributes:
        min_children, max_children: number of children of the narrowest and of the widest node.
        num_slots: length of the rows of :meth:`slot_log_probs`.
    """

    first_child: Tensor
    child_codes: Tensor

    def __init__(self, first_child: Tensor, child_codes: Tensor, *, size: int):
        super().__init__()
        self.size, self.num_nodes = size, len(first_child) - 1
        self.min_children, self.max_children = map(int, first_child.diff().aminmax())
        self.num_slots = self.max_children
        self.register_buffer("first_child", first_child, persistent=False)
        self.register_buffer("child_codes", child_codes, persistent=False)

    def num_children(self, nodes: Tensor) -> Tensor:
        """int32 [...]"""
        safe_nodes = nodes.clamp(min=0)
        return (self.first_child[safe_nodes + 1] - self.first_child[safe_nodes]) * (nodes >= 0)

    def children_of(self, nodes: Tensor) -> Children:
        slots = torch.arange(self.max_children, device=nodes.device)  # [C]
        valid = slots < self.num_children(nodes).unsqueeze(-1)  # [..., C]
        first = self.first_child[nodes.clamp(min=0)].unsqueeze(-1)  # [..., 1]
        child_nodes = torch.where(valid, first + slots, -1)
        codes = torch.where(valid, self.child_codes[child_nodes.clamp(min=0)].long(), 0)
        return Children(codes, child_nodes, valid)

    def legal(self, nodes: Tensor) -> Tensor:
        children = self.children_of(nodes)
        columns = torch.where(children.valid, children.codes, self.size)  # a spare column takes the padding
        mask = torch.zeros((*nodes.shape, self.size + 1), dtype=torch.bool, device=nodes.device)
        return mask.scatter_(-1, columns, True)[..., : self.size]

    def advance(self, nodes: Tensor, codes: Tensor) -> Tensor:
        children = self.children_of(nodes)
        chosen = children.valid & (children.codes == codes.unsqueeze(-1))  # [..., C], at most one each
        return torch.where(chosen, children.nodes, -1).amax(dim=-1)

    def legal_log_prob(self, nodes: Tensor, logits: Tensor, codes: Tensor) -> Tensor:
        """As ``log_prob`` of the trie with its ``legal`` softmax, from float32 logits."""
        children = self.children_of(nodes)  # [M, C]
        is_chosen = children.valid & (children.codes == codes.unsqueeze(-1))
        legal_logits = _logits_of(children.codes, children.valid, logits)
        log_probs = pick(legal_logits.log_softmax(dim=-1), is_chosen.int().argmax(dim=-1))
        return torch.where(is_chosen.any(dim=-1), log_probs, -torch.inf)

    def slot_log_probs(
        self,
        nodes: Tensor,
        logits: Tensor,
        code_softmax: CodeSoftmax,
        child_scores: Tensor | None = None,
    ) -> Tensor:
        """As that of the trie with all items, from float32 logits."""
        slots = torch.arange(self.num_slots, device=nodes.device)  # [C]
        codes, _ = self.follow(nodes.unsqueeze(-1), slots)  # [..., W, C]
        valid = slots < (self.first_child[nodes + 1] - self.first_child[nodes]).unsqueeze(-1)
        if code_softmax == "legal":
            child_logits = _logits_of(codes, valid, logits)  # [..., W, C]
            if child_scores is not None:
                child_logits = child_logits + child_scores
            return child_logits.log_softmax(dim=-1)
        return _logits_of(codes, valid, logits.log_softmax(dim=-1))

    def mask_of(self, remaining: Tensor) -> Tensor:
        """What :meth:`masked` needs where so many leaves remain below the children, int32 [children]."""
        return remaining == 0

    def masked(self, log_probs: Tensor, nodes: Tensor, mask: Tensor) -> Tensor:
        """Rows of :meth:`slot_log_probs` with -inf where nothing remains."""
        slots = torch.arange(self.num_slots, device=nodes.device)
        _, children = self.follow(nodes.unsqueeze(-1), slots)
        return log_probs.masked_fill(mask[children], -torch.inf)

    def follow(self, nodes: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        children = (self.first_child[nodes] + slots).clamp(max=len(self.child_codes) - 1)
        return self.child_codes[children].long(), children

    def slots_of(self, parents: Tensor, children: Tensor) -> Tensor:
        return children - self.first_child[parents]


class TableLevel(Level):
    """The edges from one depth to the next, as a table of all codes too; a child's slot is its code.

    Attributes:
        child_table: int32 [nodes, K], the child under each code, -1 where there is none.
        penalty: float32 [nodes, K], 0 where there is a child and -inf elsewhere, to be added to logits.
    """

    child_table: Tensor
    penalty: Tensor

    def __init__(self, first_child: Tensor, child_codes: Tensor, *, size: int):
        super().__init__(first_child, child_codes, size=size)
        self.num_slots = size
        child_table = torch.full((self.num_nodes * size,), -1, dtype=torch.int32, device=first_child.device)
        nodes = torch.arange(self.num_nodes, device=first_child.device)
        parents = nodes.repeat_interleave(first_child.diff())  # [children]
        children = torch.arange(len(child_codes), dtype=torch.int32, device=first_child.device)
        child_table[parents * size + child_codes] = children
        child_table = child_table.view(self.num_nodes, size)
        penalty = torch.zeros_like(child_table, dtype=torch.float32).masked_fill_(child_table < 0, -torch.inf)
        self.register_buffer("child_table", child_table, persistent=False)
        self.register_buffer("penalty", penalty, persistent=False)

    def legal(self, nodes: Tensor) -> Tensor:
        return (self.child_table[nodes.clamp(min=0)] >= 0) & (nodes >= 0).unsqueeze(-1)

    def advance(self, nodes: Tensor, codes: Tensor) -> Tensor:
        return torch.where(nodes >= 0, self.child_table[nodes.clamp(min=0), codes].long(), -1)

    def legal_log_prob(self, nodes: Tensor, logits: Tensor, codes: Tensor) -> Tensor:
        penalty = self.penalty[nodes.clamp(min=0)]  # [M, K]
        allowed = (nodes >= 0) & (pick(penalty, codes) == 0)
        log_probs = pick((logits + penalty).log_softmax(dim=-1), codes)
        return torch.where(allowed, log_probs, -torch.inf)

    def slot_log_probs(
        self,
        nodes: Tensor,
        logits: Tensor,
        code_softmax: CodeSoftmax,
        child_scores: Tensor | None = None,
    ) -> Tensor:
        penalty = self.penalty[nodes]  # [..., W, K]
        if child_scores is not None:
            logits = logits + child_scores
        if code_softmax == "legal":
            return (logits + penalty).log_softmax(dim=-1)
        return logits.log_softmax(dim=-1) + penalty

    def mask_of(self, remaining: Tensor) -> Tensor:
        return self.penalty.masked_fill(remaining[self.child_table.clamp(min=0)] == 0, -torch.inf)

    def masked(self, log_probs: Tensor, nodes: Tensor, mask: Tensor) -> Tensor:
        return log_probs + mask[nodes]

    def follow(self, nodes: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        return slots, self.child_table[nodes, slots].long().clamp(min=0)

    def slots_of(self, parents: Tensor, children: Tensor) -> Tensor:
        return self.child_codes[children].long()


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
        is_wide = int(first_child.diff().max()) >= DENSE_SHARE * size
        num_entries = (len(first_child) - 1) * size
        form = TableLevel if is_wide and num_entries <= DENSE_ENTRIES_PER_ITEM * len(order) else Level
        levels.append(form(first_child, digit_codes[firsts], size=size))
    if len(firsts) < len(order):
        repeated = (~is_first).nonzero()[0]
        rows = sorted([int(order[repeated - 1]), int(order[repeated])])
        raise ValueError(f"codes: row {rows[1]} repeats row {rows[0]}, {codes[rows[0]].tolist()}; add a dedup digit")
    return levels


def pick(values: Tensor, codes: Tensor) -> Tensor:
    """values [M, K] at codes [M]: [M]."""
    return values.gather(-1, codes.unsqueeze(-1)).squeeze(-1)


def _logits_of(codes: Tensor, valid: Tensor, logits: Tensor) -> Tensor:
    """The entries of ``logits`` [..., K] at ``codes`` [..., C], -inf where not ``valid``: [..., C]."""
    codes = codes.expand(*logits.shape[:-1], -1)
    return logits.gather(-1, codes).masked_fill(~valid, -torch.inf)
