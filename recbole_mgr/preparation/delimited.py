"""Tables in text files: commas, tabs, bars or any other separator, with the line of every row."""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import polars as pl

from recbole_mgr.preparation.batches import BATCH_ROWS, Batch


def delimited_batches(
    path: Path, *, separator: str, columns: list[str] | None = None, encoding: str = "utf-8-sig", quoted: bool = True
) -> Iterator[Batch]:
    """Read a text table.

    Args:
        path: the file, gzipped where its name ends in ``.gz``.
        separator: one character, or several, if ``columns`` names the columns and nothing is quoted.
        columns: names of the columns; default: the first line names them.
        encoding: of the text; the default also takes the byte order mark that spreadsheets write.
        quoted: whether a value may stand in quotation marks.

    Returns:
        Batches of String columns and ``line_number``; an empty value is null. A row with too few or too many values is
        null as a whole.

    Raises:
        ValueError: Naming the file, the line and the remedy: empty file, column named twice, another encoding, a
            packed file that ends early.
    """
    line = 0  # the last one that was read
    try:
        with _open_text(path, encoding) as file:
            if columns is None:
                line, names = next(_quoted_rows(file, separator), (0, []))
                columns = [name.strip() for name in names]
                _check_names(path, columns)
            while block := list(itertools.islice(file, BATCH_ROWS)):
                if quoted and any('"' in text for text in block):
                    # a quoted value may hold line breaks, and so go on after the block
                    count, frame = _read_quoted(itertools.chain(block, file), len(block), separator, columns)
                else:
                    count, frame = len(block), _split(block, separator, columns)
                yield Batch(path, frame.with_columns(pl.col("line_number") + line))
                line += count
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not {encoding} after line {line} ({error}); save it as UTF-8") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: cannot be unpacked after line {line} ({error}); it was not copied as a whole, get it again"
        ) from error


def header(path: Path, separator: str) -> list[str]:
    """Names of the columns in the first line of a table."""
    with _open_text(path, "utf-8-sig") as file:
        try:
            return [name.strip() for name in next(_quoted_rows(file, separator), (0, []))[1]]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line 1: not UTF-8 ({error}); save it with that encoding") from error


def require_columns(path: Path, separator: str, needed: list[str]) -> None:
    """Check the first line of a table.

    Raises:
        ValueError: Naming the first column that is not there.
    """
    there = header(path, separator)
    for name in needed:
        if name not in there:
            raise ValueError(
                f"{path}, line 1: has no column {name!r}, only {', '.join(map(repr, there))}; get the original file"
            )


def _open_text(path: Path, encoding: str) -> IO[str]:
    # newline="": the csv module tells line ends inside quotation marks from the ends of rows
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding=encoding, newline="")


def _quoted_rows(lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the row's last line, values) of rows that are not blank; rows that the csv module refuses have
    no values."""
    reader = csv.reader(lines, delimiter=separator)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:  # a value beyond csv's size limit: a quotation mark that never closes
            row = [""]
        if row:
            yield reader.line_num, row


def _read_quoted(lines: Iterable[str], enough: int, separator: str, columns: list[str]) -> tuple[int, pl.DataFrame]:
    """Number of lines read, ``enough`` or as many more as the last row has, and their rows."""
    numbers, rows, nothing = [], [], [None] * len(columns)
    number = enough
    for number, row in _quoted_rows(lines, separator):
        numbers.append(number)
        rows.append([value or None for value in row] if len(row) == len(columns) else nothing)
        if number >= enough:
            break
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return max(number, enough), frame.with_columns(line_number=pl.Series(numbers, dtype=pl.Int64))


def _split(block: list[str], separator: str, columns: list[str]) -> pl.DataFrame:
    """Rows of lines without quoted values."""
    lines = pl.DataFrame({"text": pl.Series(block).str.strip_chars_end("\r\n")})
    lines = lines.with_columns(line_number=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)).filter(pl.col("text") != "")
    fits = pl.col("text").str.count_matches(separator, literal=True) == len(columns) - 1
    values = pl.when(fits).then("text").str.split_exact(separator, len(columns) - 1).struct.rename_fields(columns)
    frame = lines.select(values.alias("values"), "line_number").unnest("values")
    return frame.with_columns(pl.when(pl.col(name) != "").then(name) for name in columns)


def _check_names(path: Path, columns: list[str]) -> None:
    if not any(columns):
        raise ValueError(f"{path}: is empty; its first line must name the columns")
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        raise ValueError(f"{path}, line 1: column {sorted(twice)[0]!r} stands there twice; rename one of them")
