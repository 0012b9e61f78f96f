"""All interactions as integer columns, so that 100 million of them fit into a few gigabytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.broken_rows import BrokenRows
from recbole_mgr.preparation.cleaning import clean_ids, clean_text


class IdNumbers:
    """Numbers ids 0, 1, ... in the order in which they are met."""

    def __init__(self) -> None:
        self._categories = pl.Categories.random("", pl.UInt32)
        # polars forgets the categories when the last column that has them goes
        self._holder = pl.Series(dtype=pl.Categorical(self._categories))

    def numbers(self, ids: pl.Series) -> np.ndarray:
        """uint32 [n], the number of each of n ids (none null)."""
        return ids.cast(self._holder.dtype).to_physical().to_numpy()

    def ids(self) -> pl.Series:
        """Ids met so far [count], in the order of their numbers."""
        return self._categories.to_series()


class Interactions(NamedTuple):
    """Interactions sorted by user, then time, then order of the source; n rows.

    Attributes:
        users: uint32 [n], position in ``user_ids``.
        items: uint32 [n], position in ``item_ids``.
        times: float64 [n], seconds.
        ratings: float32 [n], or None where the source has none.
        source_rows: int64 [n], the row's place among the rows that were read, which reviews are stored under.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray
    ratings: np.ndarray | None
    source_rows: np.ndarray

    def where(self, keep: np.ndarray | slice) -> Interactions:
        """The rows that ``keep`` (bool [n], or positions) marks."""
        return Interactions(*(None if column is None else column[keep] for column in self))


def read_interactions(
    batches: Iterator[Batch],
    *,
    user_numbers: IdNumbers,
    item_numbers: IdNumbers,
    broken: BrokenRows,
    review_folder: Path | None,
    source: str = "the source",
) -> Interactions:
    """Read all interactions of a source.

    Args:
        batches: the source's batches.
        user_numbers, item_numbers: number the ids.
        broken: counts and skips the rows without user, item or finite time.
        review_folder: gets the review texts as Parquet files, which memory could not hold; None leaves them out.
        source: what is read, in words.

    Raises:
        ValueError: if the source holds no interactions.
    """
    columns: dict[str, list[np.ndarray]] = {"user_id": [], "item_id": [], "timestamp": [], "rating": []}
    count = 0
    for part, batch in enumerate(batches):
        frame = batch.frame.with_columns(
            clean_ids(batch.frame["user_id"]),
            clean_ids(batch.frame["item_id"]),
            pl.when(pl.col("timestamp").is_finite()).then("timestamp"),
        )
        frame = broken.skip(batch._replace(frame=frame), ["user_id", "item_id", "timestamp"])
        columns["user_id"].append(user_numbers.numbers(frame["user_id"]))
        columns["item_id"].append(item_numbers.numbers(frame["item_id"]))
        columns["timestamp"].append(frame["timestamp"].to_numpy())
        if "rating" in frame.columns:
            columns["rating"].append(frame["rating"].cast(pl.Float32).fill_null(np.nan).to_numpy())
        if review_folder and "review" in frame.columns:
            reviews = frame.select("review").with_row_index("row", offset=count)
            reviews = reviews.with_columns(clean_text(reviews["review"])).drop_nulls()
            reviews.write_parquet(review_folder / f"{part:06}.parquet")
        count += frame.height
    if not count:
        broken.check()
        raise ValueError(f"{source}: holds no interactions; check that its files are the ones you mean")
    return _sorted({name: _joined(parts) for name, parts in columns.items() if parts})


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    whole = np.concatenate(parts)
    parts.clear()  # so that a column never stands in memory twice while the next one is joined
    return whole


def _sorted(columns: dict[str, np.ndarray]) -> Interactions:
    # a stable sort: rows of a user with one time keep the order of the source
    order = np.lexsort((columns["timestamp"], columns["user_id"]))  # [n]
    for name in columns:
        columns[name] = columns[name][order]
    return Interactions(columns["user_id"], columns["item_id"], columns["timestamp"], columns.get("rating"), order)
