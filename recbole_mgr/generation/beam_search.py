"""Beam search over the prefix trie, its exhaustive twin, and the scores of given items.

A model takes part as a ``step`` callable; see :class:`Step`. Neither search loops over users, beams or
items, and neither waits for the device between digits.

Shapes: B users, W beams (as many as the depth needs, at most ``beam_width``), K codes of the digit, C legal
children of the widest node, X excluded items.
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from recbole_mgr.generation.priors import WeightedPriors
from recbole_mgr.generation.trie import AllowedItems, CodeSoftmax, PrefixTrie


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
        nodes: int64 [B, W], each beam's prefix in the trie, at ``depth``; -1 where the beam ran out of items. The
            search keeps them, so that no step has to; at depth 0 all stand at the root, [B, 1].
        codes: int64 [B, W], the code each beam chose last; None at depth 0.
        parents: int64 [B, W], the beam of the previous call that each beam extends; None at depth 0. The
            step reorders its own state by it.
        state: Whatever the previous call returned as state; None at depth 0.

    Returns:
        Finite logits [B, W, K] (at depth 0 [B, 1, K]) of any float dtype, and the state for the next call.
        Beams that ran out of items come with arbitrary codes in range; their logits are ignored.
    """

    def __call__(
        self, depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: Any
    ) -> tuple[Tensor, Any]: ...


class Trace(Protocol):
    """Sees the beams after each digit; for showing how a list came about.

    Args:
        depth: Digits chosen so far, 1..D.
        nodes: int64 [B, W], the prefixes kept, best first; their parents and codes follow from the trie.
        scores: float32 [B, W], their log-probabilities; -inf where a beam ran out of items.
    """

    def __call__(self, depth: int, nodes: Tensor, scores: Tensor) -> None: ...


@torch.no_grad()
def beam_search(
    step: Step,
    trie: PrefixTrie,
    *,
    batch_size: int,
    k: int,
    beam_width: int,
    code_softmax: CodeSoftmax = "legal",
    allowed_items: AllowedItems | None = None,
    exclude: Tensor | None = None,
    trace: Trace | None = None,
    priors: WeightedPriors | None = None,
) -> RankedList:
    """The k most probable items of each user, as far as ``beam_width`` beams can see.

    Only prefixes with an allowed item below them enter the beam, so k distinct allowed items come back
    whenever there are k, and ``beam_width = trie.num_items`` makes the list exact. ``allowed_items`` and
    ``exclude`` mask; what they leave keeps its probability.

    Args:
        step: The model.
        trie: The catalogue.
        batch_size: B.
        k: Length of the lists, at least 1.
        beam_width: Prefixes kept per user and digit, at least k.
        code_softmax: Over what a code's probability is normalised; see :meth:`PrefixTrie.log_prob`.
        allowed_items: The items that anyone may get, all by default.
        exclude: int64 [B, X], items that this user must not get, e.g. the history. 0, repetitions and ids
            outside the catalogue are ignored.
        trace: Sees the beams after each digit.
        priors: What is known of the items beside their codes, pushed down the trie; needs ``legal``.

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
    dead_nodes = [None] * trie.num_digits if exclude is None else _dead_nodes(trie, exclude, allowed_items)

    codes = parents = state = None
    nodes = torch.zeros((batch_size, 1), dtype=torch.long, device=trie.device)
    scores = torch.zeros((batch_size, 1), device=trie.device)
    for depth in range(trie.num_digits):
        logits, state = step(depth, nodes.masked_fill(scores == -torch.inf, -1), codes, parents, state)  # [B, W, K]
        log_probs = _slot_log_probs(trie, depth, nodes, scores.shape, logits, code_softmax, allowed_items, priors)
        candidates = (log_probs + scores.unsqueeze(-1)).flatten(1)  # [B, W * S]

        dead = dead_nodes[depth]
        # at most X candidates are dead nodes, so so many more than asked for are enough
        spare = 0 if dead is None else dead.shape[1]
        width = min(beam_width, trie.num_nodes(depth + 1), candidates.shape[1])
        scores, chosen = candidates.topk(min(width + spare, candidates.shape[1]))  # [B, W' + X]
        parents, slots = chosen // trie.num_slots(depth), chosen % trie.num_slots(depth)
        codes, nodes = trie.follow(depth, nodes.gather(1, parents), slots)
        if dead is not None:
            scores, best = scores.masked_fill(_is_among(nodes, dead), -torch.inf).topk(width)  # [B, W']
            parents, codes, nodes = (column.gather(1, best) for column in (parents, codes, nodes))
        if trace is not None:
            trace(depth + 1, nodes, scores)

    missing = (0, max(0, k - scores.shape[1]))
    item_ids = trie.item_ids(nodes.masked_fill(scores == -torch.inf, -1))
    item_ids = torch.nn.functional.pad(item_ids, missing, value=0)
    scores = torch.nn.functional.pad(scores, missing, value=-torch.inf)
    return RankedList(item_ids[:, :k], scores[:, :k])


@torch.no_grad()
def exhaustive_scores(
    step: Step,
    trie: PrefixTrie,
    *,
    batch_size: int,
    code_softmax: CodeSoftmax = "legal",
    priors: WeightedPriors | None = None,
) -> Tensor:
    """Log-probability of every item, by following every prefix; for small catalogues.

    Args:
        step: The model; it sees all ``trie.num_nodes(depth)`` prefixes of a depth as that many beams.
        trie: The catalogue.
        batch_size: B.
        code_softmax: Over what a code's probability is normalised; see :meth:`PrefixTrie.log_prob`.
        priors: As in :func:`beam_search`.

    Returns:
        float32 [B, max_item_id + 1], by item id; -inf at 0 and at ids outside the catalogue.

    Raises:
        ValueError: If the step's logits do not have the shape asked for.
    """
    codes = parents = state = None
    nodes = torch.zeros(1, dtype=torch.long, device=trie.device)
    scores = torch.zeros((batch_size, 1), device=trie.device)
    for depth in range(trie.num_digits):
        logits, state = step(depth, nodes.expand(batch_size, -1), codes, parents, state)  # [B, nodes, K]
        log_probs = _slot_log_probs(trie, depth, nodes, scores.shape, logits, code_softmax, None, priors)

        nodes = torch.arange(trie.num_nodes(depth + 1), device=trie.device)
        parents = trie.parent(depth + 1, nodes)
        slots = trie.slots_of(depth, parents, nodes)
        scores = scores[:, parents] + log_probs[:, parents, slots]  # [B, nodes of the next depth]
        codes, _ = trie.follow(depth, parents, slots)
        codes, parents = codes.expand(batch_size, -1), parents.expand(batch_size, -1)

    item_scores = scores.new_full((batch_size, trie.max_item_id + 1), -torch.inf)
    item_scores[:, trie.item_ids(nodes)] = scores
    return item_scores


@torch.no_grad()
def item_log_probs(
    step: Step,
    trie: PrefixTrie,
    item_ids: Tensor,
    *,
    code_softmax: CodeSoftmax = "legal",
    priors: WeightedPriors | None = None,
) -> Tensor:
    """Log-probability of given items by their codes: exact, whether a beam would have found them or not.

    Each prefix is one beam for all items of a user that share it. Under ``legal`` a prefix that leaves one item needs
    none: the rest of that item's codes has probability 1.

    Args:
        step: the model.
        trie: the catalogue.
        item_ids: int64 [B, M]; 0 = none.
        code_softmax: as in :meth:`PrefixTrie.log_prob`.
        priors: as in :func:`beam_search`.

    Returns:
        float32 [B, M], -inf where there is no item.
    """
    leaves, order = trie.leaf(item_ids).sort(dim=1)  # [B, M], so that the items of a prefix stand together
    is_item = leaves >= 0
    known = trie.item_ids(leaves.clamp(min=0))
    path, codes = trie.path(known), trie.codes_of(known)  # [B, M, D]
    is_open = is_item.unsqueeze(-1).expand_as(path)  # whether an item's prefix has to be scored
    if code_softmax == "legal":
        counts = [trie.num_leaves(depth, path[..., depth]) for depth in range(trie.num_digits)]
        is_open = is_open & (torch.stack(counts, dim=-1) > 1)
    before = torch.nn.functional.pad(path.masked_fill(~is_open, -1)[:, :-1], (0, 0, 1, 0), value=-1)
    met = (is_open & (path != before)).cumsum(dim=1)  # [B, M, D], prefixes so far
    beams = (met - 1).clamp(min=0)  # [B, M, D], of each item
    widths = met[:, -1].amax(dim=0).tolist() if met.numel() else [0] * trie.num_digits

    total, state, chosen = torch.zeros(item_ids.shape, device=item_ids.device), None, (None, None)
    for depth, width in enumerate(widths):
        if not width:
            break  # nor is a deeper prefix to be scored
        numbers = torch.arange(1, width + 1, device=item_ids.device).repeat(len(item_ids), 1)
        item = torch.searchsorted(met[..., depth].contiguous(), numbers)  # [B, W], the first item of each prefix
        is_beam, item = item < item_ids.shape[1], item.clamp(max=item_ids.shape[1] - 1)
        nodes = path[..., depth].gather(1, item)  # [B, W]
        if depth:
            nodes = nodes.masked_fill(~is_beam, -1)
            chosen = codes[..., depth - 1].gather(1, item), beams[..., depth - 1].gather(1, item)
        logits, state = step(depth, nodes, *chosen, state)  # [B, W, K]
        nodes = nodes.clamp(min=0)
        log_probs = _slot_log_probs(trie, depth, nodes, nodes.shape, logits, code_softmax, None, priors)  # [B, W, S]
        children = trie.advance(depth, path[..., depth], codes[..., depth])
        places = beams[..., depth] * trie.num_slots(depth) + trie.slots_of(depth, path[..., depth], children)
        total = total + log_probs.flatten(1).gather(1, places).masked_fill(~is_open[..., depth], 0.0)
    return torch.empty_like(total).scatter_(1, order, total.masked_fill(~is_item, -torch.inf))


def _slot_log_probs(
    trie: PrefixTrie,
    depth: int,
    nodes: Tensor,
    shape: torch.Size,
    logits: Tensor,
    code_softmax: CodeSoftmax,
    allowed_items: AllowedItems | None,
    priors: WeightedPriors | None,
) -> Tensor:
    """:meth:`PrefixTrie.slot_log_probs` of beams of ``shape`` [B, W], after a look at the shape of the logits."""
    expected = (*shape, trie.sizes[depth])
    if logits.shape != expected:
        raise ValueError(f"step: logits of digit {depth} should be {expected}, got {tuple(logits.shape)}")
    if priors is None:
        return trie.slot_log_probs(depth, nodes, logits, code_softmax, allowed_items)
    if code_softmax != "legal":
        raise ValueError(f"priors: code_softmax {code_softmax!r} does not normalise over items; it needs legal")
    child_scores = priors.child_scores(depth + 1, trie.slot_nodes(depth, nodes.expand(shape)))  # [B, W, S]
    return trie.slot_log_probs(depth, nodes, logits, code_softmax, allowed_items, child_scores)


def _dead_nodes(trie: PrefixTrie, exclude: Tensor, allowed_items: AllowedItems | None) -> list[Tensor | None]:
    """Per depth 1..D, the nodes all of whose remaining leaves are excluded: int64 [B, X], ascending, -1 = nothing;
    None where there cannot be any."""
    leaves = trie.leaf(exclude)
    if allowed_items is not None:
        is_kept = allowed_items.remaining[-1][leaves.clamp(min=0)] > 0
        leaves = leaves.masked_fill(~is_kept, -1)
    leaves = leaves.sort(dim=1).values
    leaves[:, 1:] = leaves[:, 1:].masked_fill(leaves[:, 1:] == leaves[:, :-1], -1)  # count each once
    nodes = leaves.sort(dim=1).values

    dead_nodes: list[Tensor | None] = [None] * trie.num_digits
    for depth in range(trie.num_digits, 0, -1):
        if allowed_items is None and trie.fewest_leaves[depth] > exclude.shape[1]:
            break
        # Sorted leaves have sorted ancestors, so the excluded leaves below a node are a run of that node.
        excluded = torch.searchsorted(nodes, nodes, right=True) - torch.searchsorted(nodes, nodes)
        safe_nodes = nodes.clamp(min=0)
        if allowed_items is None:
            remaining = trie.num_leaves(depth, safe_nodes)
        else:
            remaining = allowed_items.remaining[depth][safe_nodes]
        dead_nodes[depth - 1] = nodes.masked_fill(excluded < remaining, -1).cummax(dim=1).values
        nodes = trie.parent(depth, nodes)
    return dead_nodes


def _is_among(nodes: Tensor, dead: Tensor) -> Tensor:
    """Which ``nodes`` [B, W] are among their user's ``dead`` [B, X], ascending."""
    places = torch.searchsorted(dead, nodes).clamp(max=dead.shape[1] - 1)
    return dead.gather(1, places) == nodes
