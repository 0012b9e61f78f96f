"""Numbers of a comparison that pages draw: means with intervals, differences, accuracy by group of users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.results import RunResult
from recbole_mgr.run.statistics import bootstrap_means, half_width, hits_and_gains


class Interval(NamedTuple):
    """A mean over users and its 95 % interval."""

    mean: float
    low: float
    high: float


class RowFacts(NamedTuple):
    """A row of the table.

    Attributes:
        label: of the row.
        ndcg, recall: at the comparison's cut-off, seeds averaged for each user, with bootstrap intervals over users.
        ndcg_masked: the same, seen items masked; None where it was not tested.
        difference: NDCG of the reference row less this row's, user by user; None for the reference itself.
        seeds, parameters, epochs, train_seconds, milliseconds: costs, seeds averaged; milliseconds of the test a user.
    """

    label: str
    ndcg: Interval
    recall: Interval
    ndcg_masked: float | None
    difference: Interval | None
    seeds: int
    parameters: int
    epochs: float
    train_seconds: float
    milliseconds: float


def gains(comparison: Comparison) -> dict[str, np.ndarray]:
    """Row -> NDCG of each user at the cut-off, seeds averaged; float [U], users as in the first result."""
    return {label: _averaged(runs, comparison, 1) for label, runs in comparison.rows.items()}


def hits(comparison: Comparison) -> dict[str, np.ndarray]:
    """Row -> share of seeds that find each user's target within the cut-off."""
    return {label: _averaged(runs, comparison, 0) for label, runs in comparison.rows.items()}


def row_facts(comparison: Comparison) -> list[RowFacts]:
    """Facts of all rows; the last row is the reference, as in the table's tests."""
    ndcg, recall = gains(comparison), hits(comparison)
    labels = list(comparison.rows)
    matrix = np.stack([*ndcg.values(), *recall.values()], axis=1)  # [U, 2 R]
    draws = bootstrap_means(matrix)  # [draws, 2 R]
    reference = len(labels) - 1
    facts = []
    for row, label in enumerate(labels):
        runs = comparison.rows[label]
        difference = None
        if row != reference:
            difference = _interval(
                float((matrix[:, reference] - matrix[:, row]).mean()), draws[:, reference] - draws[:, row]
            )
        masked = [run.test_masked.get(f"ndcg@{comparison.cut}") for run in runs]
        facts.append(
            RowFacts(
                label=label,
                ndcg=_interval(float(matrix[:, row].mean()), draws[:, row]),
                recall=_interval(float(matrix[:, len(labels) + row].mean()), draws[:, len(labels) + row]),
                ndcg_masked=float(np.mean(masked)) if all(value is not None for value in masked) else None,
                difference=difference,
                seeds=len(runs),
                parameters=runs[0].parameters,
                epochs=float(np.mean([run.epochs for run in runs])),
                train_seconds=float(np.mean([run.train_seconds for run in runs])),
                milliseconds=float(np.mean([1000 * run.test_seconds / len(run.users) for run in runs])),
            )
        )
    return facts


def mean_interval(values: np.ndarray) -> Interval:
    """The mean of a group of users, with the normal approximation of its 95 % interval."""
    mean = float(values.mean())
    half = half_width(values) if len(values) > 1 else 0.0
    return Interval(mean, mean - half, mean + half)


def accuracy_by_group(values: Mapping[str, np.ndarray], answers: Mapping[str, np.ndarray]) -> dict[str, list[Interval]]:
    """Row -> interval of each answer's users.

    Args:
        values: row -> value of each user, float [U].
        answers: answer -> bool [U].
    """
    return {label: [mean_interval(own[rows]) for rows in answers.values()] for label, own in values.items()}


def _interval(mean: float, draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def _averaged(runs: list[RunResult], comparison: Comparison, metric: int) -> np.ndarray:
    """Recall (metric 0) or NDCG (1) of each user, float [U]."""
    order = comparison.ranked[0].users.tolist()
    total = np.zeros(len(order))
    for run in runs:
        values = hits_and_gains(run.ranks, comparison.cut)[metric]
        own = dict(zip(run.users.tolist(), values.tolist(), strict=True))
        total += np.array([own[user] for user in order])
    return total / len(runs)
