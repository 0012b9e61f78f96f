"""A folder of RecBole atomic files, to which pictures are added and which may be filtered further.

User, item, time, rating and review are taken over, and all fields of the items with their types. The files are read as
every other command reads them: a row that a run would refuse is a broken row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from recbole_mgr.data.interactions import ITEM, RATING, TIME, USER, judged_interactions
from recbole_mgr.data.item_file import ITEM_FIELD, PICTURE_FIELD, judged_items
from recbole_mgr.data.provenance import read_provenance
from recbole_mgr.data.reviews import REVIEW, judged_reviews
from recbole_mgr.data.table import DEFAULT_FORMAT, LINE, PROBLEM, AtomicFormat, Fault, open_table, refuse_faults
from recbole_mgr.preparation.batches import BATCH_ROWS, RESERVED, Batch
from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.joins import Join, judge
from recbole_mgr.preparation.sources.raw_files import existing, subfolder

_NAMES = {LINE: "line_number", PROBLEM: "problem"}
_INTERACTION = _NAMES | {USER: "user_id", ITEM: "item_id", TIME: "timestamp", RATING: "rating", REVIEW: "review"}
_ITEM = _NAMES | {ITEM_FIELD: "item_id", PICTURE_FIELD: "image_file"}


class AtomicFolder:
    """A folder ``<name>/`` with ``<name>.inter`` and perhaps ``<name>.item``, ``<name>.review`` and ``images/``.

    Args:
        folder: the folder.
        format: how its files are written.

    Raises:
        ValueError: if ``<name>.inter`` or a column of it is missing, or a column has a name that is taken.
    """

    def __init__(self, folder: Path, format: AtomicFormat = DEFAULT_FORMAT) -> None:
        folder = folder.resolve()
        self._format = format
        self._inter = existing(folder, f"{folder.name}.inter")
        self._item, self._review = (folder / f"{folder.name}.{suffix}" for suffix in ("item", "review"))
        self.conversions = Conversions()
        self.joins: list[Join] = []
        needed = {format.user: "token", format.item: "token", format.time: "float"}
        types = open_table(self._inter, format, needed=needed).header
        self._rated = types.get(format.rating) == "float"
        left = [f"{name}:{kind}" for name, kind in types.items() if name not in needed]
        left = [column for column in left if column != f"{format.rating}:float"]
        if left:
            self.conversions.remark(f"{self._inter}: not taken over are the columns {', '.join(left)}")
        self.field_types: dict[str, str] = {}
        if self._item.is_file():
            types = open_table(self._item, format, needed={format.item: "token"}).header
            self.field_types = {name: kind for name, kind in types.items() if name not in (format.item, PICTURE_FIELD)}
            for name in self.field_types.keys() & {ITEM_FIELD, *RESERVED}:
                raise ValueError(f"{self._item}: the column name {name!r} has a meaning of its own here; rename it")
        self.picture_folder = subfolder(folder, "images")
        stated = _stated(folder)
        self.provenance = {"source": f"atomic files {folder.name}", "licence": "not stated", **stated}

    def interactions(self) -> Iterator[Batch]:
        rows, faults = judged_interactions(self._inter, self._format, ratings=self._rated)
        self._tell(self._inter, faults)
        if self._review.is_file():
            rows = self._with_reviews(rows)
        yield from _batches(self._inter, rows, _INTERACTION, self._format.encoding)

    def items(self) -> Iterator[Batch]:
        if not self._item.is_file():
            return
        table = open_table(self._item, self._format)
        rows, faults = judged_items(table, [pl.col(name) for name in table.header if name != self._format.item])
        self._tell(self._item, faults)
        yield from _batches(self._item, rows, _ITEM, self._format.encoding)

    def _with_reviews(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The interactions with the reviews: the n-th of a user on an item belongs to their n-th interaction."""
        reviews, faults = judged_reviews(self._review, self._format)
        self._tell(self._review, faults, skipped=True)
        keys = [USER, ITEM, "nth"]
        rows = rows.with_columns(pl.col(USER, ITEM).cast(pl.String)).with_columns(_nth())
        reviews = reviews.filter(pl.col(PROBLEM).is_null()).with_columns(_nth())
        lone, other = reviews.join(rows, on=keys, how="anti"), rows.join(reviews, on=keys, how="anti")
        what = f"reviews of {self._review.name} that belong to an interaction"
        join = Join(what, reviews.height - lone.height, reviews.height)
        ours, theirs = (frame.select(pl.format("{} {}", USER, ITEM)).to_series() for frame in (lone, other))
        remedy = "Give the reviews the ids of the interactions, or take the file away"
        self.joins = [join._replace(warning=judge(join, ours, theirs, remedy))]
        reviews = reviews.select(*keys, REVIEW)
        return rows.join(reviews, on=keys, how="left", maintain_order="left").drop("nth")

    def _tell(self, path: Path, faults: Sequence[Fault], *, skipped: bool = False) -> None:
        """Refuse what is wrong with a file as a whole, and remark what is odd and does no harm; with ``skipped`` also
        the rows that are left out, where nobody else counts them."""
        refuse_faults(path, [fault for fault in faults if not fault.lines])
        for fault in faults:
            if skipped or not fault.fatal:
                self.conversions.remark(f"{path}, line {fault.line}: {fault.what} ({fault.lines:,} such lines)")


def _stated(folder: Path) -> dict:
    """What the folder's provenance file says of the data's origin."""
    details = read_provenance(folder, folder.name).details
    return {key: details[key] for key in ("source", "licence", "synthetic") if key in details}


def _batches(path: Path, rows: pl.DataFrame, names: Mapping[str, str], encoding: str | None) -> Iterator[Batch]:
    """Rows that were read and judged, as batches under other ``names``; what is empty is null."""
    for part in rows.iter_slices(BATCH_ROWS):
        part = part.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String), pl.col(LINE).cast(pl.Int64))
        part = part.with_columns(pl.col(pl.String).replace("", None))
        yield Batch(path, part.rename(names, strict=False), encoding)


def _nth() -> pl.Expr:
    return pl.int_range(pl.len()).over(USER, ITEM).alias("nth")
