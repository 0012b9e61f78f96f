"""Tables as they stand, whatever is wrong with them: no row is dropped, joined or refused.

Every line is one string that is split here, so that rows of too many or too few values and bytes that are no UTF-8
are seen and counted; and read lazily, so that memory does not grow with the text.
"""

from __future__ import annotations

import codecs
from pathlib import Path

import polars as pl

TYPES = ("token", "token_seq", "float", "float_seq")
LINE, FIELDS, TEXT = "<line>", "<fields>", "<text>"  # no header can name a column so
REPLACED = "\ufffd"  # stands where bytes are no UTF-8


def read_header(path: Path) -> dict[str, str]:
    """Names and types of a table's columns.

    Raises:
        ValueError: If the file does not exist or its first line does not name each column once, as name:type.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    with open(path, encoding="utf-8", errors="replace") as file:
        columns = file.readline().rstrip("\n").split("\t")
    header = {name: type_ for name, _, type_ in (column.partition(":") for column in columns)}
    if len(header) < len(columns) or not set(header.values()) <= set(TYPES):
        raise ValueError(
            f"{path}, line 1: needs columns name:type separated by tabs, each name once, with a type of "
            f"{', '.join(TYPES)}; it is {columns}"
        )
    return header


def scan_table(path: Path, header: dict[str, str]) -> pl.LazyFrame:
    """The rows below the header, lazily, blank lines left out.

    Returns:
        One String column per name of ``header`` ("" where a row ends before it), and LINE (number in the file), FIELDS
        (number of values) and TEXT (the whole line).
    """
    lines = pl.scan_csv(
        path,
        separator="\x01",
        has_header=False,
        quote_char=None,
        schema={TEXT: pl.String},
        skip_rows=1,
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
        row_index_name=LINE,
    ).filter(pl.col(TEXT).is_not_null())
    values = pl.col(TEXT).str.split("\t")
    return lines.with_columns(
        pl.col(LINE) + 2,
        values.list.len().alias(FIELDS),
        *(values.list.get(place, null_on_oob=True).fill_null("").alias(name) for place, name in enumerate(header)),
    )


def first_bad_utf8(path: Path) -> int | None:
    """Line of the first byte that is no UTF-8, or None."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            try:
                line += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                return line + block[: error.start].count(b"\n")
    return None
