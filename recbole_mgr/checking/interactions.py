"""``<name>.inter``: who took what when, and what a loader would trip over."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.checking.tables import FIELDS, LINE, REPLACED, TEXT, first_bad_utf8, read_header, scan_table
from recbole_mgr.checking.verdict import ERROR, NOTE, WARNING, Part, Problem
from recbole_mgr.data.atomic_files import check_interactions

USER, ITEM, TIME = "user_id", "item_id", "timestamp"
NEEDED = {USER: "token", ITEM: "token", TIME: "float"}
SHORTEST = 4  # interactions of a user that give a row to training, validation and test each
LOADER_BYTES = 2**30  # up to here the loader, which holds the file in memory, has the last word
# what pandas, and with it RecBole, reads as missing
_MISSING = " #N/A #N/A_N/A #NA -1.#IND -1.#QNAN -NaN -nan 1.#IND 1.#QNAN <NA> N/A NA NULL NaN None n/a nan null"
MISSING_WORDS = ["", "#N/A N/A", *_MISSING.split()]
_UNIX_SECONDS = (3e8, 1e10)  # 1979 to 2286: such times are read as dates


class Interactions(NamedTuple):
    """Facts and problems, and what other sections and plots need.

    Attributes:
        part: of the verdict.
        item_counts: item -> count, a frame of ``item_id`` and ``len``; None where the file cannot be used.
        history_lengths: int [users].
        times: float64 [interactions] of the readable rows, in the file's order.
        unix: whether times are unix seconds.
    """

    part: Part
    item_counts: pl.DataFrame | None = None
    history_lengths: np.ndarray = np.empty(0, dtype=np.int64)
    times: np.ndarray = np.empty(0)
    unix: bool = False


def check_interaction_file(path: Path, *, k: int) -> Interactions:
    """Check ``<name>.inter``.

    Args:
        path: the file.
        k: users and items with fewer interactions are counted.
    """
    try:
        header = read_header(path)
    except ValueError as error:
        return Interactions(
            Part({}, [Problem(ERROR, path.name, str(error), "write the file as dataset_atomic/README.md says")])
        )
    lacking = [f"{field}:{type_}" for field, type_ in NEEDED.items() if header.get(field) != type_]
    if lacking:
        what = f"has no column {', '.join(lacking)}"
        return Interactions(Part({}, [Problem(ERROR, f"{path.name}, line 1", what, "add it, or correct its type")]))
    rows = _read(path, header)
    problems = _row_problems(path, rows, header)
    good = rows.filter(~pl.any_horizontal("no_user", "no_item", "bad_time", "too_many"))
    if not any(problem.level == ERROR for problem in problems):
        problems += _loader_problem(path)
    if good.is_empty():
        if not problems:
            problems.append(Problem(ERROR, path.name, "holds no interactions", "add rows below the header"))
        return Interactions(Part({"rows": rows.height}, problems))
    return _described(path, good, problems, k=k)


def _read(path: Path, header: dict[str, str]) -> pl.DataFrame:
    """About 20 bytes a row: ids as codes, time, line, and what is wrong with the row."""
    column = pl.col
    rows = scan_table(path, header).select(
        column(LINE),
        column(USER).cast(pl.Categorical),
        column(ITEM).cast(pl.Categorical),
        column(TIME).str.strip_chars().cast(pl.Float64, strict=False),
        too_many=column(FIELDS) > len(header),
        too_few=column(FIELDS) < len(header),
        no_user=column(USER).is_in(MISSING_WORDS),
        no_item=column(ITEM).is_in(MISSING_WORDS),
        quoted=column(TEXT).str.starts_with('"') | column(TEXT).str.contains('\t"', literal=True),
        replaced=column(TEXT).str.contains(REPLACED, literal=True),
    )
    return rows.with_columns(bad_time=~column(TIME).is_finite().fill_null(False)).collect(engine="streaming")


def _row_problems(path: Path, rows: pl.DataFrame, header: dict[str, str]) -> list[Problem]:
    kinds = (
        ("too_many", ERROR, f"more than {len(header)} values", "take out the tabs inside values"),
        ("no_user", ERROR, f"{USER} is empty or a word that reads as missing (NA, null, ...)", "rename the user"),
        ("no_item", ERROR, f"{ITEM} is empty or a word that reads as missing (NA, null, ...)", "rename the item"),
        ("bad_time", ERROR, f"{TIME} is not a finite number", "give it as a number, such as unix seconds"),
        ("quoted", ERROR, "a value begins with a quotation mark, which would swallow tabs", "take the mark out"),
        ("too_few", WARNING, f"fewer than {len(header)} values", "complete the rows"),
    )
    problems = []
    for kind, level, what, remedy in kinds:
        bad = rows.filter(kind)
        if not bad.is_empty():
            where = f"{path.name}, line {bad[LINE][0]}"
            problems.append(Problem(level, where, f"{what} ({bad.height:,} such lines)", remedy))
    if rows["replaced"].any() and (line := first_bad_utf8(path)):
        problems.append(Problem(ERROR, f"{path.name}, line {line}", "not UTF-8", "save the file with that encoding"))
    return problems


def _loader_problem(path: Path) -> list[Problem]:
    """What the loader says of a file in which nothing was found; it reads it with other code."""
    if path.stat().st_size > LOADER_BYTES:
        return []
    try:
        check_interactions(path, user=USER, item=ITEM, time=TIME)
    except ValueError as error:
        return [Problem(ERROR, path.name, str(error), "correct what the loader names")]
    return []


def _described(path: Path, good: pl.DataFrame, problems: list[Problem], *, k: int) -> Interactions:
    users, items = (good[field].to_physical().to_numpy().astype(np.int64) for field in (USER, ITEM))
    times = good[TIME].to_numpy()
    item_counts = good.group_by(pl.col(ITEM).cast(pl.String)).len().sort("len", ITEM, descending=[True, False])
    lengths = good.group_by(USER).len()["len"].to_numpy().astype(np.int64)
    repeated, twice = _copies(users << 32 | items, times)
    backwards, ties = _time_ties(users, times)
    low, high = _UNIX_SECONDS
    unix = bool(low < np.median(times) < high)
    counts = item_counts["len"].to_numpy()
    facts: dict[str, Any] = {
        "interactions": good.height,
        "users": len(lengths),
        "items": item_counts.height,
        "sparsity": f"{1 - (good.height - repeated) / (len(lengths) * item_counts.height):.4%}",
        "per user": _spread(lengths),
        "per item": _spread(counts),
        "time": f"{_date(times.min(), unix)} to {_date(times.max(), unix)}" + ("" if unix else " (no unix seconds)"),
        "repeated user-item pairs": repeated,
        "identical rows": twice,
        "successive interactions of one time": ties,
        "rows before an earlier row's time": backwards,
        f"users below {k}": int((lengths < k).sum()),
        f"items below {k}": int((counts < k).sum()),
        f"users below {SHORTEST}": int((lengths < SHORTEST).sum()),
    }
    now = time.time()
    future = int((times > now).sum()) if unix else 0
    facts["in the future"] = future

    def found(count: int, level: str, what: str, remedy: str) -> None:
        if count:
            problems.append(Problem(level, path.name, f"{count:,} {what}", remedy))

    found(twice, WARNING, "rows are a copy of another (same user, item and time)", "remove the copies")
    found(future, WARNING, f"interactions lie in the future (up to {_date(times.max(), unix)})", "correct the times")
    found(ties, NOTE, "interactions share their time with the one before", "the order of the rows decides between them")
    found(
        backwards, NOTE, "rows stand after a later one of the same user", "rows are put in time order before the split"
    )
    if np.median(times) >= high * 10:
        found(good.height, WARNING, "times look like milliseconds or finer", "divide them to seconds")
    too_short = int((lengths < SHORTEST).sum())
    if lengths.max() < SHORTEST:
        found(too_short, ERROR, f"users, all of them, have fewer than {SHORTEST} interactions", "bring more data")
    else:
        found(
            too_short,
            NOTE,
            f"users have fewer than {SHORTEST} interactions and are not in every split",
            "filter them out",
        )
    return Interactions(Part(facts, problems), item_counts, lengths, times, unix)


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
    return datetime.fromtimestamp(value, tz=timezone.utc).strftime("%Y-%m-%d %H:%M") if unix else f"{value:g}"
