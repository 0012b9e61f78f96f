"""What is known of the items, kept on disk until it is known which of them stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.preparation.batches import BATCH_ROWS, RESERVED, Batch
from recbole_mgr.preparation.broken_rows import BrokenRows
from recbole_mgr.preparation.cleaning import clean_ids
from recbole_mgr.preparation.interactions import IdNumbers
from recbole_mgr.preparation.pictures import PictureFolder

_KEYS = ("item_number", "item_id", "image_file", "picture_path", "picture_problem", "image_url")

_OTHERS = 20_000  # ids of items without interactions that are kept, to compare them with those that have no row


class ItemRows(NamedTuple):
    """One row for every item of the interactions, in Parquet files.

    Attributes:
        parts: the files; columns ``item_number`` (UInt32), ``item_id``, ``image_file`` (as the source names it, or
            null), ``picture_path`` (of a local picture, or null), ``picture_problem``, ``image_url`` (or null), and the
            source's fields.
        fields: names of the source's fields.
        described: bool [N], items that the source has a row of.
        repeated: rows of items that had one already; the first row stays.
        of_others: rows of items without interactions.
        other_ids: ids of some of those.
        with_file: bool [N], items with a local picture.
        with_reference: bool [N], items with a local picture or a URL.
    """

    parts: list[Path]
    fields: list[str]
    described: np.ndarray
    repeated: int
    of_others: int
    other_ids: list[str]
    with_file: np.ndarray
    with_reference: np.ndarray

    def pictures(self, keep: np.ndarray) -> pl.DataFrame:
        """All columns but the source's fields, of the items that ``keep`` (bool [N]) marks."""
        rows = pl.concat([pl.read_parquet(part, columns=list(_KEYS)) for part in self.parts])
        return rows.filter(pl.Series(keep[rows["item_number"].to_numpy()]))


def read_items(
    batches: Iterator[Batch],
    *,
    numbers: IdNumbers,
    ids: pl.Series,
    broken: BrokenRows,
    pictures: PictureFolder | None,
    folder: Path,
) -> ItemRows:
    """Read the item rows of a source; those of items without interactions are left out.

    Args:
        batches: the source's batches.
        numbers: numbered the items of the interactions.
        ids: of these N items, by number.
        broken: counts and skips the rows without item id.
        pictures: local pictures.
        folder: gets the Parquet files.
    """
    count = len(ids)
    described = np.zeros(count, dtype=bool)
    with_file, with_reference = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    parts: list[Path] = []
    fields: list[str] = []
    repeated = of_others = 0
    other_ids: list[str] = []

    def keep(frame: pl.DataFrame) -> None:
        frame = _with_pictures(frame, pictures)
        known = frame.filter(pl.any_horizontal(pl.col("picture_path", "image_url").is_not_null()))["item_number"]
        with_reference[known.to_numpy()] = True
        with_file[frame.filter(pl.col("picture_path").is_not_null())["item_number"].to_numpy()] = True
        parts.append(folder / f"{len(parts):06}.parquet")
        frame.write_parquet(parts[-1])

    for batch in batches:
        batch = batch._replace(frame=batch.frame.with_columns(clean_ids(batch.frame["item_id"])))
        frame = broken.skip(batch, ["item_id"])
        fields = fields or [name for name in frame.columns if name not in RESERVED]
        item_numbers = pl.Series(numbers.numbers(frame["item_id"]), dtype=pl.UInt32)
        frame = frame.drop("line_number").with_columns(item_number=item_numbers)
        others = frame.filter(pl.col("item_number") >= count)  # numbers given just now: no interaction has them
        of_others += others.height
        other_ids += others["item_id"].head(max(0, _OTHERS - len(other_ids))).to_list()
        frame = frame.filter(pl.col("item_number") < count)
        unseen = pl.Series(~described[frame["item_number"].to_numpy()], dtype=pl.Boolean)
        new = frame["item_number"].is_first_distinct() & unseen
        repeated += frame.height - int(new.sum())
        frame = frame.filter(new)
        described[frame["item_number"].to_numpy()] = True
        keep(frame)
    undescribed = np.flatnonzero(~described)
    for start in range(0, len(undescribed), BATCH_ROWS):
        rest = pl.Series("item_number", undescribed[start : start + BATCH_ROWS], dtype=pl.UInt32)
        keep(pl.DataFrame({"item_number": rest, "item_id": ids[rest]}))
    return ItemRows(parts, fields, described, repeated, of_others, other_ids, with_file, with_reference)


def _with_pictures(frame: pl.DataFrame, pictures: PictureFolder | None) -> pl.DataFrame:
    """The frame with all columns that tell of pictures."""
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in ("image_file", "image_url")]
    frame = frame.with_columns(column for column in absent if column.meta.output_name() not in frame.columns)
    if not pictures:
        return frame.with_columns(
            picture_path=pl.lit(None, dtype=pl.String), picture_problem=pl.lit("no picture of this item is known")
        )
    found = [pictures.find(item, file) for item, file in zip(frame["item_id"], frame["image_file"], strict=True)]
    return frame.with_columns(
        picture_path=pl.Series([path for path, _ in found], dtype=pl.String),
        picture_problem=pl.Series([problem for _, problem in found], dtype=pl.String),
    )
