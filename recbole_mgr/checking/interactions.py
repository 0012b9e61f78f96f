"""``<name>.inter``: who took what when, and what is wrong with it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.checking.verdict import ERROR, NOTE, WARNING, Part, Problem, found_faults
from recbole_mgr.data.interactions import ITEM, Interactions, judged_interactions, numbered
from recbole_mgr.data.table import PROBLEM, AtomicFormat

SHORTEST = 4  # interactions of a user that give a row to training, validation and test each
_UNIX_SECONDS = (3e8, 1e10)  # 1979 to 2286: such times are read as dates
_LONG_AGO = 31_536_000  # 1971; before it lie dates that were missing: year 1, 1900, 1970
_OTHER_UNITS = (  # how times are also written, by the range of their median: what, and how prepare is told
    ("days since year 1", 7.0e5, 8.0e5, None),
    ("dates written as YYYYMMDD", 1.9e7, 2.1001e7, None),
    ("seconds since year 1", 6.2e10, 6.7e10, None),
    ("milliseconds", 3e11, 1e13, "ms"),
    ("microseconds", 3e14, 1e16, "us"),
    ("ticks of 100 nanoseconds since year 1", 6.2e17, 6.7e17, None),
    ("nanoseconds", 3e17, 1e19, "ns"),
)


class CheckedInteractions(NamedTuple):
    """Facts and problems, and what other sections and plots need.

    Attributes:
        part: of the verdict.
        item_counts: item -> count, a frame of ``item`` and ``len``, the most frequent first; None where the file cannot
            be used.
        history_lengths: int [users].
        times: float64 [interactions] of the readable rows, in the file's order.
        unix: whether times are unix seconds.
    """

    part: Part
    item_counts: pl.DataFrame | None = None
    history_lengths: np.ndarray = np.empty(0, dtype=np.int64)
    times: np.ndarray = np.empty(0)
    unix: bool = False


def check_interaction_file(path: Path, *, k: int, format: AtomicFormat) -> CheckedInteractions:
    """Check ``<name>.inter``.

    Args:
        path: the file.
        k: users and items with fewer interactions are counted.
        format: how the file is written.
    """
    try:
        rows, faults = judged_interactions(path, format)
    except ValueError as error:
        remedy = "write the file as dataset_atomic/README.md says, for example with recbole-mgr prepare table"
        return CheckedInteractions(Part({}, [Problem(ERROR, path.name, str(error), remedy)]))
    problems = found_faults(path, faults)
    good = rows.filter(pl.col(PROBLEM).is_null())
    if good.is_empty():
        return CheckedInteractions(Part({"rows": rows.height}, problems))
    return _described(path, numbered(good), problems, k=k)


def _described(path: Path, rows: Interactions, problems: list[Problem], *, k: int) -> CheckedInteractions:
    users, items, times = rows.users.astype(np.int64), rows.items.astype(np.int64), rows.times
    counts = np.bincount(items)
    item_counts = pl.DataFrame({ITEM: rows.item_tokens, "len": counts}).sort("len", ITEM, descending=[True, False])
    lengths = np.bincount(users)
    repeated, twice = _copies(users << 32 | items, times)
    backwards, ties = _time_ties(users, times)
    targets = _targets(users, items, times)
    low, high = _UNIX_SECONDS
    unix = bool(low < np.median(times) < high)
    facts: dict[str, Any] = {
        "interactions": len(times),
        "users": len(lengths),
        "items": len(counts),
        "sparsity": f"{1 - (len(times) - repeated) / (len(lengths) * len(counts)):.4%}",
        "per user": _spread(lengths),
        "per item": _spread(counts),
        "time": f"{_date(times.min(), unix)} to {_date(times.max(), unix)}" + ("" if unix else " (no unix seconds)"),
        "repeated user-item pairs": repeated,
        "identical rows": twice,
        "test targets": targets._asdict(),
        "successive interactions of one time": ties,
        "rows before an earlier row's time": backwards,
        f"users below {k}": int((lengths < k).sum()),
        f"items below {k}": int((counts < k).sum()),
        f"users below {SHORTEST}": int((lengths < SHORTEST).sum()),
    }
    now = time.time()
    future = int((times > now).sum()) if unix else 0
    long_ago = int((times < (_LONG_AGO if unix else 0)).sum())  # of positions in a sequence none is below 0
    facts["in the future"] = future
    folder = f"recbole-mgr prepare atomic {path.parent} --name {path.stem}-new"

    def found(count: int, level: str, what: str, remedy: str) -> None:
        if count:
            problems.append(Problem(level, path.name, f"{count:,} {what}", remedy))

    found(twice, WARNING, "rows are a copy of another (same user, item and time)", f"{folder} --duplicates copies")
    if targets.repeated:
        share = f"{targets.repeated / targets.users:.1%} of {targets.users:,} test targets"
        what = (
            f"({share}) repeat an item of the user's history, {targets.copies:,} of them the row before with its time"
        )
        remedy = f"know it when you compare models; for new items only: {folder} --duplicates first"
        found(targets.repeated, WARNING if targets.repeated * 20 > targets.users else NOTE, what, remedy)
    found(future, WARNING, f"interactions lie in the future (up to {_date(times.max(), unix)})", "correct the times")
    found(
        long_ago,
        WARNING,
        f"interactions lie before 1971 (from {_date(times.min(), True)}), as missing dates are often written",
        "correct their times, or leave these rows out",
    )
    found(ties, NOTE, "interactions share their time with the one before", "the order of the rows decides between them")
    found(
        backwards, NOTE, "rows stand after a later one of the same user", "rows are put in time order before the split"
    )
    problems.extend(_unit_problem(path, float(np.median(times))))
    too_short = int((lengths < SHORTEST).sum())
    if lengths.max() < SHORTEST:
        found(too_short, ERROR, f"users, all of them, have fewer than {SHORTEST} interactions", "bring more data")
    else:
        what = f"users have fewer than {SHORTEST} interactions and are not in every split"
        found(too_short, NOTE, what, f"leave them out: {folder} --k-core 5, or --user_inter_num_interval='[4,inf)'")
    return CheckedInteractions(Part(facts, problems), item_counts, lengths, times, unix)


class Targets(NamedTuple):
    """The last interaction of each user that has an earlier one, which is what tests.

    Attributes:
        users: how many there are.
        repeated: of them, how many are an item that the user took before.
        copies: of those, how many are the row before once more: the same item at the same time.
    """

    users: int
    repeated: int
    copies: int


def _targets(users: np.ndarray, items: np.ndarray, times: np.ndarray) -> Targets:
    order = np.lexsort((times, users))  # stable: ties keep the order of the file, as the split does
    users, items, times = users[order], items[order], times[order]
    last = np.flatnonzero(np.append(np.diff(users) != 0, True))
    last = last[np.append(-1, last[:-1]) + 1 < last]  # users of one row have no target
    pairs = users << 32 | items
    _, first = np.unique(pairs, return_index=True)
    is_first = np.zeros(len(pairs), dtype=bool)
    is_first[first] = True
    copies = (items[last] == items[last - 1]) & (times[last] == times[last - 1])
    return Targets(len(last), int((~is_first[last]).sum()), int(copies.sum()))


def _unit_problem(path: Path, median: float) -> list[Problem]:
    for unit, low, high, option in _OTHER_UNITS:
        if low <= median <= high:
            remedy = "write them as unix seconds"
            if option:
                remedy += f"; from a table: recbole-mgr prepare table FILE --time-unit {option}"
            return [Problem(WARNING, path.name, f"times look like {unit}, not like unix seconds", remedy)]
    return []


def _copies(pairs: np.ndarray, times: np.ndarray) -> tuple[int, int]:
    """How many rows have a user and item, and how many have a time too, that another row had before."""
    order = np.lexsort((times, pairs))
    same_pair = np.diff(pairs[order]) == 0
    return int(same_pair.sum()), int((same_pair & (np.diff(times[order]) == 0)).sum())


def _time_ties(users: np.ndarray, times: np.ndarray) -> tuple[int, int]:
    """How many rows have a smaller time than the user's row before, and how many share a time of the user's."""
    in_file = np.argsort(users, kind="stable")
    same_user = np.diff(users[in_file]) == 0
    backwards = int((same_user & (np.diff(times[in_file]) < 0)).sum())
    in_time = np.lexsort((times, users))
    ties = int(((np.diff(users[in_time]) == 0) & (np.diff(times[in_time]) == 0)).sum())
    return backwards, ties


def _spread(counts: np.ndarray) -> dict[str, float]:
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "mean": float(counts.mean()),
        "max": int(counts.max()),
    }


def _date(value: float, unix: bool) -> str:
    """A time in words; a date where it is one that the calendar has."""
    if unix and -62_135_596_800 <= value < 253_402_300_800:  # years 1 to 9999
        return (datetime(1970, 1, 1) + timedelta(seconds=value)).isoformat(" ", "minutes")
    return f"{value:g}"
