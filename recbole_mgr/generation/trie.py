"""The prefix trie of a catalogue's semantic IDs, held as tensors.

Items are sorted by their codes. The nodes of one depth are numbered in that order, so the children of a
node are neighbours at the next depth. A node is thus a number within its depth; the root is node 0 of depth 0,
and the nodes of depth D are the leaves, one per item. :mod:`recbole_mgr.generation.trie_levels` says how a level
is held.

Shapes: N items, D digits, K codes of a digit, C = ``max_children(depth)``, S = ``num_slots(depth)``, M rows of any
kind.
"""

from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor, nn

from recbole_mgr.generation.trie_levels import (
    Children,
    CodeSoftmax,
    build_levels,
    check_rows,
    lexicographic_order,
    pick,
)


class AllowedItems(NamedTuple):
    """What is left of a trie when only some items may be generated; made by :meth:`PrefixTrie.allow`.

    Attributes:
        remaining: D + 1 int32 tensors [num_nodes(depth)], the number of remaining leaves below each node.
        masks: D tensors, each as its level masks its children.
    """

    remaining: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]

    def to(self, device: torch.device | str) -> "AllowedItems":
        """The same on another device."""
        return AllowedItems(*(tuple(tensor.to(device) for tensor in part) for part in self))


class PrefixTrie(nn.Module):
    """Which codes may follow which, and what a code is worth among those that may.

    A module only so that it moves with ``.to(device)``; it has no parameters and leaves no trace in a
    checkpoint. Where a method takes ``nodes``, -1 stands for "no node" and has no children.

    Args:
        codes: integer [N, D], one row per item; rows are unique and ``0 <= codes[:, d] < sizes[d]``.
        sizes: K of each digit, D of them.
        item_ids: integer [N], the item of each row, unique and positive; 1..N by default.

    Raises:
        ValueError: If the shapes do not fit, or a row has a code out of range, the codes of another row,
            or an item id that is not positive or not its own.
    """

    def __init__(self, codes: Tensor, sizes: Sequence[int], item_ids: Tensor | None = None):
        super().__init__()
        if item_ids is None:
            item_ids = torch.arange(1, len(codes) + 1, device=codes.device)
        check_rows(codes, sizes, item_ids)
        order = lexicographic_order(codes, sizes)  # [N]

        self.sizes = tuple(int(size) for size in sizes)
        self.num_digits = len(self.sizes)
        self.num_items = len(codes)
        self.max_item_id = int(item_ids.max())
        self.levels = nn.ModuleList(build_levels(codes, self.sizes, order))

        leaf_items = item_ids[order].int()  # [N]
        item_leaves = leaf_items.new_full((self.max_item_id + 1,), -1)
        leaves = torch.arange(self.num_items, dtype=torch.int32, device=codes.device)
        item_leaves[leaf_items.long()] = leaves
        overwritten = item_leaves[leaf_items.long()] != leaves
        if bool(overwritten.any()):
            shared = int(leaf_items[overwritten][0])
            rows = (item_ids == shared).nonzero().flatten().tolist()
            raise ValueError(f"item_ids: rows {rows[0]} and {rows[1]} share item {shared}; give each its own")
        self.register_buffer("leaf_items", leaf_items, persistent=False)
        self.register_buffer("item_leaves", item_leaves, persistent=False)
        self.fewest_leaves = self._fewest_leaves()

    @property
    def device(self) -> torch.device:
        """Where the trie lives; node tensors must live there too."""
        return self.leaf_items.device

    def num_nodes(self, depth: int) -> int:
        """Number of different prefixes of ``depth`` codes (0..D)."""
        return self.num_items if depth == self.num_digits else self.levels[depth].num_nodes

    def max_children(self, depth: int) -> int:
        """Number of children of the widest node at ``depth`` (0..D-1)."""
        return self.levels[depth].max_children

    def min_children(self, depth: int) -> int:
        """Number of children of the narrowest node at ``depth`` (0..D-1)."""
        return self.levels[depth].min_children

    # --- walking down

    def num_children(self, depth: int, nodes: Tensor) -> Tensor:
        """Number of legal next codes at each node, int64 [...]; 0 at -1."""
        return self.levels[depth].num_children(nodes).long()

    def has_choice(self, depth: int, nodes: Tensor) -> Tensor:
        """Where more than one code is legal, bool [...].

        Elsewhere :meth:`log_prob` is 0 under the ``legal`` softmax whatever the logits are, so a model
        need not compute them.
        """
        return self.levels[depth].num_children(nodes) > 1

    def children_of(self, depth: int, nodes: Tensor) -> Children:
        """The legal next codes of ``nodes`` (int64 [...], at ``depth``) and where they lead."""
        return self.levels[depth].children_of(nodes)

    def legal(self, depth: int, nodes: Tensor) -> Tensor:
        """The legal next codes of ``nodes`` as a mask, bool [..., K]."""
        return self.levels[depth].legal(nodes)

    def advance(self, depth: int, nodes: Tensor, codes: Tensor) -> Tensor:
        """The nodes at ``depth + 1`` after ``codes`` (both int64 [...]); -1 where a code is illegal."""
        return self.levels[depth].advance(nodes, codes)

    # --- walking up

    def parent(self, depth: int, nodes: Tensor) -> Tensor:
        """The nodes at ``depth - 1`` above ``nodes`` (int64 [...], at ``depth`` 1..D); -1 at -1."""
        first_child = self.levels[depth - 1].first_child
        return torch.searchsorted(first_child, nodes.int().contiguous(), right=True) - 1

    def leaf(self, item_ids: Tensor) -> Tensor:
        """The leaf of each item, int64 [...]; -1 for ids outside the catalogue, so for padding too."""
        known_range = item_ids.clamp(0, self.max_item_id)
        return torch.where(item_ids == known_range, self.item_leaves[known_range].long(), -1)

    def item_ids(self, leaves: Tensor) -> Tensor:
        """The item of each leaf, int64 [...]; 0 (padding) at -1."""
        return torch.where(leaves >= 0, self.leaf_items[leaves.clamp(min=0)].long(), 0)

    def codes_of(self, item_ids: Tensor) -> Tensor:
        """The codes of items of the catalogue, int64 [...] -> int64 [..., D]."""
        nodes, codes = self.leaf(item_ids), []
        for depth in range(self.num_digits, 0, -1):
            codes.append(self.last_code(depth, nodes))
            nodes = self.parent(depth, nodes)
        return torch.stack(codes[::-1], dim=-1)

    def last_code(self, depth: int, nodes: Tensor) -> Tensor:
        """The last code of the prefixes ``nodes`` (int64 [...], no -1, at ``depth`` 1..D), int64 [...]."""
        return self.levels[depth - 1].child_codes[nodes].long()

    def path(self, item_ids: Tensor) -> Tensor:
        """The nodes an item's codes are chosen at, for teacher forcing.

        Args:
            item_ids: int64 [...].

        Returns:
            int64 [..., D], at ``d`` the node of the item's first d codes; -1 throughout for ids outside the
            catalogue.
        """
        return self.path_to_leaf(item_ids)[..., :-1]

    def path_to_leaf(self, item_ids: Tensor) -> Tensor:
        """As :meth:`path`, and at D the leaf: int64 [..., D + 1]."""
        path = [self.leaf(item_ids)]
        for depth in range(self.num_digits, 0, -1):
            path.append(self.parent(depth, path[-1]))
        return torch.stack(path[::-1], dim=-1)

    def choices(self) -> Tensor:
        """Where an item's digits are a choice (:meth:`has_choice`), bool [max_item_id + 1, D], by item id."""
        first_leaves, columns = torch.arange(self.num_items + 1, device=self.device), []
        for level in reversed(self.levels):
            first_leaves = first_leaves[level.first_child]  # [nodes + 1]
            columns.append((level.first_child.diff() > 1).repeat_interleave(first_leaves.diff()))
        found = columns[0].new_zeros(self.max_item_id + 1, self.num_digits)
        found[self.leaf_items.long()] = torch.stack(columns[::-1], dim=1)
        return found

    # --- leaves below a node

    def num_leaves(self, depth: int, nodes: Tensor) -> Tensor:
        """Number of items below ``nodes`` (int64 [...], no -1, at ``depth`` 0..D), int64 [...]."""
        first, end = self.leaf_range(depth, nodes)
        return end - first

    def leaf_range(self, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The first leaf below ``nodes`` (int64 [...], no -1, at ``depth`` 0..D) and the one behind the last, int64
        [...] each."""
        bounds = torch.stack([nodes, nodes + 1])  # [2, ...]
        for below in range(depth, self.num_digits):
            bounds = self.levels[below].first_child[bounds].long()
        return bounds[0], bounds[1]

    def allow(self, item_ids: Tensor) -> AllowedItems:
        """Keep only some items, e.g. those in stock; the trie itself stays as it is.

        Args:
            item_ids: integer, any shape, ids of the catalogue; repetitions do no harm.

        Raises:
            ValueError: If an id is not in the catalogue.
        """
        leaves = self.leaf(item_ids.flatten().long())
        if bool((leaves < 0).any()):
            unknown = int(item_ids.flatten()[leaves < 0][0])
            raise ValueError(f"item_ids: {unknown} is not an item of the trie; leave it out of the allowed items")
        kept = torch.zeros(self.num_items, dtype=torch.int32, device=self.device)
        kept[leaves] = 1
        remaining = [kept]
        for level in reversed(self.levels):
            up_to = nn.functional.pad(remaining[-1].cumsum(0, dtype=torch.int32), (1, 0))  # [children + 1]
            remaining.append(up_to[level.first_child].diff())
        remaining = remaining[::-1]
        masks = [level.mask_of(counts) for level, counts in zip(self.levels, remaining[1:], strict=True)]
        return AllowedItems(tuple(remaining), tuple(masks))

    def _fewest_leaves(self) -> tuple[int, ...]:
        """Per depth 0..D, the number of items below the node that has fewest."""
        first_leaves = torch.arange(self.num_items + 1, device=self.device)  # [nodes + 1] of the depth
        fewest = [1]
        for level in reversed(self.levels):
            first_leaves = first_leaves[level.first_child]
            fewest.append(int(first_leaves.diff().min()))
        return tuple(fewest[::-1])

    # --- probabilities

    def log_prob(self, depth: int, nodes: Tensor, logits: Tensor, codes: Tensor, code_softmax: CodeSoftmax) -> Tensor:
        """Log-probability of one digit's code, differentiable.

        Args:
            depth: The digit, 0..D-1.
            nodes: int64 [M], the prefixes, as from :meth:`path`.
            logits: float [M, K], any precision.
            codes: int64 [M], 0 <= codes < K.
            code_softmax: ``legal`` normalises over the codes that the trie allows after the prefix, so that
                the items' probabilities sum to 1 and a digit without choice has log-probability exactly 0;
                ``full`` normalises over all K, as the papers do.

        Returns:
            float32 [M]; under ``legal``, -inf where the code may not follow the prefix.

        Raises:
            ValueError: If ``code_softmax`` is neither.
        """
        check_code_softmax(code_softmax)
        logits = logits.float()
        if code_softmax == "full":
            return pick(logits.log_softmax(dim=-1), codes)
        return self.levels[depth].legal_log_prob(nodes, logits, codes)

    # --- slots: where the children of a node stand in a row of fixed length, for beam search

    def num_slots(self, depth: int) -> int:
        """Length of the rows of :meth:`slot_log_probs`: K where the level is a table, C elsewhere."""
        return self.levels[depth].num_slots

    def slot_log_probs(
        self,
        depth: int,
        nodes: Tensor,
        logits: Tensor,
        code_softmax: CodeSoftmax,
        allowed_items: AllowedItems | None = None,
        child_scores: Tensor | None = None,
    ) -> Tensor:
        """Log-probability of every child of every node.

        Args:
            depth: The digit, 0..D-1.
            nodes: int64 [..., W], no -1.
            logits: float [..., W, K] at these nodes; may have more leading dimensions than ``nodes``.
            code_softmax: as in :meth:`log_prob`.
            allowed_items: masks children; what is left keeps its probability.
            child_scores: float [..., W, S], added to the logits of the children before they are normalised;
                ``legal`` only.

        Returns:
            float32 [..., W, S], -inf where a slot has no child; see :meth:`follow`.
        """
        check_code_softmax(code_softmax)
        level = self.levels[depth]
        log_probs = level.slot_log_probs(nodes, logits.float(), code_softmax, child_scores)
        return log_probs if allowed_items is None else level.masked(log_probs, nodes, allowed_items.masks[depth])

    def slot_nodes(self, depth: int, nodes: Tensor) -> Tensor:
        """The node at ``depth + 1`` in every slot of ``nodes`` (int64 [...], no -1), int64 [..., S]; any node in slots
        without a child."""
        slots = torch.arange(self.num_slots(depth), device=nodes.device)
        return self.follow(depth, nodes.unsqueeze(-1), slots)[1]

    def follow(self, depth: int, nodes: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """The codes and the nodes at ``depth + 1`` that slots stand for.

        Args:
            depth: 0..D-1.
            nodes: int64 [...], no -1.
            slots: int64 [...], 0..S-1. A slot without a child gives any code and any node.

        Returns:
            Codes and nodes, int64 [...] each.
        """
        return self.levels[depth].follow(nodes, slots)

    def slots_of(self, depth: int, parents: Tensor, children: Tensor) -> Tensor:
        """The slots in which ``children`` (at ``depth + 1``) of ``parents`` stand, int64 [...]."""
        return self.levels[depth].slots_of(parents, children)


def check_code_softmax(code_softmax: str) -> None:
    """Raise ValueError unless ``code_softmax`` is one of those known."""
    if code_softmax not in get_args(CodeSoftmax):
        raise ValueError(f"code_softmax: {code_softmax!r} is not one of {get_args(CodeSoftmax)}")
