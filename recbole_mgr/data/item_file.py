"""The one reader of ``<name>.item``: its rows, the texts and pictures that are encoded, the titles that are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from recbole_mgr.data.binary_twin import read_twin, write_twin
from recbole_mgr.data.pictures import inside
from recbole_mgr.data.provenance import no_such_data
from recbole_mgr.data.table import (
    DEFAULT_FORMAT,
    LINE,
    PROBLEM,
    AtomicFormat,
    Fault,
    Table,
    judged,
    open_table,
    refuse_faults,
)
from recbole_mgr.files import replacing

PICTURE_FIELD = "image"
TITLE_FIELD = "title"
ITEM_FIELD = DEFAULT_FORMAT.item


class Absent(NamedTuple):
    """An item without a vector: what was named (a file, or nothing) and what is wrong."""

    item_token: str
    named: str
    problem: str


class Contents(NamedTuple):
    """What an encoder reads.

    Attributes:
        item_tokens: n items that have a text or name a picture.
        contents: their n texts, or files of pictures.
        absent: the items that have or name none.
        fields: the fields that make the text, or the picture's.
    """

    item_tokens: list[str]
    contents: list[str] | list[Path]
    absent: list[Absent]
    fields: list[str]


class ItemText(NamedTuple):
    """Title and picture of one item, "" where unknown."""

    title: str
    image: str


@dataclass(frozen=True)
class ItemTexts(Sequence[ItemText]):
    """The texts of N items in their order, of which single ones are asked for.

    Args:
        tokens, titles, images: N words each.
    """

    tokens: list[str]
    titles: list[str]
    images: list[str]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, place: int) -> ItemText:
        return ItemText(self.titles[place], self.images[place])

    def by_token(self) -> dict[str, ItemText]:
        """Item token -> text."""
        return dict(zip(self.tokens, map(ItemText, self.titles, self.images), strict=True))


def judged_items(table: Table, columns: Sequence[pl.Expr]) -> tuple[pl.DataFrame, list[Fault]]:
    """Read columns of an opened ``.item`` file as they stand, and say what is wrong with its rows.

    Returns:
        LINE, ITEM_FIELD, the columns asked for, and PROBLEM (as of `judged`); and the faults.
    """
    name = table.format.item
    rows, faults = judged(table, keys=[name], columns=[pl.col(name).alias(ITEM_FIELD), *columns])
    items = rows.filter(pl.col(PROBLEM).is_null())
    again = items.filter(~items[ITEM_FIELD].is_first_distinct())
    if not again.is_empty():
        what = f"the item {again[ITEM_FIELD][0]!r} stands there a second time"
        faults.append(Fault(again[LINE][0], what, "keep one line", again.height))
    if rows.is_empty() and not faults:
        faults.append(Fault(0, "holds no items, only a header", "add a row for each item", 0))
    return rows, faults


def read_items(folder: Path, name: str, format: AtomicFormat = DEFAULT_FORMAT) -> tuple[pl.DataFrame, dict[str, str]]:
    """Read ``<name>.item``.

    Args:
        folder, name: of the data set.
        format: how the file is written.

    Returns:
        Its columns as strings, named without their types and with "" for what is empty, the item's as ITEM_FIELD; and
        the type of each.

    Raises:
        ValueError: Naming file, line and remedy: no such file, another encoding, a malformed header, a row of too many
            values, no item, an item id that is empty, reads as missing, has blanks around it or stands there twice, a
            word in a column of numbers.
    """
    path = folder / f"{name}.item"
    if not path.is_file():
        if not path.with_suffix(".inter").is_file():  # no data set at all
            raise ValueError(no_such_data(path))
        raise ValueError(f"{path} does not exist; it must hold {format.item}:token and what is known of each item")
    return _read(path, format)


def read_texts(
    folder: Path, name: str, fields: Sequence[str] | None, format: AtomicFormat = DEFAULT_FORMAT
) -> Contents:
    """Texts of the items: their fields one after another, separated by blanks.

    Args:
        folder, name: of the data set.
        fields: columns of ``<name>.item`` in the order they are read; None = those of type token_seq, in the file's.
        format: how the file is written.

    Raises:
        ValueError: As `read_items`; also for a field that does not exist, and where no field or no text is left.
    """
    table, types = read_items(folder, name, format)
    path = folder / f"{name}.item"
    fields = list(fields or (field for field, type_ in types.items() if type_ == "token_seq"))
    unknown = [field for field in fields if field not in types]
    if unknown or not fields:
        problem = f"has no field {unknown[0]!r}" if unknown else "has no field of type token_seq"
        raise ValueError(f"{path} {problem}; choose --fields from {', '.join(types)}")
    parts = [pl.col(field).str.strip_chars().replace("", None) for field in fields]
    texts = table.select(pl.concat_str(parts, separator=" ", ignore_nulls=True)).to_series()
    there = texts != ""
    if not there.any():
        raise ValueError(f"{path}: {', '.join(fields)} are empty for every item; choose other --fields")
    items = table[ITEM_FIELD]
    absent = [Absent(item, "", "no text") for item in items.filter(~there)]
    return Contents(items.filter(there).to_list(), texts.filter(there).to_list(), absent, fields)


def read_picture_files(folder: Path, name: str, format: AtomicFormat = DEFAULT_FORMAT) -> Contents:
    """Picture files that the items name; whether they exist is seen when they are opened. A name that leads out of
    ``images/`` counts as none.

    Raises:
        ValueError: As `read_items`; also if there is no column ``image:token`` or no item names a picture.
    """
    table, types = read_items(folder, name, format)
    path = folder / f"{name}.item"
    if PICTURE_FIELD not in types:
        raise ValueError(f"{path} has no column {PICTURE_FIELD}:token; it must name each item's file under images/")
    if not (table[PICTURE_FIELD] != "").any():
        raise ValueError(f"{path}: {PICTURE_FIELD} is empty for every item; name the files under images/")
    items, pictures, absent = [], [], []
    for item, file in zip(table[ITEM_FIELD], table[PICTURE_FIELD], strict=True):
        picture = picture_file(folder, file)
        if picture is None:
            absent.append(Absent(item, file, "leads out of images/" if file else "no picture named"))
        else:
            items.append(item)
            pictures.append(picture)
    return Contents(items, pictures, absent, [PICTURE_FIELD])


def picture_file(folder: Path, named: str) -> Path | None:
    """The file that an item of a data set's folder names as its picture; None where it names none, or one elsewhere
    than under ``images/``."""
    try:
        return Path(inside(folder / "images", named)) if named else None
    except ValueError:
        return None


def read_item_texts(path: Path, item_tokens: Sequence[str], format: AtomicFormat = DEFAULT_FORMAT) -> list[ItemText]:
    """Titles and pictures of items.

    Args:
        path: a ``.item`` file; it need not exist, nor have a title or picture column.
        item_tokens: N items wanted.
        format: how the file is written.

    Returns:
        N texts in the order of ``item_tokens``.

    Raises:
        ValueError: As `read_items`.
    """
    if not path.is_file():
        return [ItemText("", "")] * len(item_tokens)
    table, _ = _read(path, format, only=(TITLE_FIELD, PICTURE_FIELD))
    found = _rows_of(table, item_tokens)
    columns = (found[field] if field in table.columns else [""] * len(found) for field in (TITLE_FIELD, PICTURE_FIELD))
    return list(map(ItemText._make, zip(*columns, strict=True)))


def read_all_item_texts(path: Path, format: AtomicFormat = DEFAULT_FORMAT) -> ItemTexts:
    """The texts of a ``.item`` file in its order, from its binary form where it has one; errors as in `read_items`."""
    twin = read_twin(path)
    if twin is not None:
        return ItemTexts(*(twin.words[field] for field in (ITEM_FIELD, TITLE_FIELD, PICTURE_FIELD)))
    table, types = _read(path, format, only=(TITLE_FIELD, PICTURE_FIELD))
    columns = (
        table[field].to_list() if field in types else [""] * table.height for field in (TITLE_FIELD, PICTURE_FIELD)
    )
    return ItemTexts(table[ITEM_FIELD].to_list(), *columns)


def read_item_fields(
    path: Path, item_tokens: Sequence[str], format: AtomicFormat = DEFAULT_FORMAT, *, longest: int | None = None
) -> dict[str, list[str]]:
    """All other columns of a ``.item`` file: brand, colour, category, whatever is there.

    Args:
        path: the file; it need not exist.
        item_tokens: N items wanted.
        format: how the file is written.
        longest: characters of a value that are kept; None keeps all.

    Returns:
        Name of a column -> N values, "" where nothing is known.

    Raises:
        ValueError: As `read_items`.
    """
    if not path.is_file():
        return {}
    table, types = _read(path, format)
    found = _rows_of(table, item_tokens)
    fields = {}
    for field in types:
        if field not in (ITEM_FIELD, TITLE_FIELD, PICTURE_FIELD):
            values = found[field].str.replace_all(r"\s", " ").str.strip_chars()
            fields[field] = (values if longest is None else values.str.slice(0, longest)).to_list()
    return fields


def _rows_of(table: pl.DataFrame, item_tokens: Sequence[str]) -> pl.DataFrame:
    """The rows of items in their order, "" everywhere where there is none."""
    wanted = pl.DataFrame({ITEM_FIELD: pl.Series(item_tokens, dtype=pl.String)})
    return wanted.join(table, on=ITEM_FIELD, how="left", maintain_order="left").fill_null("")


def write_item_texts(
    path: Path,
    item_tokens: Sequence[str],
    texts: Sequence[ItemText],
    fields: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a ``.item`` file of titles, pictures and other ``fields`` (name -> N words without tabs), all as text, and
    the binary form of all but the other fields."""
    fields = fields or {}
    others = zip(*fields.values(), strict=True) if fields else [()] * len(item_tokens)
    header = (
        f"{ITEM_FIELD}:token",
        f"{TITLE_FIELD}:token_seq",
        f"{PICTURE_FIELD}:token",
        *(f"{field}:token_seq" for field in fields),
    )
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        for token, text, words in zip(item_tokens, texts, others, strict=True):
            file.write("\t".join((token, *text, *words)) + "\n")
    titles, images = zip(*texts, strict=True) if texts else ((), ())
    write_twin(path, {ITEM_FIELD: item_tokens, TITLE_FIELD: titles, PICTURE_FIELD: images}, {})


def _read(
    path: Path, format: AtomicFormat, *, only: Sequence[str] | None = None
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Columns of the file, all or ``only`` those of these names, and their types."""
    table = open_table(path, format, needed={format.item: "token"})
    types = {ITEM_FIELD if name == format.item else name: type_ for name, type_ in table.header.items()}
    if len(types) < len(table.header):
        raise ValueError(f"{path}, line 1: a column is called {ITEM_FIELD}, which here means {format.item}; rename it")
    others = [name for name in types if name != ITEM_FIELD and (only is None or name in only)]
    rows, faults = judged_items(table, [pl.col(name) for name in others])
    refuse_faults(path, faults)
    return rows.select(*(name for name in types if name in (ITEM_FIELD, *others))), types
