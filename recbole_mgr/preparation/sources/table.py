"""Tables of your own: interactions, and perhaps items, as CSV, TSV or Parquet with columns of any name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from recbole_mgr.preparation.batches import FIELD_TYPES, RESERVED, Batch
from recbole_mgr.preparation.cleaning import in_seconds
from recbole_mgr.preparation.delimited import delimited_batches, header
from recbole_mgr.preparation.raw_lines import parquet_batches

_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # parts of a second


class Columns(NamedTuple):
    """Names of the columns that mean something.

    Attributes:
        user, item, time, rating, review: of the interactions; ``item`` also of the items. Ratings and reviews need not
            exist under their default names.
        time_unit: of times that are numbers: ``s``, ``ms``, ``us`` or ``ns``.
        title, image: of the items; ``image`` holds file names or URLs. Neither need exist under its default name.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    rating: str = "rating"
    review: str = "review"
    time_unit: str = "s"
    title: str = "title"
    image: str = "image"


class Table:
    """Interactions and items in files of one's own. Further columns of the items are kept under their names.

    Args:
        interactions: the file: ``.parquet``, or text with a header line, which may be gzipped.
        items: the file of items, or None.
        columns: their names.

    Raises:
        ValueError: if a file is missing, lacks a column or has one of a name that is taken.
    """

    field_types: dict[str, str] = {}
    picture_folder: Path | None = None

    def __init__(self, interactions: Path, items: Path | None, columns: Columns) -> None:
        self._interactions, self._items, self._names = interactions, items, columns
        self._optional = _optional(
            interactions, columns, needed=["user", "item", "time"], optional=["rating", "review"]
        )
        files = interactions.name
        if items:
            self._optional |= _optional(items, columns, needed=["item"], optional=["title", "image"])
            files += f", {items.name}"
        self.provenance = {"source": f"own tables ({files})", "licence": "not stated"}

    def interactions(self) -> Iterator[Batch]:
        names = self._names
        for batch in _batches(self._interactions):
            columns = {
                "user_id": batch.frame[names.user],
                "item_id": batch.frame[names.item],
                "timestamp": _seconds(batch.frame[names.time], names.time_unit),
                "line_number": batch.frame["line_number"],
            }
            if "rating" in self._optional:
                columns["rating"] = batch.frame[names.rating].cast(pl.Float64, strict=False)
            if "review" in self._optional:
                columns["review"] = batch.frame[names.review].cast(pl.String)
            yield batch._replace(frame=pl.DataFrame(columns))

    def items(self) -> Iterator[Batch]:
        if not self._items:
            return
        names = self._names
        for batch in _batches(self._items):
            columns = {"line_number": batch.frame["line_number"], "item_id": batch.frame[names.item]}
            for name in batch.frame.columns:
                if name not in ("line_number", names.item, names.image):
                    field = "title" if name == names.title else re.sub(r"\W+", "_", name)
                    kind = pl.Float64 if FIELD_TYPES.get(field) == "float" else pl.String
                    columns[field] = _text(batch.frame[name]).cast(kind, strict=False)
            if "image" in self._optional:
                place = batch.frame[names.image].cast(pl.String).str.strip_chars()
                is_url = place.str.contains("^https?://").fill_null(False)
                columns |= {"image_file": place.set(is_url, None), "image_url": place.set(~is_url, None)}
            yield batch._replace(frame=pl.DataFrame(columns))


def _text(values: pl.Series) -> pl.Series:
    """A list, as Parquet has them, as one text."""
    return values.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True) if values.dtype == pl.List else values


def _seconds(times: pl.Series, unit: str) -> pl.Series:
    """Times as seconds since 1970: numbers in ``unit``, or dates and times, which are UTC where they name no zone."""
    if times.dtype == pl.String:
        numbers = times.str.strip_chars().cast(pl.Float64, strict=False)
        dates = numbers.is_null() & times.is_not_null()
        numbers = in_seconds(numbers, _UNITS[unit])
        return numbers.zip_with(~dates, _parsed(times)) if dates.any() else numbers
    if times.dtype == pl.Date or isinstance(times.dtype, pl.Datetime):
        return in_seconds(times.cast(pl.Datetime("us")).dt.epoch("us"), _UNITS["us"])
    return in_seconds(times, _UNITS[unit])


def _parsed(times: pl.Series) -> pl.Series:
    """ISO dates and times as seconds; null where a text is none."""
    texts = times.str.strip_chars().str.replace("T", " ", literal=True).str.replace(r"(Z| ?UTC)$", "+00:00")
    zoned = texts.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%:z", strict=False, time_unit="us", time_zone="UTC")
    plain = [
        texts.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone("UTC")
        for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
    ]
    days = texts.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = pl.DataFrame([series.alias(str(i)) for i, series in enumerate((zoned, *plain, days))])
    return in_seconds(frame.select(pl.coalesce(pl.all())).to_series().dt.epoch("us"), _UNITS["us"])


def _batches(path: Path) -> Iterator[Batch]:
    if path.suffix == ".parquet":
        return parquet_batches(path)
    return delimited_batches(path, separator=_separator(path))


def _separator(path: Path) -> str:
    """The separator that a file's name promises, or that its first line shows."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".tsv"):
        return "\t"
    names = {separator: len(header(path, separator)) for separator in (",", ";", "\t", "|")}
    return max(names, key=names.__getitem__)


def _optional(path: Path, names: Columns, *, needed: list[str], optional: list[str]) -> set[str]:
    """Which of the ``optional`` columns a file has; it must have the ``needed`` ones, and those that were renamed."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give the path of the file")
    if path.suffix == ".parquet":
        columns = pl.scan_parquet(path).collect_schema().names()
    else:
        columns = header(path, _separator(path))
    there = set()
    for meaning in (*needed, *optional):
        name = getattr(names, meaning)
        if name in columns:
            there.add(meaning)
        elif meaning in needed or name != Columns._field_defaults[meaning]:
            raise ValueError(
                f"{path}: has no column {name!r}; name the right one with --{meaning}: {', '.join(map(repr, columns))}"
            )
    for name in set(columns) & set(RESERVED) - {names.item, names.image}:
        raise ValueError(f"{path}: the column name {name!r} has a meaning of its own here; rename the column")
    return there & set(optional)
