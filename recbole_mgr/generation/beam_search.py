"""Beam search over the prefix trie, and its exhaustive twin.

A model takes part as a ``step`` callable; see :class:`Step`. Neither search loops over users, beams or
items, and neither waits for the device between digits.

Shapes: B users, W beams (as many as the depth needs, at most ``beam_width``), K codes of the digit, C legal
children of the widest node, X excluded items.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_mgr.generation.trie import Children, CodeSoftmax, Narrowing, PrefixTrie, child_log_probs


class RankedList(NamedTuple):
    """The best items per user, best first.

    Attributes:
        item_ids: int64 [B, k], distinct; 0 where the user has fewer than k allowed items.
        scores: float32 [B, k], log-probabilities, descending; -inf where ``item_ids`` is 0.
    """

    item_ids: Tensor
    scores: Tensor


class Step(Protocol):
    """Scores the next digit of every beam.

    Args:
        depth: The digit to score, 0..D-1, each once and in order.
        codes: int64 [B, W], the code each beam chose last; None at depth 0.
        parents: int64 [B, W], the beam of the previous call that each beam extends; None at depth 0. The
            step reorders its own state by it.
        state: Whatever the previous call returned as state; None at depth 0.

    Returns:
        Finite logits [B, W, K] (at depth 0 [B, 1, K]) of any float dtype, and the state for the next call.
        Beams that ran out of items come with arbitrary codes in range; their logits are ignored.
    """

    def __call__(self, depth: int, codes: Tensor | None, parents: Tensor | None, state: Any) -> tuple[Tensor, Any]: ...


@torch.no_grad()
def beam_search(
    step: Step,
    trie: PrefixTrie,
    *,
    batch_size: int,
    k: int,
    beam_width: int,
    code_softmax: CodeSoftmax = "legal",
    narrowing: Narrowing | None = None,
    exclude: Tensor | None = None,
) -> RankedList:
    """The k most probable items of each user, as far as ``beam_width`` beams can see.

    Only prefixes with an allowed item below them enter the beam, so k distinct allowed items come back
    whenever there are k, and ``beam_width = trie.num_items`` makes the list exact. ``narrowing`` and
    ``exclude`` mask; what they leave keeps its probability.

    Args:
        step: The model.
        trie: The catalogue.
        batch_size: B.
        k: Length of the lists, at least 1.
        beam_width: Prefixes kept per user and digit, at least k.
        code_softmax: Over what a code's probability is normalised; see :meth:`PrefixTrie.log_prob`.
        narrowing: The items that anyone may get, all by default.
        exclude: int64 [B, X], items that this user must not get, e.g. the history. 0, repetitions and ids
            outside the catalogue are ignored.

    Raises:
        ValueError: If ``k < 1``, ``beam_width < k``, ``exclude`` is not [B, X], or the step's logits do not
            have the shape asked for.
    """
    if k < 1:
        raise ValueError(f"k: {k} is not a length of a list; ask for at least 1")
    if beam_width < k:
        raise ValueError(f"beam_width: {beam_width} beams cannot give k = {k} items; set beam_width >= k")
    if exclude is not None and (exclude.dim() != 2 or len(exclude) != batch_size):
        raise ValueError(f"exclude: expected [{batch_size}, X], got {tuple(exclude.shape)}")
    dead_nodes = None if exclude is None else _dead_nodes(trie, exclude, narrowing)

    codes = parents = state = None
    nodes = torch.zeros((batch_size, 1), dtype=torch.long, device=trie.device)
    scores = torch.zeros((batch_size, 1), device=trie.device)
    for depth in range(trie.num_digits):
        logits, state = step(depth, codes, parents, state)  # [B, W, K]
        children, candidates = _expand(trie, depth, nodes, scores, logits, code_softmax)  # [B, W, C]
        if narrowing is not None:
            remaining = narrowing.remaining[depth + 1][children.nodes.clamp(min=0)]
            candidates = candidates.masked_fill(remaining == 0, -torch.inf)
        if dead_nodes is not None:
            candidates = candidates.masked_fill(_is_among(children, dead_nodes[depth]), -torch.inf)

        width = min(beam_width, trie.num_nodes(depth + 1), candidates[0].numel())
        scores, chosen = candidates.flatten(1).topk(width)  # [B, W']
        parents = chosen // children.nodes.shape[-1]
        codes = children.codes.flatten(1).gather(1, chosen)
        nodes = children.nodes.flatten(1).gather(1, chosen).masked_fill(scores == -torch.inf, -1)

    missing = (0, max(0, k - scores.shape[1]))
    item_ids = torch.nn.functional.pad(trie.item_ids(nodes), missing, value=0)
    scores = torch.nn.functional.pad(scores, missing, value=-torch.inf)
    return RankedList(item_ids[:, :k], scores[:, :k])


@torch.no_grad()
def exhaustive_scores(step: Step, trie: PrefixTrie, *, batch_size: int, code_softmax: CodeSoftmax = "legal") -> Tensor:
    """Log-probability of every item, by following every prefix; for small catalogues.

    Args:
        step: The model; it sees all ``trie.num_nodes(depth)`` prefixes of a depth as that many beams.
        trie: The catalogue.
        batch_size: B.
        code_softmax: Over what a code's probability is normalised; see :meth:`PrefixTrie.log_prob`.

    Returns:
        float32 [B, max_item_id + 1], by item id; -inf at 0 and at ids outside the catalogue.

    Raises:
        ValueError: If the step's logits do not have the shape asked for.
    """
    codes = parents = state = None
    nodes = torch.zeros(1, dtype=torch.long, device=trie.device)
    scores = torch.zeros((batch_size, 1), device=trie.device)
    for depth in range(trie.num_digits):
        logits, state = step(depth, codes, parents, state)  # [B, nodes, K]
        children, candidates = _expand(trie, depth, nodes, scores, logits, code_softmax)  # [B, nodes, C]

        nodes = torch.arange(trie.num_nodes(depth + 1), device=trie.device)
        parents = trie.parent(depth + 1, nodes)
        slots = nodes - children.nodes[parents, 0]
        scores = candidates[:, parents, slots]  # [B, nodes of the next depth]
        codes = children.codes[parents, slots].expand(batch_size, -1)
        parents = parents.expand(batch_size, -1)

    item_scores = scores.new_full((batch_size, trie.max_item_id + 1), -torch.inf)
    item_scores[:, trie.item_ids(nodes)] = scores
    return item_scores


def _expand(
    trie: PrefixTrie, depth: int, nodes: Tensor, scores: Tensor, logits: Tensor, code_softmax: CodeSoftmax
) -> tuple[Children, Tensor]:
    """The children of all beams and the log-probability of the prefix that ends in each, [B, W, C]."""
    expected = (*scores.shape, trie.sizes[depth])
    if logits.shape != expected:
        raise ValueError(f"step: logits of digit {depth} should be {expected}, got {tuple(logits.shape)}")
    children = trie.children_of(depth, nodes)
    return children, scores.unsqueeze(-1) + child_log_probs(children, logits, code_softmax)


def _dead_nodes(trie: PrefixTrie, exclude: Tensor, narrowing: Narrowing | None) -> list[Tensor]:
    """Per depth 1..D, the nodes all of whose remaining leaves are excluded: int64 [B, X], -1 = nothing."""
    leaves = trie.leaf(exclude)
    if narrowing is not None:
        is_kept = narrowing.remaining[-1][leaves.clamp(min=0)] > 0
        leaves = leaves.masked_fill(~is_kept, -1)
    leaves = leaves.sort(dim=1).values
    leaves[:, 1:] = leaves[:, 1:].masked_fill(leaves[:, 1:] == leaves[:, :-1], -1)  # count each once
    nodes = leaves.sort(dim=1).values

    dead_nodes = []
    for depth in range(trie.num_digits, 0, -1):
        # Sorted leaves have sorted ancestors, so the excluded leaves below a node are a run of that node.
        excluded = torch.searchsorted(nodes, nodes, right=True) - torch.searchsorted(nodes, nodes)
        safe_nodes = nodes.clamp(min=0)
        if narrowing is None:
            remaining = trie.num_leaves(depth, safe_nodes)
        else:
            remaining = narrowing.remaining[depth][safe_nodes]
        dead_nodes.append(nodes.masked_fill(excluded < remaining, -1))
        nodes = trie.parent(depth, nodes)
    return dead_nodes[::-1]


def _is_among(children: Children, nodes: Tensor) -> Tensor:
    """Which children [B, W, C] are among their user's ``nodes`` [B, X]; padding is anything."""
    num_slots = children.nodes.shape[-1]
    slots = nodes.unsqueeze(1) - children.nodes[..., :1]  # [B, W, X]: siblings are consecutive
    slots = slots.masked_fill((slots < 0) | (slots >= num_slots), num_slots)  # a spare slot for the others
    found = torch.zeros((*children.nodes.shape[:2], num_slots + 1), dtype=torch.bool, device=nodes.device)
    return found.scatter_(2, slots, True)[..., :num_slots]
