"""Beam search over the prefix trie, alone or several at once.

A model takes part as a ``step`` callable; see :class:`Step`. No search loops over users, beams or items, and one alone
does not wait for the device between digits.

Shapes: B users, W beams (as many as the depth needs, at most ``beam_width``), K codes of the digit, C legal
children of the widest node, X excluded items.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.generation.priors import WeightedPriors, is_among
from recbole_mgr.generation.trie import AllowedItems, CodeSoftmax, PrefixTrie


class RankedList(NamedTuple):
    """The best items per user, best first.

    Attributes:
        item_ids: int64 [B, k], distinct; 0 where the user has fewer than k allowed items.
        scores: float32 [B, k], log-probabilities, descending; -inf where ``item_ids`` is 0.
    """

    item_ids: Tensor
    scores: Tensor

    def of_length(self, k: int) -> "RankedList":
        """The first k items; 0 and -inf where there are fewer."""
        missing = (0, max(0, k - self.scores.shape[1]))
        item_ids, scores = F.pad(self.item_ids, missing), F.pad(self.scores, missing, value=-torch.inf)
        return RankedList(item_ids[:, :k], scores[:, :k])


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
    sizes = {"batch_size": batch_size, "k": k, "beam_width": beam_width}
    options = {"code_softmax": code_softmax, "allowed_items": allowed_items, "trace": trace, "priors": priors}
    return beam_searches(step, trie, excludes=[exclude], **sizes, **options)[0]


@torch.no_grad()
def beam_searches(
    step: Step,
    trie: PrefixTrie,
    *,
    excludes: Sequence[Tensor | None],
    batch_size: int,
    k: int,
    beam_width: int,
    code_softmax: CodeSoftmax = "legal",
    allowed_items: AllowedItems | None = None,
    trace: Trace | None = None,
    priors: WeightedPriors | None = None,
) -> list[RankedList]:
    """Several searches for the same users that differ in what they exclude, such as nothing and the history.

    The lists are those of a :func:`beam_search` each, but a prefix that several of them keep is scored once. From the
    digit on at which they part, each digit waits for the device once: to know how many prefixes there are.

    Args:
        excludes: ``exclude`` of each search.
        trace: Sees the beams of all, best first only while they are the same.

    The other arguments, and what is raised: as of :func:`beam_search`.
    """
    if k < 1:
        raise ValueError(f"k: {k} is not a length of a list; ask for at least 1")
    if beam_width < k:
        raise ValueError(f"beam_width: {beam_width} beams cannot give k = {k} items; set beam_width >= k")
    for exclude in excludes:
        if exclude is not None and (exclude.dim() != 2 or len(exclude) != batch_size):
            raise ValueError(f"exclude: expected [{batch_size}, X], got {tuple(exclude.shape)}")
    nobody = [None] * trie.num_digits
    dead_nodes = [nobody if exclude is None else _dead_nodes(trie, exclude, allowed_items) for exclude in excludes]

    codes = parents = state = None
    nodes = torch.zeros((batch_size, 1), dtype=torch.long, device=trie.device)
    scores = torch.zeros((batch_size, 1), device=trie.device)
    members = None  # bool [B, W] of each search, whose beams are its own; None while all searches have the same
    for depth in range(trie.num_digits):
        logits, state = step(depth, nodes.masked_fill(scores == -torch.inf, -1), codes, parents, state)  # [B, W, K]
        log_probs = slot_log_probs(trie, depth, nodes, scores.shape, logits, code_softmax, allowed_items, priors)
        candidates = log_probs + scores.unsqueeze(-1)  # [B, W, S]
        width = min(beam_width, trie.num_nodes(depth + 1))
        dead = [of_search[depth] for of_search in dead_nodes]
        if members is None and all(nodes_ is None for nodes_ in dead):
            scores, chosen = _best(trie, depth, nodes, candidates, width, None)  # [B, W']
        else:
            own = [None] * len(excludes) if members is None else members
            found = [
                _best(trie, depth, nodes, _of_members(candidates, is_own), width, dead_)
                for is_own, dead_ in zip(own, dead, strict=True)
            ]
            (scores, chosen), members = (found[0], None) if len(found) == 1 else _together(found)
        parents, slots = chosen // trie.num_slots(depth), chosen % trie.num_slots(depth)
        codes, nodes = trie.follow(depth, nodes.gather(1, parents), slots)
        if trace is not None:
            trace(depth + 1, nodes, scores)

    item_ids = trie.item_ids(nodes.masked_fill(scores == -torch.inf, -1))
    if members is None:
        return [RankedList(item_ids, scores).of_length(k)] * len(excludes)
    return [_ranked_of_members(item_ids, scores, is_own, k) for is_own in members]


def _best(
    trie: PrefixTrie, depth: int, nodes: Tensor, candidates: Tensor, width: int, dead: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scores and places of the best children that are not ``dead``, [B, width or fewer] each.

    Args:
        trie: the catalogue.
        depth: of ``nodes``.
        nodes: int64 [B, W].
        candidates: float [B, W, S], scores of their children.
        width: children wanted.
        dead: int64 [B, X], nodes at the next depth, ascending; None where there are none.
    """
    candidates = candidates.flatten(1)  # [B, W * S]
    width = min(width, candidates.shape[1])
    if dead is None:
        return candidates.topk(width)
    # at most X candidates are dead nodes, so so many more than asked for are enough
    scores, chosen = candidates.topk(min(width + dead.shape[1], candidates.shape[1]))  # [B, W' + X]
    parents, slots = chosen // trie.num_slots(depth), chosen % trie.num_slots(depth)
    _, children = trie.follow(depth, nodes.gather(1, parents), slots)
    scores, best = scores.masked_fill(is_among(children, dead), -torch.inf).topk(width)  # [B, W']
    return scores, chosen.gather(1, best)


def _of_members(candidates: Tensor, is_own: Tensor | None) -> Tensor:
    """Scores [B, W, S] of the children of a search's own beams, bool [B, W], -inf for those of others."""
    return candidates if is_own is None else candidates.masked_fill(~is_own.unsqueeze(-1), -torch.inf)


def _together(found: Sequence[tuple[Tensor, Tensor]]) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
    """The beams of several searches, each place once.

    Returns:
        Scores (-inf behind the last) and places, [B, W] each; and of each search which are its own, bool [B, W].
    """
    scores, places = (torch.cat(column, dim=1) for column in zip(*found, strict=True))  # [B, searches * W']
    nowhere = torch.iinfo(places.dtype).max
    places, order = places.masked_fill(scores == -torch.inf, nowhere).sort(dim=1)
    is_first = torch.ones_like(places, dtype=torch.bool)
    is_first[:, 1:] = places[:, 1:] != places[:, :-1]
    column = is_first.cumsum(dim=1) - 1  # [B, searches * W'], where each place stands among the different ones
    width = int(column.max()) + 1
    search = order // found[0][0].shape[1]
    is_beam = places < nowhere
    shape = (len(places), width)
    joined = (
        scores.new_full(shape, -torch.inf).scatter(1, column, scores.gather(1, order)),
        places.new_zeros(shape).scatter(1, column, places.masked_fill(~is_beam, 0)),
    )
    members = [
        torch.zeros(shape, dtype=torch.int32, device=places.device)
        .scatter_add(1, column, ((search == number) & is_beam).int())
        .bool()
        for number in range(len(found))
    ]
    return joined, members


def _ranked_of_members(item_ids: Tensor, scores: Tensor, is_own: Tensor, k: int) -> RankedList:
    """The best k of a search's own items."""
    scores, best = scores.masked_fill(~is_own, -torch.inf).topk(min(k, scores.shape[1]))
    item_ids = item_ids.gather(1, best).masked_fill(scores == -torch.inf, 0)
    return RankedList(item_ids, scores).of_length(k)


def slot_log_probs(
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
