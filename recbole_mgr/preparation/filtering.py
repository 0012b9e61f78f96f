"""Which interactions stay: rating threshold, repeated pairs, items without pictures, k-core."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.preparation.interactions import Interactions

_CHUNK = 1 << 22  # rows counted at a time: bincount makes 8 bytes of every number


class Counts(NamedTuple):
    """How much there is after a step."""

    step: str
    users: int
    items: int
    interactions: int


def count(step: str, interactions: Interactions) -> Counts:
    """Count users, items and interactions."""
    users, items = (int((_occurrences(column) > 0).sum()) for column in (interactions.users, interactions.items))
    return Counts(step, users, items, len(interactions.users))


def at_least(interactions: Interactions, min_rating: float) -> Interactions:
    """Interactions with a rating of at least ``min_rating``.

    Raises:
        ValueError: if the source has no ratings.
    """
    if interactions.ratings is None:
        raise ValueError("--min-rating: the source has no ratings; leave the option out")
    return interactions.where(interactions.ratings >= np.float32(min_rating))


def one_per_pair(interactions: Interactions, which: str) -> Interactions:
    """Of several interactions of a user with one item, the ``first`` or the ``last`` in time."""
    pairs = pl.Series(_pairs(interactions))
    keep = pairs.is_first_distinct() if which == "first" else pairs.is_last_distinct()
    return interactions.where(keep.to_numpy())


def of_items(interactions: Interactions, items: np.ndarray) -> Interactions:
    """Interactions with the items that ``items`` (bool [N]) marks."""
    return interactions.where(items[interactions.items])


def k_core(interactions: Interactions, k: int) -> Interactions:
    """The largest part in which every user and every item has at least k interactions.

    Dropping users takes interactions from items and the other way round, so it goes on until nothing is dropped. What
    remains does not depend on the order of the steps.
    """
    while len(interactions.users):
        keep = (_occurrences(interactions.users) >= k)[interactions.users]
        keep &= (_occurrences(interactions.items) >= k)[interactions.items]
        if keep.all():
            break
        interactions = interactions.where(keep)
    return interactions


def repeated_pairs(interactions: Interactions) -> int:
    """How many interactions repeat a pair of user and item."""
    pairs = _pairs(interactions)
    pairs.sort()  # in place: a set of 100 million pairs would be the largest thing in memory
    return int((pairs[1:] == pairs[:-1]).sum())


def _pairs(interactions: Interactions) -> np.ndarray:
    """uint64 [n], one number for each pair of user and item."""
    pairs = interactions.users.astype(np.uint64) << np.uint64(32)
    pairs |= interactions.items
    return pairs


def _occurrences(numbers: np.ndarray) -> np.ndarray:
    """int64 [largest number + 1], how often each number occurs."""
    counts = np.zeros(int(numbers.max()) + 1 if len(numbers) else 0, dtype=np.int64)
    for start in range(0, len(numbers), _CHUNK):
        found = np.bincount(numbers[start : start + _CHUNK])
        counts[: len(found)] += found
    return counts
