"""A folder of RecBole atomic files, to which pictures are added and which may be filtered further.

User, item, time, rating and review are taken over, and all fields of the items with their types.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recbole_mgr.data.provenance import read_provenance
from recbole_mgr.preparation.batches import RESERVED, Batch
from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.delimited import delimited_batches, header
from recbole_mgr.preparation.joins import Join, judge
from recbole_mgr.preparation.numbers import NumberForm
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
        self.conversions = Conversions(NumberForm("."))
        self.joins: list[Join] = []
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
        batches = (self._numbers(_untyped(batch)) for batch in _batches(self._inter))
        if not self._review.is_file():
            yield from batches
            return
        # the n-th review of a user on an item belongs to the n-th interaction, so all are needed at once
        keys = ["user_id", "item_id", "nth"]
        inter = pl.concat([batch.frame for batch in batches]).with_columns(_nth())
        reviews = pl.concat([_untyped(batch).frame for batch in _batches(self._review)]).with_columns(_nth())
        join = Join(f"reviews of {self._review.name} that belong to an interaction", 0, reviews.height)
        join = join._replace(matched=reviews.join(inter, on=keys, how="semi").height)
        ours, theirs = (
            frame.select(pl.format("{} {}", "user_id", "item_id")).to_series() for frame in (reviews, inter)
        )
        remedy = "Give the reviews the ids of the interactions, or take the file away"
        self.joins = [join._replace(warning=judge(join, ours, theirs, remedy))]
        yield Batch(
            self._inter, inter.join(reviews.select(*keys, "review"), on=keys, how="left", maintain_order="left")
        )

    def _numbers(self, batch: Batch) -> Batch:
        """A batch with the columns that are taken over, times and ratings as numbers."""
        taken = ("user_id", "item_id", "timestamp", "rating", "line_number", "problem")
        path, frame = batch
        numbers = [
            self.conversions.numbers(path, frame[name], frame["line_number"])
            for name in ("timestamp", "rating")
            if name in frame.columns
        ]
        return Batch(path, frame.select(name for name in taken if name in frame.columns).with_columns(numbers))

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
    return delimited_batches(path, separator="\t", quotes="none")


def _untyped(batch: Batch) -> Batch:
    return batch._replace(frame=batch.frame.rename(lambda column: column.partition(":")[0]))


def _nth() -> pl.Expr:
    return pl.int_range(pl.len()).over("user_id", "item_id").alias("nth")
