"""How sure a table can be: intervals over users, and paired tests of two rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import wilcoxon

_DRAWS, _AT_ONCE = 2000, 100


class PairedTest(NamedTuple):
    """Per-user difference of one row against another, seeds averaged first.

    Attributes:
        difference: mean.
        low, high: 95 % bootstrap interval over users.
        p_value: of the Wilcoxon signed-rank test (two-sided); 1 where no user differs.
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_test(ours: np.ndarray, theirs: np.ndarray) -> PairedTest:
    """Test whether two rows differ.

    Args:
        ours, theirs: float64 [n], a metric of each user, the users in the same order.
    """
    difference = (ours - theirs).round(12)  # what rounding leaves of equal means is no difference
    means = bootstrap_means(difference, draws=_DRAWS)
    low, high = np.quantile(means, [0.025, 0.975])
    p_value = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
    return PairedTest(float(difference.mean()), float(low), float(high), p_value)


def bootstrap_means(values: np.ndarray, *, draws: int = 1000) -> np.ndarray:
    """Means [draws, R] of values [n, R], or [draws] of [n], over users drawn with replacement, the same for each R.

    Drawing with replacement is weighting by a multinomial law; blocks of draws bound the memory.
    """
    generator, n = np.random.default_rng(0), len(values)
    weights = (generator.multinomial(n, np.full(n, 1 / n), size=_AT_ONCE) for _ in range(draws // _AT_ONCE))
    return np.concatenate([block @ values / n for block in weights])


def half_width(values: np.ndarray) -> float:
    """Half the 95 % interval of a mean over users, by the normal law, from a metric [n] of each user."""
    return 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")


def hits_and_gains(ranks: np.ndarray, cut: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and NDCG at ``cut`` of single targets, float64 [n] each, from their ranks [n], 0 = not in the list."""
    hit = (ranks > 0) & (ranks <= cut)
    return hit.astype(float), np.where(hit, 1 / np.log2(np.maximum(ranks, 1) + 1), 0.0)
