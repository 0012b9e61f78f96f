"""How a list came about: the beams that the search kept, digit by digit, as a tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.generation.trie import AllowedItems
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.model.ranking import Wanted

KEPT = 12  # prefixes shown of a depth, beside those that lead to the list


class Prefix(NamedTuple):
    """A prefix that the search kept.

    Attributes:
        code: its last code.
        parent: place of the prefix before it in the level above; 0 in the first level.
        log_prob: of the whole prefix, given the history.
        item_id: the item, at the last digit; else 0.
        leads: whether an item of the list is below it.
        added: what each of the priors added to the logit of its last code, relative to the prefix before it.
    """

    code: int
    parent: int
    log_prob: float
    item_id: int
    leads: bool
    added: tuple[float, ...] = ()


class Beams(NamedTuple):
    """A ranked list and its levels, one for each digit of the semantic IDs, transition digits included.

    Attributes:
        item_ids: of the list, best first.
        scores: log-probabilities.
        levels: D lists of prefixes, the most likely first; those shown, with all that lead to the list.
        kept: how many prefixes the search kept at each digit.
        lost: the digit, 0..D-1, at which the wanted item's prefix left the beams; D where it never did; None where
            no item was asked for.
        priors: names of those pushed down the trie.
        parts: where items are ranked by a sum of scores, the terms of each item of the list, by part.
    """

    item_ids: list[int]
    scores: list[float]
    levels: list[list[Prefix]]
    kept: list[int]
    lost: int | None
    priors: list[str]
    parts: dict[str, list[float]]


@torch.no_grad()
def beams_of(
    network: GenerativeRecommender,
    history: Sequence[int],
    k: int,
    *,
    wanted: int | None = None,
    exclude: Sequence[int] = (),
    allowed_items: AllowedItems | None = None,
) -> Beams:
    """Rank items for one history and keep what the search saw.

    Args:
        network: of a run, in eval mode.
        history: item ids, oldest first, at least one.
        k: items of the list.
        wanted: an item whose path is followed.
        exclude: item ids that must not be recommended.
        allowed_items: of the network's trie.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def trace(depth: int, nodes: Tensor, scores: Tensor) -> None:
        seen.append((nodes[0], scores[0]))

    device = network.trie.device
    excluded = torch.tensor([list(exclude)], device=device) if exclude else None
    ranker = network.ranker(history_of(network, [history]))
    (ranked,) = ranker.lists(Wanted(k, network.beam_width(k), [excluded], allowed_items, trace))
    priors = ranker.pushed
    item_ids = [item_id for item_id in ranked.item_ids[0].tolist() if item_id]
    trie = network.trie
    paths = trie.path_to_leaf(torch.tensor(item_ids, dtype=torch.long, device=device))  # [k, D + 1]
    levels: list[list[Prefix]] = []
    above: dict[int, int] = {0: 0}  # node -> place in the level above
    for depth, (nodes, log_probs) in enumerate(seen, start=1):
        level, places = [], {}
        leading = set(paths[:, depth].tolist())
        alive = log_probs > -torch.inf
        nodes = nodes[alive]
        parents = trie.parent(depth, nodes)
        codes, _ = trie.follow(depth - 1, parents, trie.slots_of(depth - 1, parents, nodes))
        leaves = trie.item_ids(nodes) if depth == trie.num_digits else torch.zeros_like(nodes)
        added = torch.zeros(len(nodes), len(priors), device=device)
        for column, (prior, weight) in enumerate(priors.values()):
            below, whole = prior.log_mass(depth, nodes[None]), prior.log_mass(depth - 1, parents[None])
            added[:, column] = weight * (below - whole)[0]
        columns = (column.tolist() for column in (nodes, parents, codes, log_probs[alive], leaves, added))
        for node, parent, code, log_prob, item_id, parts in zip(*columns, strict=True):
            if parent in above and (node in leading or len(level) < KEPT):
                places[node] = len(level)
                level.append(Prefix(code, above[parent], log_prob, item_id, node in leading, tuple(parts)))
        levels.append(level)
        above = places
    lost = None
    if wanted is not None:
        path = trie.path_to_leaf(torch.tensor([wanted], device=device))[0].tolist()
        gone = (digit for digit, (nodes, _) in enumerate(seen) if path[digit + 1] not in nodes.tolist())
        lost = next(gone, len(seen))
    kept = [int((log_probs > -torch.inf).sum()) for _, log_probs in seen]
    terms = ranker.terms(ranked.item_ids[:, : len(item_ids)])
    parts = {part: values[0].tolist() for part, values in terms.items()}
    return Beams(item_ids, ranked.scores[0].tolist()[: len(item_ids)], levels, kept, lost, [*priors], parts)


def history_of(network: GenerativeRecommender, histories: Sequence[Sequence[int] | np.ndarray]) -> Interaction:
    """Histories as a network takes them: the last items of each, padded."""
    longest = network.max_seq_length
    rows = [torch.tensor(history[-longest:], dtype=torch.long) for history in histories]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # [B, L]
    return Interaction({network.ITEM_SEQ: padded, network.ITEM_SEQ_LEN: lengths}).to(network.trie.device)


def plain_beams(beams: Beams, number: Callable[[int], int]) -> dict[str, Any]:
    """Beams as plain data for a page.

    Args:
        beams: of a list.
        number: the number on the page of an item id; of 0, where a prefix is no item yet, any.
    """
    return {
        "items": [number(item_id) for item_id in beams.item_ids],
        "scores": [round(score, 3) for score in beams.scores],
        "levels": [
            [
                [
                    *(prefix.code, prefix.parent, _share(prefix.log_prob), number(prefix.item_id), int(prefix.leads)),
                    *(round(part, 2) for part in prefix.added),
                ]
                for prefix in level
            ]
            for level in beams.levels
        ],
        "kept": beams.kept,
        "lost": beams.lost,
        "priors": beams.priors,
        "parts": {part: [round(value, 3) for value in values] for part, values in beams.parts.items()},
    }


def _share(log_prob: float) -> float:
    """A probability with three digits that count."""
    return float(f"{math.exp(log_prob):.3g}")
