"""What a data set's interactions are like: who takes what again, what a k-core keeps, what the targets are."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.data.interactions import Interactions, judged_interactions, numbered
from recbole_mgr.data.table import DEFAULT_FORMAT, PROBLEM, AtomicFormat
from recbole_mgr.preparation.filtering import Counts, core_sizes
from recbole_mgr.preparation.interactions import Interactions as PreparedInteractions

CORES = range(1, 11)
_UNIX_SECONDS = (3e8, 1e10)


def read_data_interactions(folder: Path, name: str, format: AtomicFormat = DEFAULT_FORMAT) -> Interactions:
    """Read ``<name>.inter``, sorted by user, then time, then order of the file.

    Rows that a run would refuse are left out (``recbole-mgr check`` names them).

    Raises:
        ValueError: If there is no such file, it lacks a column, or no row is left.
    """
    path = folder / f"{name}.inter"
    rows, _ = judged_interactions(path, format)
    rows = rows.filter(pl.col(PROBLEM).is_null())
    if rows.is_empty():
        raise ValueError(f"{path}: no row with user, item and time; recbole-mgr check names what is wrong")
    data = numbered(rows)
    order = np.lexsort((data.times, data.users))  # stable
    return data._replace(users=data.users[order], items=data.items[order], times=data.times[order])


def cores(data: Interactions) -> list[Counts]:
    """What each k of CORES keeps."""
    return core_sizes(PreparedInteractions(data.users, data.items, data.times, None, data.users), CORES)


class Targets(NamedTuple):
    """Of the users' last interactions, which leave-one-out tests on; of users with at least two.

    Attributes:
        users: how many.
        repeats: the item stands in the history.
        copies: it is the item of the row before.
        same_time: so is the time: a copy of the row.
        cold: no other user, and no earlier row, has the item.
    """

    users: int
    repeats: int
    copies: int
    same_time: int
    cold: int


def targets(data: Interactions) -> Targets:
    """Count what the test targets of a leave-one-out split are like."""
    last = np.flatnonzero(np.append(np.diff(data.users) != 0, True))  # the last row of each user
    first = np.append(0, last[:-1] + 1)
    enough = last > first
    last, before = last[enough], last[enough] - 1
    pairs = data.users.astype(np.int64) * len(data.item_tokens) + data.items
    _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
    copies = data.items[last] == data.items[before]
    return Targets(
        users=len(last),
        repeats=int((counts[inverse[last]] > 1).sum()),
        copies=int(copies.sum()),
        same_time=int((copies & (data.times[last] == data.times[before])).sum()),
        cold=int((item_counts(data)[data.items[last]] == 1).sum()),
    )


def item_counts(data: Interactions) -> np.ndarray:
    """int64 [items], how often each was taken."""
    return np.bincount(data.items, minlength=len(data.item_tokens))


def history_lengths(data: Interactions) -> np.ndarray:
    """int64 [users]."""
    return np.bincount(data.users, minlength=len(data.user_tokens))


def over_time(data: Interactions) -> tuple[list[str], list[int]] | None:
    """Names of equal spans of time and the interactions in each; months or days where times are unix seconds, None
    where all are equal."""
    low, high = float(data.times.min()), float(data.times.max())
    if low == high:
        return None
    edges = np.linspace(low, high, 49)
    counts = np.histogram(data.times, edges)[0]
    unix = _UNIX_SECONDS[0] < low and high < _UNIX_SECONDS[1]
    digits = 0 if high - low > len(edges) else 3
    return [day(edge) if unix else f"{edge:.{digits}f}" for edge in edges[:-1]], counts.tolist()


def time_span(data: Interactions) -> str:
    """The first and the last time, as dates where they are unix seconds."""
    low, high = float(data.times.min()), float(data.times.max())
    if _UNIX_SECONDS[0] < low and high < _UNIX_SECONDS[1]:
        return f"{day(low)} to {day(high)}"
    return f"times from {low:.6g} to {high:.6g}"


def day(time: float) -> str:
    """The date of unix seconds."""
    return f"{datetime.fromtimestamp(time, timezone.utc):%Y-%m-%d}"
