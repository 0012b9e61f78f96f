"""The one reader of ``<name>.inter``: who took what when."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch

from recbole_mgr.data.provenance import no_such_data
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat, Fault, judged, open_table, refuse_faults

USER, ITEM, TIME, RATING = "user", "item", "time", "rating"


class Interactions(NamedTuple):
    """The rows of a file in its order, as numbers.

    Attributes:
        user_tokens: U user ids, in the order in which they first appear.
        item_tokens: N item ids, in the order in which they first appear.
        users: int32 [n], 0..U-1.
        items: int32 [n], 0..N-1.
        times: float64 [n].
    """

    user_tokens: list[str]
    item_tokens: list[str]
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray


def read_interactions(path: Path, format: AtomicFormat = DEFAULT_FORMAT) -> Interactions:
    """Read ``<name>.inter`` and refuse it where a row is not as it should be.

    Args:
        path: the file.
        format: how it is written.

    Raises:
        ValueError: Naming file, line and remedy: no such file, a malformed header, a column missing, another encoding,
            too many values in a row, a user or item id that is empty, reads as missing or has blanks around it, a time
            that is not a finite number, a word in a column of numbers, a value that begins with a quotation mark, no
            rows at all.
    """
    rows, faults = judged_interactions(path, format)
    refuse_faults(path, faults)
    return numbered(rows)


def check_interactions(path: Path, format: AtomicFormat = DEFAULT_FORMAT) -> None:
    """Refuse what `read_interactions` refuses; a file that has not changed since is not read again."""
    if path.is_file():
        status = path.stat()
        _check(path.resolve(), path, format, status.st_mtime_ns, status.st_size)
    else:
        raise ValueError(no_such_data(path))


@functools.lru_cache(maxsize=8)  # a good file is read once for all models of a table; an error is never kept
def _check(_resolved: Path, path: Path, format: AtomicFormat, _modified: int, _size: int) -> None:
    _, faults = judged_interactions(path, format)
    refuse_faults(path, faults)


def takes_again(path: Path, format: AtomicFormat = DEFAULT_FORMAT) -> bool:
    """Whether any user of ``<name>.inter`` takes an item a second time; errors as in `read_interactions`."""
    rows, faults = judged_interactions(path, format)
    refuse_faults(path, faults)
    return bool(rows.select(USER, ITEM).is_duplicated().any())


def judged_interactions(
    path: Path, format: AtomicFormat = DEFAULT_FORMAT, *, ratings: bool = False
) -> tuple[pl.DataFrame, list[Fault]]:
    """Read ``<name>.inter`` as it stands, and say what is wrong with it.

    Args:
        path: the file.
        format: how it is written.
        ratings: read them too.

    Returns:
        A frame of LINE, USER and ITEM (String), TIME (Float64), with ``ratings`` RATING (Float64, null where there
        is none), and PROBLEM (as of `judged`), in the order of the file; and its faults.

    Raises:
        ValueError: If there is no such file, its header is malformed, or a needed column is missing.
    """
    needed = {format.user: "token", format.item: "token", format.time: "float"}
    table = open_table(path, format, needed=needed)
    columns = [
        pl.col(format.user).alias(USER),
        pl.col(format.item).alias(ITEM),
        _number(format.time).alias(TIME),
    ]
    if ratings:
        there = format.rating in table.header
        columns.append((_number(format.rating) if there else pl.lit(None, pl.Float64)).alias(RATING))
    rows, faults = judged(table, keys=[format.user, format.item], columns=columns, finite=[format.time], unquoted=True)
    if rows.is_empty() and not faults:
        faults.append(Fault(0, "holds no interactions, only a header", "add a row for each interaction", 0))
    return rows, faults


def numbered(rows: pl.DataFrame) -> Interactions:
    """Rows of `judged_interactions`, all sound, as numbers."""
    user_tokens, users = _numbers(rows[USER])
    item_tokens, items = _numbers(rows[ITEM])
    return Interactions(user_tokens, item_tokens, users, items, rows[TIME].to_numpy())


def _numbers(tokens: pl.Series) -> tuple[list[str], np.ndarray]:
    """Distinct tokens in the order in which they first appear, and the number of each row's: int32 [n]."""
    groups = _groups(tokens)
    first, ranks = by_appearance(groups, int(groups.max(initial=0)) + 1)
    return tokens.gather(first).cast(pl.String).to_list(), ranks


def _groups(tokens: pl.Series) -> np.ndarray:
    """A number below 2^31 for each token, int32 [n], equal exactly where the tokens are."""
    hashes, order = torch.from_numpy(_hashes(tokens, 1).copy()).sort(stable=True)
    hashes, order = hashes.numpy(), order.numpy()
    is_other = hashes[1:] != hashes[:-1]  # [n - 1], than the one before
    check = _hashes(tokens, 2)[order]
    if (~is_other & (check[1:] != check[:-1])).any():  # two tokens have the same hash
        return tokens.cast(pl.Categorical).to_physical().to_numpy().astype(np.int32)
    groups = np.zeros(len(tokens), dtype=np.int32)
    groups[order[1:]] = is_other.cumsum(dtype=np.int32)
    return groups


def _hashes(tokens: pl.Series, seed: int) -> np.ndarray:
    return tokens.hash(seed).to_numpy().view(np.int64)


def by_appearance(numbers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where numbers below ``count`` first appear, in this order; and in place of each of ``numbers`` its rank in that
    order, int32 [n]."""
    first = np.full(count, -1, dtype=np.int32)
    first[numbers[::-1]] = np.arange(len(numbers) - 1, -1, -1, dtype=np.int32)
    first = np.sort(first[first >= 0])
    rank = np.zeros(count, dtype=np.int32)
    rank[numbers[first]] = np.arange(len(first), dtype=np.int32)
    return first, rank[numbers]


def _number(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
