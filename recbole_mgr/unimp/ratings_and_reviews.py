"""What users said of what they took: ratings of ``<name>.inter`` and texts of ``<name>.review``.

RecBole reads neither: its batches would carry the ratings, and the words as [rows, items, words]. So the files are read
here and matched with RecBole's interactions by user, item and time, and reviews by user, item and, where a user took an
item several times, by their order.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl

from recbole_mgr.data.interactions import ITEM, RATING, TIME, USER, judged_interactions
from recbole_mgr.data.reviews import REVIEW, judged_reviews
from recbole_mgr.data.table import LINE, PROBLEM, AtomicFormat, refuse_faults

logger = logging.getLogger(__name__)

MOST_RATINGS = 20
_OCCURRENCE, _SAME_TIME = "occurrence", "same time"


def read_ratings(folder: Path, name: str, interactions: pl.DataFrame, format: AtomicFormat) -> np.ndarray:
    """The rating of each interaction.

    Args:
        folder, name: of the data set.
        interactions: n rows with the columns "user", "item" (tokens) and "time" (float64), in time order.
        format: how the file is written.

    Returns:
        float64 [n], nan where there is none; all nan where the file has no such column.

    Raises:
        ValueError: Naming file and line: a rating is not a number.
    """
    path = folder / f"{name}.inter"
    return _matched(path, interactions, _read_interactions(path, format))[RATING].fill_null(np.nan).to_numpy()


def read_reviews(folder: Path, name: str, interactions: pl.DataFrame, format: AtomicFormat) -> list[str] | None:
    """The review of each interaction.

    Args:
        folder, name, interactions, format: as in `read_ratings`.

    Returns:
        n texts, "" where there is none; None where there is no file ``<name>.review``.

    Raises:
        ValueError: Naming file and line: a malformed table, or more reviews of an item than a user took it.
    """
    path = folder / f"{name}.review"
    if not path.is_file():
        return None
    reviews, faults = judged_reviews(path, format)
    refuse_faults(path, faults)
    reviews = reviews.with_columns(_count_over(USER, ITEM).alias(_OCCURRENCE))
    inter = folder / f"{name}.inter"
    table = _read_interactions(inter, format).with_columns(_count_over(USER, ITEM).alias(_OCCURRENCE))
    lost = reviews.join(table, on=[USER, ITEM, _OCCURRENCE], how="anti")
    twice = lost.join(table, on=[USER, ITEM], how="semi").sort(LINE)
    if not twice.is_empty():
        raise ValueError(
            f"{path}, line {twice[LINE][0]}: one more review by user {twice[USER][0]!r} of item {twice[ITEM][0]!r} "
            f"than {inter.name} has rows of them; keep one for each row"
        )
    if not lost.is_empty():
        logger.info("%s: ignored %d reviews of what is not in %s", path, lost.height, inter.name)
    joined = table.join(reviews.drop(LINE, PROBLEM), on=[USER, ITEM, _OCCURRENCE], how="left", maintain_order="left")
    return _matched(inter, interactions, joined)[REVIEW].fill_null("").to_list()


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


def _read_interactions(path: Path, format: AtomicFormat) -> pl.DataFrame:
    """Rows in the order of the file."""
    rows, faults = judged_interactions(path, format, ratings=True)
    refuse_faults(path, faults)
    return rows.with_columns(pl.col(USER, ITEM).cast(pl.String)).with_columns(
        _count_over(USER, ITEM, TIME).alias(_SAME_TIME)
    )


def _count_over(*columns: str) -> pl.Expr:
    """How many rows of the same values stand before."""
    return pl.int_range(pl.len()).over(*columns)


def _matched(path: Path, interactions: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The table's row for each of n interactions, in their order."""
    keys = [USER, ITEM, TIME, _SAME_TIME]
    wanted = interactions.with_columns(_count_over(USER, ITEM, TIME).alias(_SAME_TIME))
    rows = wanted.join(table, on=keys, how="left", maintain_order="left")
    if rows[LINE].has_nulls():
        row = rows.filter(pl.col(LINE).is_null()).row(0, named=True)
        raise ValueError(
            f"{path}: no row of user {row[USER]!r}, item {row[ITEM]!r} at time {row[TIME]}, which RecBole read; "
            "write the file so that tabs alone part its values"
        )
    return rows
