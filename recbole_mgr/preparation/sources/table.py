"""Tables of your own: interactions, and perhaps items, as CSV, TSV or Parquet with columns of any name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from recbole_mgr.preparation.batches import FIELD_TYPES, RESERVED, Batch
from recbole_mgr.preparation.broken_rows import UNREADABLE_TIME
from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.delimited import delimited_batches, header
from recbole_mgr.preparation.joins import Join
from recbole_mgr.preparation.numbers import NumberForm
from recbole_mgr.preparation.opening import is_parquet
from recbole_mgr.preparation.raw_lines import parquet_batches, parquet_columns

_SEPARATORS = ",;\t|"


class Columns(NamedTuple):
    """Names of the columns that mean something.

    Attributes:
        user, item, time, rating, review: of the interactions; ``item`` also of the items. Ratings and reviews need not
            exist under their default names.
        title, price, image: of the items; ``image`` holds file names or URLs. None need exist under its default name.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    rating: str = "rating"
    review: str = "review"
    title: str = "title"
    price: str = "price"
    image: str = "image"


class Form(NamedTuple):
    """How the tables are written, as far as the files do not tell.

    Attributes:
        encoding: of text; None: UTF-8, or what a byte order mark says.
        quotes: as of :func:`delimited_batches`.
        decimal: what stands before decimals, ``.`` or ``,``; None: what the values of a column show.
        time_unit: of times that are numbers: ``s``, ``ms``, ``us`` or ``ns``.
        time_format: of dates, as strftime writes it; None: what the dates show.
    """

    encoding: str | None = None
    quotes: str = "checked"
    decimal: str | None = None
    time_unit: str = "s"
    time_format: str | None = None


class Table:
    """Interactions and items in files of one's own. Further columns of the items are kept under their names.

    Args:
        interactions: the file: Parquet, or text with a header line, which may be packed.
        items: the file of items, or None.
        columns: their names.
        form: how they are written.

    Raises:
        ValueError: if a file is missing, lacks a column or has one of a name that is taken.
    """

    field_types: dict[str, str] = {}
    picture_folder: Path | None = None

    def __init__(self, interactions: Path, items: Path | None, columns: Columns, form: Form = Form()) -> None:  # noqa: B008
        self._interactions, self._items, self._names, self._form = interactions, items, columns, form
        self.conversions = Conversions(NumberForm(form.decimal), time_unit=form.time_unit, time_form=form.time_format)
        self.joins: list[Join] = []
        self._optional = self._columns_of(interactions, needed=["user", "item", "time"], optional=["rating", "review"])
        files = interactions.name
        if items:
            self._optional |= self._columns_of(items, needed=["item"], optional=["title", "price", "image"])
            files += f", {items.name}"
        self.provenance = {"source": f"own tables ({files})", "licence": "not stated"}

    def interactions(self) -> Iterator[Batch]:
        names = self._names
        for batch in self._batches(self._interactions):
            path, frame = batch.path, batch.frame
            lines = frame["line_number"]
            times = self.conversions.times(path, _plain(frame[names.time]), lines)
            columns = {
                "user_id": frame[names.user],
                "item_id": frame[names.item],
                "timestamp": times,
                "line_number": lines,
                "problem": _with_unreadable_times(frame["problem"], frame[names.time], times),
            }
            if "rating" in self._optional:
                columns["rating"] = self.conversions.numbers(path, _plain(frame[names.rating]), lines)
            if "review" in self._optional:
                columns["review"] = _text(frame[names.review])
            yield batch._replace(frame=pl.DataFrame(columns))

    def items(self) -> Iterator[Batch]:
        if not self._items:
            return
        names = self._names
        for batch in self._batches(self._items):
            path, frame = batch.path, batch.frame
            columns = {name: frame[name] for name in ("line_number", "problem")} | {"item_id": frame[names.item]}
            for name in frame.columns:
                if name not in ("line_number", "problem", names.item, names.image):
                    field = self._field(name)
                    if FIELD_TYPES.get(field) == "float":
                        columns[field] = self.conversions.numbers(path, _plain(frame[name]), frame["line_number"])
                    else:
                        columns[field] = _text(frame[name])
            if "image" in self._optional:
                place = _text(frame[names.image]).str.strip_chars()
                is_url = place.str.contains("(?i)^https?://").fill_null(False)
                columns |= {"image_file": place.set(is_url, None), "image_url": place.set(~is_url, None)}
            yield batch._replace(frame=pl.DataFrame(columns))

    def _field(self, name: str) -> str:
        """The field of an item that a column becomes."""
        meanings = {self._names.title: "title", self._names.price: "price"}
        return meanings.get(name) or re.sub(r"\W+", "_", name)

    def _batches(self, path: Path) -> Iterator[Batch]:
        if is_parquet(path):
            for batch in parquet_batches(path):
                yield batch._replace(frame=batch.frame.with_columns(problem=pl.lit(None, dtype=pl.String)))
            return
        form = self._form
        yield from delimited_batches(path, separator=self._separator(path), encoding=form.encoding, quotes=form.quotes)

    def _separator(self, path: Path) -> str:
        """The separator that a file's first line shows; where several could be, the one that its name promises."""
        promised = "\t" if ".tsv" in path.suffixes else ","
        names = {separator: len(header(path, separator, self._form.encoding)) for separator in _SEPARATORS}
        return max(names, key=lambda separator: (names[separator], separator == promised))

    def _columns_of(self, path: Path, *, needed: list[str], optional: list[str]) -> set[str]:
        """Which of the ``optional`` columns a file has; it must have the ``needed`` and those that were renamed."""
        if not path.is_file():
            raise ValueError(f"{path} does not exist, or is no regular file; give the path of the table")
        names = [getattr(self._names, meaning) for meaning in needed]
        for name in names:
            if names.count(name) > 1:
                meanings = " and ".join(f"--{meaning}" for meaning in needed if getattr(self._names, meaning) == name)
                raise ValueError(f"{meanings} name one column, {name!r}; each needs its own")
        if is_parquet(path):
            columns = parquet_columns(path)
        else:
            columns = header(path, self._separator(path), self._form.encoding)
        named = {meaning: getattr(self._names, meaning) for meaning in (*needed, *optional)}
        there = {meaning for meaning, name in named.items() if name in columns}
        lacking = {
            meaning: name
            for meaning, name in named.items()
            if meaning not in there and (meaning in needed or name != Columns._field_defaults[meaning])
        }
        if lacking:
            wanted, ones = ("column", "the right one") if len(lacking) == 1 else ("columns", "the right ones")
            raise ValueError(
                f"{path}: has no {wanted} {', '.join(map(repr, lacking.values()))}; name {ones} with "
                f"{', '.join(f'--{meaning}' for meaning in lacking)}: {', '.join(map(repr, columns))}"
            )
        for name in set(columns) & set(RESERVED) - {self._names.item, self._names.image}:
            raise ValueError(f"{path}: the column name {name!r} has a meaning of its own here; rename the column")
        if "user" in needed:
            self._tell_of_others(path, columns, {getattr(self._names, meaning) for meaning in there})
        else:
            self._refuse_shared_fields(path, columns)
        return there & set(optional)

    def _tell_of_others(self, path: Path, columns: list[str], read: set[str]) -> None:
        if others := [name for name in columns if name and name not in read]:
            self.conversions.remark(
                f"{path}: columns that are not kept: {', '.join(others)}; of interactions users, items, times, ratings "
                "and reviews are read (--rating and --review name them)"
            )

    def _refuse_shared_fields(self, path: Path, columns: list[str]) -> None:
        of_field = {"image_url": self._names.image} if self._names.image in columns else {}
        for name in columns:
            other = of_field.setdefault(self._field(name), name)
            if other != name:
                raise ValueError(
                    f"{path}: the columns {other!r} and {name!r} would both be the field {self._field(name)!r}; rename "
                    "one of them"
                )


def _with_unreadable_times(problems: pl.Series, given: pl.Series, times: pl.Series) -> pl.Series:
    """The column ``problem``, also of rows whose time is given and could not be read."""
    if times.null_count() == given.null_count():
        return problems
    return problems.set(times.is_null() & (_text(given).str.strip_chars().fill_null("") != ""), UNREADABLE_TIME)


def _plain(values: pl.Series) -> pl.Series:
    """Values as numbers, dates and times, or else texts."""
    kind = values.dtype
    as_they_are = kind.is_numeric() or kind in (pl.Boolean, pl.Date) or isinstance(kind, pl.Datetime)
    return values if as_they_are else _text(values)


def _text(values: pl.Series) -> pl.Series:
    """Values as texts: lists, as Parquet has them, joined; records as JSON."""
    if isinstance(values.dtype, (pl.List, pl.Array)) and not values.dtype.inner.is_nested():
        return values.cast(pl.List(pl.String), strict=False).list.join(", ", ignore_nulls=True)
    if values.dtype == pl.Struct:
        return values.struct.json_encode()
    if values.dtype.is_nested() or values.dtype == pl.Duration:
        values = pl.Series(values.name, [None if value is None else str(value) for value in values.to_list()])
    return values.cast(pl.String, strict=False)
