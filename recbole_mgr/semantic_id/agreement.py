"""How far two clusterings of the same items agree: adjusted mutual information.

Source: Vinh, Epps and Bailey (JMLR 2010), normalised by the mean of both entropies, as scikit-learn's
``adjusted_mutual_info_score`` does. Every training asks for it, and that one takes .6 s for 5,000 items that are alone
in their clusters, .7 s and 70 MB to import. Here pairs of clusters of the same two sizes are computed once: what chance
gives them depends on nothing else.
"""

from __future__ import annotations

import numpy as np


def adjusted_mutual_information(one: np.ndarray, other: np.ndarray) -> float:
    """Mutual information beyond chance: 1 for equal clusterings, about 0 for unrelated ones.

    Args:
        one, other: int [n], n >= 1, the cluster of each item; their numbers mean nothing.
    """
    sizes_of, numbers_of = zip(*(_clusters(clusters) for clusters in (one, other)), strict=True)
    if all(len(sizes) == 1 for sizes in sizes_of):
        return 1.0
    _, together = np.unique(numbers_of[0] * len(sizes_of[1]) + numbers_of[1], return_counts=True)
    entropies = sum(_entropy(sizes) for sizes in sizes_of)
    expected = _expected_information(*sizes_of)
    most = entropies / 2 - expected
    smallest = np.finfo(np.float64).eps  # where chance explains everything, "most" is rounding errors or 0
    most = min(most, -smallest) if most < 0 else max(most, smallest)
    return float((entropies - _entropy(together) - expected) / most)


def _clusters(clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of the clusters, and the place among them of each item's."""
    _, numbers, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    return sizes, numbers


def _entropy(sizes: np.ndarray) -> float:
    shares = np.sort(sizes) / sizes.sum()  # sorted: equal clusterings give the same sum, to the last bit
    return float(-(shares * np.log(shares)).sum())


def _expected_information(one: np.ndarray, other: np.ndarray) -> float:
    """Mean mutual information (nats) of all pairs of clusterings that have these sizes of clusters."""
    total = int(one.sum())
    log_factorial = np.concatenate([[0.0], np.log(np.arange(1, total + 1)).cumsum()])
    (sizes, times), (others, other_times) = (np.unique(part, return_counts=True) for part in (one, other))
    others = others[:, None]  # [b, 1]
    expected = 0.0
    for size, count in zip(sizes.tolist(), times.tolist(), strict=True):
        common = np.arange(1, min(size, int(others.max())) + 1)  # [c], items in both clusters
        outside = total - size - others + common  # [b, c], items in neither
        is_possible = (common <= others) & (outside >= 0)
        common, outside, of_other = (part[is_possible] for part in np.broadcast_arrays(common, outside, others))
        log_chance = (
            log_factorial[[size, total - size]].sum()
            + log_factorial[of_other]
            + log_factorial[total - of_other]
            - log_factorial[total]
            - log_factorial[common]
            - log_factorial[size - common]
            - log_factorial[of_other - common]
            - log_factorial[outside]
        )
        information = common / total * np.log(total * common / (size * of_other))
        weights = count * np.broadcast_to(other_times[:, None], is_possible.shape)[is_possible]
        expected += float((weights * information * np.exp(log_chance)).sum())
    return expected
