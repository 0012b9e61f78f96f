"""A folder of RecBole atomic files, to which pictures are added and which may be filtered further.

User, item, time, rating and review are taken over, and all fields of the items with their types.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recbole_mgr.data.provenance import read_provenance
from recbole_mgr.preparation.batches import RESERVED, Batch
from recbole_mgr.preparation.delimited import delimited_batches, header
from recbole_mgr.preparation.sources.raw_files import existing, subfolder


class AtomicFolder:
    """A folder ``<name>/`` with ``<name>.inter`` and perhaps ``<name>.item``, ``<name>.review`` and ``images/``.

    Args:
        folder: the folder.

    Raises:
        ValueError: if ``<name>.inter`` or a column of it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder = folder.resolve()
        self._inter = existing(folder, f"{folder.name}.inter")
        self._item, self._review = (folder / f"{folder.name}.{suffix}" for suffix in ("item", "review"))
        columns = header(self._inter, "\t")
        for column in ("user_id:token", "item_id:token", "timestamp:float"):
            if column not in columns:
                raise ValueError(f"{self._inter}, line 1: needs a column {column}; its header is {', '.join(columns)}")
        self.field_types: dict[str, str] = {}
        if self._item.is_file():
            typed = [column.partition(":") for column in header(self._item, "\t")]
            self.field_types = {name: kind for name, _, kind in typed if name not in RESERVED}
        self.picture_folder = subfolder(folder, "images")
        stated = _stated(folder)
        self.provenance = {"source": f"atomic files {folder.name}", "licence": "not stated", **stated}

    def interactions(self) -> Iterator[Batch]:
        batches = (_untyped(batch) for batch in _batches(self._inter))
        batches = (batch._replace(frame=_numbers(batch.frame)) for batch in batches)
        if not self._review.is_file():
            yield from batches
            return
        # the n-th review of a user on an item belongs to the n-th interaction, so all are needed at once
        keys = ["user_id", "item_id", "nth"]
        inter = pl.concat([batch.frame for batch in batches]).with_columns(_nth())
        reviews = pl.concat([_untyped(batch).frame for batch in _batches(self._review)]).with_columns(_nth())
        yield Batch(
            self._inter, inter.join(reviews.select(*keys, "review"), on=keys, how="left", maintain_order="left")
        )

    def items(self) -> Iterator[Batch]:
        if not self._item.is_file():
            return
        for batch in _batches(self._item):
            batch = _untyped(batch)
            yield batch._replace(frame=batch.frame.rename({"image": "image_file"}, strict=False))


def _stated(folder: Path) -> dict:
    """What the folder's provenance file says of the data's origin."""
    details = read_provenance(folder, folder.name).details
    return {key: details[key] for key in ("source", "licence", "synthetic") if key in details}


def _batches(path: Path) -> Iterator[Batch]:
    return delimited_batches(path, separator="\t", quoted=False)


def _untyped(batch: Batch) -> Batch:
    return batch._replace(frame=batch.frame.rename(lambda column: column.partition(":")[0]))


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    wanted = [name for name in ("user_id", "item_id", "timestamp", "rating", "line_number") if name in frame.columns]
    return frame.select(wanted).with_columns(pl.col("^(timestamp|rating)$").cast(pl.Float64, strict=False))


def _nth() -> pl.Expr:
    return pl.int_range(pl.len()).over("user_id", "item_id").alias("nth")
