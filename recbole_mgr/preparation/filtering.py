"""Which interactions stay: rating threshold, copies, repeated pairs, items without pictures, k-core."""

from __future__ import annotations

from collections.abc import Sequence
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
    return Counts(step, _distinct(interactions.users), _distinct(interactions.items), len(interactions.users))


def rated(interactions: Interactions) -> Interactions:
    """Interactions that have a rating.

    Raises:
        ValueError: if the source has no ratings.
    """
    if interactions.ratings is None:
        raise ValueError("--min-rating: the source has no ratings; leave the option out")
    return interactions.where(~np.isnan(interactions.ratings))


def at_least(interactions: Interactions, min_rating: float) -> Interactions:
    """Of interactions that have a rating, those with one of at least ``min_rating``."""
    return interactions.where(interactions.ratings >= np.float32(min_rating))


def one_per_pair(interactions: Interactions, which: str) -> Interactions:
    """Of several interactions of a user with one item, the ``first`` or the ``last`` in time."""
    pairs = pl.Series(_pairs(interactions))
    keep = pairs.is_first_distinct() if which == "first" else pairs.is_last_distinct()
    return interactions.where(keep.to_numpy())


def of_items(interactions: Interactions, items: np.ndarray) -> Interactions:
    """Interactions with the items that ``items`` (bool [N]) marks."""
    return interactions.where(items[interactions.items])


def without_copies(interactions: Interactions) -> Interactions:
    """Interactions of which none equals an earlier one in user, item, time and rating."""
    return interactions.where(~_copies(interactions))


def k_core(interactions: Interactions, user_core: int, item_core: int | None = None) -> Interactions:
    """The largest part in which users and items have at least so many interactions each (items by default as users).

    Dropping users takes interactions from items and the other way round, so it goes on until nothing is dropped. What
    remains does not depend on the order of the steps.
    """
    return interactions.where(
        _core(interactions.users, interactions.items, user_core, user_core if item_core is None else item_core)
    )


def core_sizes(interactions: Interactions, ks: Sequence[int]) -> list[Counts]:
    """What would be left of the interactions for each k, of users and items alike, in ascending order."""
    users, items = interactions.users, interactions.items
    of_users, of_items = _occurrences(users), _occurrences(items)
    sizes = []
    for k in sorted(ks):  # cores are nested: each is one of the core before
        while len(users) and not (_all_have(of_users, k) and _all_have(of_items, k)):
            keep = (of_users >= k)[users] & (of_items >= k)[items]
            users, items = users[keep], items[keep]
            of_users, of_items = _occurrences(users), _occurrences(items)
        sizes.append(Counts(f"{k}-core", int((of_users > 0).sum()), int((of_items > 0).sum()), len(users)))
    return sizes


def _core(users: np.ndarray, items: np.ndarray, user_core: int, item_core: int) -> np.ndarray | slice:
    """Rows of the core: int64 positions, or a slice of all."""
    rows: np.ndarray | slice = np.s_[:]
    while len(users):
        of_users, of_items = _occurrences(users), _occurrences(items)
        if _all_have(of_users, user_core) and _all_have(of_items, item_core):
            break
        places = np.flatnonzero((of_users >= user_core)[users] & (of_items >= item_core)[items])
        rows = places if isinstance(rows, slice) else rows[places]
        users, items = users[places], items[places]
    return rows


def _all_have(counts: np.ndarray, k: int) -> bool:
    """Whether all that occur do so k times."""
    return not ((counts > 0) & (counts < k)).any()


def repeated_pairs(interactions: Interactions) -> int:
    """How many interactions repeat a pair of user and item."""
    pairs = _pairs(interactions)
    pairs.sort()  # in place: a set of 100 million pairs would be the largest thing in memory
    return int((pairs[1:] == pairs[:-1]).sum())


def copies(interactions: Interactions) -> int:
    """How many interactions equal an earlier one in user, item, time and rating."""
    return int(_copies(interactions).sum())


def _copies(interactions: Interactions) -> np.ndarray:
    """bool [n], rows that equal an earlier one; only rows that share user and time with a neighbour are compared."""
    users, items, times, ratings, _ = interactions
    tied = np.zeros(len(users), dtype=bool)
    tied[1:] = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    group = np.cumsum(~tied)  # rows are sorted by user and time
    tied[:-1] |= tied[1:]
    columns = {"group": group[tied], "item": items[tied]}
    if ratings is not None:
        columns["rating"] = ratings[tied]
    found = np.zeros(len(users), dtype=bool)
    if tied.any():
        found[tied] = ~pl.DataFrame(columns).select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    return found


def _pairs(interactions: Interactions) -> np.ndarray:
    """uint64 [n], one number for each pair of user and item."""
    pairs = interactions.users.astype(np.uint64) << np.uint64(32)
    pairs |= interactions.items
    return pairs


def _distinct(numbers: np.ndarray) -> int:
    return int((_occurrences(numbers) > 0).sum())


def _occurrences(numbers: np.ndarray) -> np.ndarray:
    """int64 [largest number + 1], how often each number occurs."""
    counts = np.zeros(int(numbers.max()) + 1 if len(numbers) else 0, dtype=np.int64)
    for start in range(0, len(numbers), _CHUNK):
        found = np.bincount(numbers[start : start + _CHUNK])
        counts[: len(found)] += found
    return counts
