"""Overlap of correct predictions: which users' targets are found by which variants.

Source: arXiv 2503.23333, Table 2 (definition not known in full): here a prediction is correct where the target stands
among the first k items, seen items allowed. Seeds are paired in their order and shares averaged.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

from recbole_mgr.run.comparison import Comparison


class Overlap(NamedTuple):
    """Shares over users, averaged over seeds.

    Attributes:
        labels: V variants.
        k: cut-off of a correct prediction.
        exclusive: set of variants -> share of all users whose target is found by exactly these; descending.
        jaccard: float [V, V], users found by both / by either; on the diagonal between two seeds of the variant itself,
            NaN where there is one seed: what retraining alone changes.
        covered: float [V, V], share of the row's found users that the column finds too; diagonal as above.
    """

    labels: list[str]
    k: int
    exclusive: dict[tuple[str, ...], float]
    jaccard: np.ndarray
    covered: np.ndarray


def overlap(comparison: Comparison) -> Overlap:
    """Overlap of correct predictions between the rows of a comparison."""
    k = comparison.cut
    labels = list(comparison.rows)
    hits = {label: [_hits(run, k) for run in runs] for label, runs in comparison.rows.items()}  # each bool [users]
    rounds = min(map(len, hits.values()))
    found = np.stack([[hits[label][turn] for label in labels] for turn in range(rounds)])  # [seeds, V, users]

    exclusive: dict[tuple[str, ...], float] = {}
    for turn in found:
        patterns, counts = np.unique(turn.T, axis=0, return_counts=True)  # [patterns, V]
        for pattern, count in zip(patterns, counts, strict=True):
            names = tuple(label for label, has in zip(labels, pattern, strict=True) if has)
            exclusive[names] = exclusive.get(names, 0.0) + count / turn.shape[1] / rounds
    exclusive = dict(sorted(exclusive.items(), key=lambda entry: -entry[1]))

    jaccard, covered = np.full((2, len(labels), len(labels)), np.nan)
    for row, one in enumerate(labels):
        for column, other in enumerate(labels):
            pairs = (
                list(combinations(hits[one], 2)) if one == other else list(zip(hits[one], hits[other], strict=False))
            )
            if pairs:
                jaccard[row, column] = np.mean([_ratio(a & b, a | b) for a, b in pairs])
                covered[row, column] = np.mean([_ratio(a & b, a) for a, b in pairs])
    return Overlap(labels, k, exclusive, jaccard, covered)


def _hits(run, k: int) -> np.ndarray:
    """bool [users], by user token: runs list their users in different orders."""
    return ((run.ranks > 0) & (run.ranks <= k))[np.argsort(run.users)]


def _ratio(part: np.ndarray, whole: np.ndarray) -> float:
    return part.sum() / whole.sum() if whole.any() else 0.0
