"""What there is to encode: the text or the picture of each item of ``<name>.item``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

PICTURE_FIELD = "image"
ITEM_FIELD = "item_id"


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


def read_items(folder: Path, name: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Read ``<name>.item``.

    Returns:
        Its columns as strings, named without their types and with "" for what is empty; and the type of each.

    Raises:
        ValueError: Naming file, line and remedy: no such file, no UTF-8, a malformed header, a row of too many values,
            no item, an item id that is empty or stands there twice.
    """
    path = folder / f"{name}.item"
    if not path.is_file():
        raise ValueError(f"{path} does not exist; it must hold item_id:token and what is known of each item")
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a table of tab-separated UTF-8 lines ({reason}); correct the file") from error
    types = dict(column.partition(":")[::2] for column in table.columns)
    if ITEM_FIELD not in types or len(types) < table.width:
        raise ValueError(f"{path}, line 1: needs columns name:type, each once, and {ITEM_FIELD}:token among them")
    table.columns = list(types)
    table = table.fill_null("")
    items = table[ITEM_FIELD]
    for bad, problem in (
        (items.str.strip_chars() != items, "has blanks around it; take them away"),
        (items == "", "is empty; give it or remove the line"),
        (~items.is_first_distinct(), "stands there a second time; keep one line"),
    ):
        if bad.any():
            line = bad.arg_max()
            raise ValueError(f"{path}, line {line + 2}: the item id {items[line]!r} {problem} ({bad.sum()} such lines)")
    if table.is_empty():
        raise ValueError(f"{path}: holds no items, only a header")
    return table, types


def read_texts(folder: Path, name: str, fields: Sequence[str] | None) -> Contents:
    """Texts of the items: their fields one after another, separated by blanks.

    Args:
        folder, name: of the data set.
        fields: columns of ``<name>.item`` in the order they are read; None = those of type token_seq, in the file's.

    Raises:
        ValueError: As `read_items`; also for a field that does not exist, and where no field or no text is left.
    """
    table, types = read_items(folder, name)
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


def read_picture_files(folder: Path, name: str) -> Contents:
    """Picture files that the items name; whether they exist is seen when they are opened.

    Raises:
        ValueError: As `read_items`; also if there is no column ``image:token`` or no item names a picture.
    """
    table, types = read_items(folder, name)
    path = folder / f"{name}.item"
    if PICTURE_FIELD not in types:
        raise ValueError(f"{path} has no column {PICTURE_FIELD}:token; it must name each item's file under images/")
    files, items = table[PICTURE_FIELD], table[ITEM_FIELD]
    there = files != ""
    if not there.any():
        raise ValueError(f"{path}: {PICTURE_FIELD} is empty for every item; name the files under images/")
    pictures = [folder / "images" / file for file in files.filter(there)]
    absent = [Absent(item, "", "no picture named") for item in items.filter(~there)]
    return Contents(items.filter(there).to_list(), pictures, absent, [PICTURE_FIELD])
