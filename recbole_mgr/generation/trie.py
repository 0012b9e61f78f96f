"""The prefix trie of a catalogue's semantic IDs, held as tensors.

Items are sorted by their codes. The nodes of one depth are numbered in that order, so the children of a
node are neighbours at the next depth and the trie is one CSR matrix per digit: where each node's children
begin, and the code on the edge into each child. A node is thus a number within its depth; the root is
node 0 of depth 0, and the nodes of depth D are the leaves, one per item.

Shapes: N items, D digits, K codes of a digit, C = ``max_children(depth)``, M rows of any kind.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

CodeSoftmax = Literal["legal", "full"]

LARGEST_KEY = 2**63  # packed digits are compared as int64


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


class Narrowing(NamedTuple):
    """What is left of a trie when only some items may be generated; made by :meth:`PrefixTrie.narrow`.

    Attributes:
        remaining: D + 1 int32 tensors [num_nodes(depth)], the number of remaining leaves below each node.
    """

    remaining: tuple[Tensor, ...]


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
        _check_rows(codes, sizes, item_ids)
        order = _lexicographic_order(codes, sizes)  # [N]

        self.sizes = tuple(int(size) for size in sizes)
        self.num_digits = len(self.sizes)
        self.num_items = len(codes)
        self.max_item_id = int(item_ids.max())
        self.levels = nn.ModuleList(_build_levels(codes, self.sizes, order))

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

    # --- walking down

    def num_children(self, depth: int, nodes: Tensor) -> Tensor:
        """Number of legal next codes at each node, int64 [...]; 0 at -1."""
        first_child = self.levels[depth].first_child
        safe_nodes = nodes.clamp(min=0)
        counts = first_child[safe_nodes + 1] - first_child[safe_nodes]
        return torch.where(nodes >= 0, counts, 0).long()

    def has_choice(self, depth: int, nodes: Tensor) -> Tensor:
        """Where more than one code is legal, bool [...].

        Elsewhere :meth:`log_prob` is 0 under the ``legal`` softmax whatever the logits are, so a model
        need not compute them.
        """
        return self.num_children(depth, nodes) > 1

    def children_of(self, depth: int, nodes: Tensor) -> Children:
        """The legal next codes of ``nodes`` (int64 [...], at ``depth``) and where they lead."""
        level = self.levels[depth]
        slots = torch.arange(level.max_children, device=nodes.device)  # [C]
        valid = slots < self.num_children(depth, nodes).unsqueeze(-1)  # [..., C]
        first = level.first_child[nodes.clamp(min=0)].unsqueeze(-1)  # [..., 1]
        child_nodes = torch.where(valid, first + slots, -1)
        codes = torch.where(valid, level.child_codes[child_nodes.clamp(min=0)].long(), 0)
        return Children(codes, child_nodes, valid)

    def legal(self, depth: int, nodes: Tensor) -> Tensor:
        """The legal next codes of ``nodes`` as a mask, bool [..., K]."""
        num_codes = self.sizes[depth]
        children = self.children_of(depth, nodes)
        columns = torch.where(children.valid, children.codes, num_codes)  # a spare column takes the padding
        mask = torch.zeros((*nodes.shape, num_codes + 1), dtype=torch.bool, device=nodes.device)
        return mask.scatter_(-1, columns, True)[..., :num_codes]

    def advance(self, depth: int, nodes: Tensor, codes: Tensor) -> Tensor:
        """The nodes at ``depth + 1`` after ``codes`` (both int64 [...]); -1 where a code is illegal."""
        children = self.children_of(depth, nodes)
        chosen = children.valid & (children.codes == codes.unsqueeze(-1))  # [..., C], at most one each
        return torch.where(chosen, children.nodes, -1).amax(dim=-1)

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

    def path(self, item_ids: Tensor) -> Tensor:
        """The nodes an item's codes are chosen at, for teacher forcing.

        Args:
            item_ids: int64 [...].

        Returns:
            int64 [..., D], at ``d`` the node of the item's first d codes; -1 throughout for ids outside the
            catalogue.
        """
        nodes, path = self.leaf(item_ids), []
        for depth in range(self.num_digits, 0, -1):
            nodes = self.parent(depth, nodes)
            path.append(nodes)
        return torch.stack(path[::-1], dim=-1)  # [..., D]

    # --- leaves below a node

    def num_leaves(self, depth: int, nodes: Tensor) -> Tensor:
        """Number of items below ``nodes`` (int64 [...], no -1, at ``depth`` 0..D), int64 [...]."""
        bounds = torch.stack([nodes, nodes + 1])  # [2, ...]
        for below in range(depth, self.num_digits):
            bounds = self.levels[below].first_child[bounds].long()
        return bounds[1] - bounds[0]

    def narrow(self, item_ids: Tensor) -> Narrowing:
        """Keep only some items, e.g. those in stock; the trie itself stays as it is.

        Args:
            item_ids: integer, any shape, ids of the catalogue; repetitions do no harm.

        Raises:
            ValueError: If an id is not in the catalogue.
        """
        leaves = self.leaf(item_ids.flatten().long())
        if bool((leaves < 0).any()):
            unknown = int(item_ids.flatten()[leaves < 0][0])
            raise ValueError(f"item_ids: {unknown} is not an item of the trie; leave it out of the narrowing")
        kept = torch.zeros(self.num_items, dtype=torch.int32, device=self.device)
        kept[leaves] = 1
        remaining = [kept]
        for level in reversed(self.levels):
            up_to = nn.functional.pad(remaining[-1].cumsum(0, dtype=torch.int32), (1, 0))  # [children + 1]
            remaining.append(up_to[level.first_child].diff())
        return Narrowing(tuple(remaining[::-1]))

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
        chosen = logits.gather(-1, codes.unsqueeze(-1)).squeeze(-1)  # [M]
        if code_softmax == "full":
            return chosen - logits.logsumexp(dim=-1)
        if self.num_nodes(depth) <= len(nodes) and 2 * self.max_children(depth) >= self.sizes[depth]:
            # Few and wide nodes, as at the root: a mask per node, looked up by the rows, takes a quarter of
            # the time of listing every row's children.
            masks = self.legal(depth, torch.arange(self.num_nodes(depth), device=nodes.device))  # [nodes, K]
            mask = masks[nodes.clamp(min=0)]  # [M, K]
            allowed = (nodes >= 0) & mask.gather(-1, codes.unsqueeze(-1)).squeeze(-1)  # [M]
            legal_logits = logits.masked_fill(~mask, -torch.inf)  # [M, K]
        else:
            children = self.children_of(depth, nodes)  # [M, C]
            allowed = (children.valid & (children.codes == codes.unsqueeze(-1))).any(dim=-1)  # [M]
            legal_logits = _logits_of(children, logits)  # [M, C]
        return torch.where(allowed, chosen - legal_logits.logsumexp(dim=-1), -torch.inf)


def child_log_probs(children: Children, logits: Tensor, code_softmax: CodeSoftmax) -> Tensor:
    """Log-probability of every child of every node.

    Args:
        children: of nodes [..., W], as from :meth:`PrefixTrie.children_of`.
        logits: float [..., W, K] at these nodes; may have more leading dimensions than ``children``.
        code_softmax: as in :meth:`PrefixTrie.log_prob`.

    Returns:
        float32 [..., W, C], -inf where there is no child.
    """
    check_code_softmax(code_softmax)
    if code_softmax == "full":
        return _logits_of(children, logits.float().log_softmax(dim=-1))
    child_logits = _logits_of(children, logits.float())  # [..., W, C]
    no_child = ~children.valid  # a node without children would become nan
    return child_logits.log_softmax(dim=-1).masked_fill(no_child, -torch.inf)


def check_code_softmax(code_softmax: str) -> None:
    """Raise ValueError unless ``code_softmax`` is one of those known."""
    if code_softmax not in get_args(CodeSoftmax):
        raise ValueError(f"code_softmax: {code_softmax!r} is not one of {get_args(CodeSoftmax)}")


def _logits_of(children: Children, logits: Tensor) -> Tensor:
    """Each child's own entry of ``logits`` [..., K], -inf where there is no child: [..., C]."""
    codes = children.codes.expand(*logits.shape[:-1], -1)
    return logits.gather(-1, codes).masked_fill(~children.valid, -torch.inf)


class _Level(nn.Module):
    """The edges from one depth to the next.

    Args:
        first_child: int32 [nodes + 1], where each node's children begin; the last entry is their number.
        child_codes: integer [children], the code on the edge into each child.
    """

    def __init__(self, first_child: Tensor, child_codes: Tensor):
        super().__init__()
        self.register_buffer("first_child", first_child, persistent=False)
        self.register_buffer("child_codes", child_codes, persistent=False)
        self.num_nodes = len(first_child) - 1
        self.max_children = int(first_child.diff().max())


def _check_rows(codes: Tensor, sizes: Sequence[int], item_ids: Tensor) -> None:
    if codes.dim() != 2 or not len(codes) or codes.shape[1] != len(sizes) or not len(sizes):
        raise ValueError(
            f"codes: expected [items, {len(sizes)}], one column per entry of sizes, got {tuple(codes.shape)}"
        )
    if item_ids.shape != codes.shape[:1]:
        raise ValueError(f"item_ids: expected one per row, [{len(codes)}], got {tuple(item_ids.shape)}")
    for digit, size in enumerate(sizes):
        column = codes[:, digit].long()
        bad_rows = ((column < 0) | (column >= size)).nonzero()
        if len(bad_rows):
            row = int(bad_rows[0])
            raise ValueError(f"codes: row {row} has code {int(column[row])} at digit {digit}, outside 0..{size - 1}")
    if bool((item_ids <= 0).any()):
        row = int((item_ids <= 0).nonzero()[0])
        raise ValueError(f"item_ids: row {row} has {int(item_ids[row])}; ids begin at 1, 0 is padding")


def _lexicographic_order(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """The row numbers of ``codes`` [N, D] in the order of their codes, int64 [N]."""
    keys, radix = [], LARGEST_KEY
    for digit, size in enumerate(sizes):  # as many digits into one key as an int64 can tell apart
        if radix * size > LARGEST_KEY:
            keys.append(codes[:, digit].long())
            radix = size
        else:
            keys[-1] = keys[-1] * size + codes[:, digit]
            radix *= size
    order = keys[-1].argsort(stable=True)
    for key in reversed(keys[:-1]):
        order = order[key[order].argsort(stable=True)]
    return order


def _build_levels(codes: Tensor, sizes: Sequence[int], order: Tensor) -> list[_Level]:
    smallest_dtype = next(d for d in (torch.uint8, torch.int16, torch.int32) if max(sizes) - 1 <= torch.iinfo(d).max)
    digits = codes.to(smallest_dtype)[order].T.contiguous()  # [D, N]
    is_first = torch.zeros(len(order), dtype=torch.bool, device=codes.device)  # first item below a node
    is_first[0] = True
    firsts = is_first.nonzero().squeeze(1)  # [nodes of the depth]
    levels = []
    for digit_codes in digits:
        is_first[1:] |= digit_codes[1:] != digit_codes[:-1]
        child_of_item = is_first.cumsum(0, dtype=torch.int32) - 1  # [N]
        first_child = torch.cat([child_of_item[firsts], child_of_item[-1:] + 1])
        firsts = is_first.nonzero().squeeze(1)
        levels.append(_Level(first_child, digit_codes[firsts]))
    if len(firsts) < len(order):
        repeated = (~is_first).nonzero()[0]
        rows = sorted([int(order[repeated - 1]), int(order[repeated])])
        raise ValueError(f"codes: row {rows[1]} repeats row {rows[0]}, {codes[rows[0]].tolist()}; add a dedup digit")
    return levels
