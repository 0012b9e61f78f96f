"""Metrics with the uncertainty that a limited number of cases leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_RESAMPLES = 1000


class Estimate(NamedTuple):
    """A metric and its 95 % bootstrap interval over the cases; ``low`` and ``high`` are NaN where there is none."""

    value: float
    low: float
    high: float


def estimate(
    statistics: np.ndarray, metric: Callable[[np.ndarray], float | np.ndarray] = lambda mean: mean
) -> Estimate:
    """A metric that is a function of the cases' mean, with its percentile bootstrap interval.

    Every call draws the same resamples for the same number of cases, so that a model and its baselines are resampled
    alike.

    Args:
        statistics: [n] or [n, F] numbers of each case, n >= 1.
        metric: of the mean ([] or [F]) of the statistics; the mean itself by default.

    Raises:
        ValueError: If there is no case.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    if not len(statistics):
        raise ValueError("no case to estimate a metric from; the data leave this task none")
    generator = np.random.default_rng(0)
    count = len(statistics)
    resampled = [
        float(metric(statistics[generator.integers(count, size=count)].mean(axis=0))) for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(float(metric(statistics.mean(axis=0))), float(low), float(high))
