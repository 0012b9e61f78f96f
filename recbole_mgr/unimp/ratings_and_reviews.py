"""What users said of what they took: ratings of ``<name>.inter`` and texts of ``<name>.review``.

RecBole reads neither: its batches would carry the ratings, and the words as [rows, items, words]. So the files are read
here and matched with RecBole's interactions by user, item and time, and reviews by user, item and, where a user took an
item several times, by their order.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

logger = logging.getLogger(__name__)

MOST_RATINGS = 20
_USER, _ITEM, _TIME, _RATING, _REVIEW, _LINE = "user", "item", "time", "rating", "review", "line"
_OCCURRENCE, _SAME_TIME = "occurrence", "same time"


class Fields(NamedTuple):
    """Names of the columns, as RecBole's settings have them."""

    user: str
    item: str
    time: str
    rating: str


def read_ratings(folder: Path, name: str, interactions: pl.DataFrame, fields: Fields) -> np.ndarray:
    """The rating of each interaction.

    Args:
        folder, name: of the data set.
        interactions: n rows with the columns "user", "item" (tokens) and "time" (float64), in time order.
        fields: the columns' names in the file.

    Returns:
        float64 [n], nan where there is none; all nan where the file has no such column.

    Raises:
        ValueError: Naming file and line: a rating is not a number.
    """
    path = folder / f"{name}.inter"
    table = _read_interactions(path, fields)
    number = pl.col(_RATING).cast(pl.Float64, strict=False)
    wrong = table.filter(pl.col(_RATING).is_not_null() & ~number.is_finite().fill_null(False))
    if not wrong.is_empty():
        raise ValueError(
            f"{path}, line {wrong[_LINE][0]}: {fields.rating} {wrong[_RATING][0]!r} is not a number; correct it, leave "
            "it empty, or take preference and explanation out of tasks"
        )
    return _matched(path, interactions, table.with_columns(number))[_RATING].fill_null(np.nan).to_numpy()


def read_reviews(folder: Path, name: str, interactions: pl.DataFrame, fields: Fields) -> list[str] | None:
    """The review of each interaction.

    Args:
        folder, name, interactions, fields: as in `read_ratings`.

    Returns:
        n texts, "" where there is none; None where there is no file ``<name>.review``.

    Raises:
        ValueError: Naming file and line: a malformed table, or more reviews of an item than a user took it.
    """
    path = folder / f"{name}.review"
    if not path.is_file():
        return None
    reviews = _read_table(path, {fields.user: _USER, fields.item: _ITEM, _REVIEW: _REVIEW})
    reviews = reviews.with_columns(_count_over(_USER, _ITEM).alias(_OCCURRENCE))
    inter = folder / f"{name}.inter"
    table = _read_interactions(inter, fields).with_columns(_count_over(_USER, _ITEM).alias(_OCCURRENCE))
    lost = reviews.join(table, on=[_USER, _ITEM, _OCCURRENCE], how="anti")
    twice = lost.join(table, on=[_USER, _ITEM], how="semi").sort(_LINE)
    if not twice.is_empty():
        raise ValueError(
            f"{path}, line {twice[_LINE][0]}: one more review by user {twice[_USER][0]!r} of item {twice[_ITEM][0]!r} "
            f"than {inter.name} has rows of them; keep one for each row"
        )
    if not lost.is_empty():
        logger.info("%s: ignored %d reviews of what is not in %s", path, lost.height, inter.name)
    joined = table.join(reviews.drop(_LINE), on=[_USER, _ITEM, _OCCURRENCE], how="left", maintain_order="left")
    return _matched(inter, interactions, joined)[_REVIEW].fill_null("").str.strip_chars().to_list()


def rating_scale(path: Path, ratings: np.ndarray) -> np.ndarray:
    """The distinct ratings, ascending.

    Args:
        path: the file they stand in, for the error.
        ratings: float64 [n] of the training part; nan = none.

    Raises:
        ValueError: If there are more than 20, too many for one token each.
    """
    values = np.unique(ratings[~np.isnan(ratings)])
    if len(values) > MOST_RATINGS:
        raise ValueError(
            f"{path}: the training part has {len(values)} different ratings, from {values[0]:g} to {values[-1]:g}; "
            f"UniMP has a token for each, at most {MOST_RATINGS}: round them to a scale, or take preference and "
            "explanation out of tasks"
        )
    return values


def _read_interactions(path: Path, fields: Fields) -> pl.DataFrame:
    """Rows in the order of the file; ratings as strings, null where there are none."""
    table = _read_table(path, {fields.user: _USER, fields.item: _ITEM, fields.time: _TIME}, {fields.rating: _RATING})
    return table.with_columns(pl.col(_TIME).cast(pl.Float64)).with_columns(
        _count_over(_USER, _ITEM, _TIME).alias(_SAME_TIME)
    )


def _read_table(path: Path, needed: dict[str, str], optional: dict[str, str] | None = None) -> pl.DataFrame:
    """Columns of an atomic file as strings under new names, with the line each row stands in."""
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a table of tab-separated UTF-8 lines ({reason}); correct the file") from error
    table.columns = [column.partition(":")[0] for column in table.columns]
    absent = [column for column in needed if column not in table.columns]
    if absent:
        raise ValueError(f"{path}, line 1: no column {absent[0]} in {table.columns}; add it (columns part at tabs)")
    columns = [
        (pl.col(old) if old in table.columns else pl.lit(None, pl.String)).alias(new)
        for old, new in {**needed, **(optional or {})}.items()
    ]
    first = next(iter(needed))
    return table.with_row_index(_LINE, offset=2).filter(pl.col(first).is_not_null()).select(_LINE, *columns)


def _count_over(*columns: str) -> pl.Expr:
    """How many rows of the same values stand before."""
    return pl.int_range(pl.len()).over(*columns)


def _matched(path: Path, interactions: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The table's row for each of n interactions, in their order."""
    keys = [_USER, _ITEM, _TIME, _SAME_TIME]
    wanted = interactions.with_columns(_count_over(_USER, _ITEM, _TIME).alias(_SAME_TIME))
    rows = wanted.join(table, on=keys, how="left", maintain_order="left")
    if rows[_LINE].has_nulls():
        row = rows.filter(pl.col(_LINE).is_null()).row(0, named=True)
        raise ValueError(
            f"{path}: no row of user {row[_USER]!r}, item {row[_ITEM]!r} at time {row[_TIME]}, which RecBole read; "
            "write the file so that tabs alone part its values"
        )
    return rows
