"""Tables in text files: commas, tabs, bars or any other separator, with the line of every row."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from recbole_mgr.preparation.batches import BATCH_ROWS, Batch
from recbole_mgr.preparation.opening import LONGEST_LINE, first_undecodable, lines_of, open_text, unpacking
from recbole_mgr.preparation.quotes import QuotedRows

# Why a row could not be read
WIDTH = "wrong number of values"
EMPTY = "nothing in it"
_NOTHING = re.compile(r"(sep=.)?\s*")  # a line before the names: blank, or Excel's word to itself


def delimited_batches(
    path: Path,
    *,
    separator: str,
    columns: list[str] | None = None,
    encoding: str | None = None,
    quotes: str = "checked",
) -> Iterator[Batch]:
    """Read a text table.

    Args:
        path: the file, packed or not.
        separator: one character, or several, if ``columns`` names the columns and nothing is quoted.
        columns: names of the columns; default: the first line names them.
        encoding: of the text; default: UTF-8, or what a byte order mark says.
        quotes: ``none``: quotation marks are characters like any other. ``trusted``: values may stand in quotation
            marks. ``checked``: and a mark that does not seem to close where it should is an error.

    Returns:
        Batches of String columns, ``line_number`` and ``problem``; an empty value is null. A row that could not be
        read is null as a whole, and ``problem`` says why.

    Raises:
        ValueError: Naming the file, the line and the remedy: empty file, column named twice, another encoding, a
            packed file that ends early, a line of enormous length, a quotation mark that never closes.
    """
    line = 0  # the last one that was read
    with _reading(path, encoding, lambda: line), open_text(path, encoding) as file:
        lines = lines_of(file)
        if columns is None:
            line, columns = _names(path, lines, separator)
        rows = QuotedRows(path, separator, len(columns), checked=quotes == "checked")
        while block := list(itertools.islice(lines, BATCH_ROWS)):
            if max(map(len, block)) >= LONGEST_LINE:
                raise ValueError(
                    f"{path}: a line after line {line} has over {LONGEST_LINE:,} characters; this is no table"
                )
            text = "".join(block)
            if quotes != "none" and '"' in text:
                # a quoted value may hold line breaks, and so go on after the block
                count, numbers, values = rows.read(itertools.chain(block, lines), len(block), line)
                frame = _framed(numbers, values, columns)
            else:
                count, frame = len(block), _split(block, text, separator, columns, line)
            yield Batch(path, frame, encoding)
            line += count
        rows.check()


def header(path: Path, separator: str, encoding: str | None = None) -> list[str]:
    """Names of the columns in the first line of a table."""
    with _reading(path, encoding, lambda: 0), open_text(path, encoding) as file:
        return _names(path, lines_of(file), separator)[1]


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


@contextmanager
def _reading(path: Path, encoding: str | None, line: Callable[[], int]) -> Iterator[None]:
    """Turn what reading a file raises into errors that name the file and the line."""
    try:
        with unpacking(path, line):
            yield
    except UnicodeError as error:
        number, text = first_undecodable(path, encoding)
        raise ValueError(
            f"{path}, line {number}: not {encoding or 'UTF-8'} ({text!r}); save the file as UTF-8, or name its "
            "encoding with --encoding (cp1252 is what Windows calls ANSI)"
        ) from error


def _names(path: Path, lines: Iterator[str], separator: str) -> tuple[int, list[str]]:
    """Number of lines that the names of the columns take (with those before them that hold nothing), and the names."""
    blank = 0
    for first in lines:
        if not _NOTHING.fullmatch(first):
            break
        blank += 1
    else:
        first = ""
    if "\0" in first:
        raise ValueError(
            f"{path}, line {blank + 1}: holds NUL characters; if it is UTF-16, say --encoding utf-16-le, else get the "
            "file again"
        )
    reader = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {blank + 1}: the names of the columns cannot be read ({error}); mend this line"
        ) from error
    if not any(names):
        raise ValueError(f"{path}: is empty; its first line must name the columns")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{path}, line {blank + 1}: column {min(twice)!r} stands there twice; rename one of them")
    return blank + reader.line_num, names


def _framed(numbers: list[int], rows: list[list[str]], columns: list[str]) -> pl.DataFrame:
    nothing = [None] * len(columns)
    fits = [len(row) == len(columns) for row in rows]
    values = [[value or None for value in row] if fit else nothing for row, fit in zip(rows, fits, strict=True)]
    frame = pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String), orient="row")
    return _judged(frame, pl.Series(fits, dtype=pl.Boolean), pl.Series("line_number", numbers, dtype=pl.Int64), columns)


def _split(block: list[str], text: str, separator: str, columns: list[str], before: int) -> pl.DataFrame:
    """Rows of lines without quoted values; ``text`` is all of them."""
    lines = pl.DataFrame({"text": block})
    lines = lines.with_columns(
        line_number=pl.int_range(before + 1, before + pl.len() + 1, dtype=pl.Int64),
        fits=pl.col("text").str.count_matches(separator, literal=True) == len(columns) - 1,
    )
    plain = len(separator) == 1 and len(columns) > 1 and text.count("\r") == text.count("\r\n")
    if plain and lines["fits"].all():  # nearly always: the quick way
        frame = pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=False,
            new_columns=columns,
            quote_char=None,
            infer_schema=False,
        )
        if frame.height == lines.height:
            return _judged(frame, lines["fits"], lines["line_number"], columns)
    lines = lines.with_columns(pl.col("text").str.strip_chars_end("\r\n"))
    lines = lines.filter(pl.col("text").str.strip_chars(" ") != "")
    values = pl.when("fits").then("text").str.split_exact(separator, len(columns) - 1).struct.rename_fields(columns)
    frame = lines.select(values.alias("values")).unnest("values")
    frame = frame.with_columns(pl.when(pl.col(name) != "").then(name) for name in columns)
    return _judged(frame, lines["fits"], lines["line_number"], columns)


def _judged(frame: pl.DataFrame, fits: pl.Series, numbers: pl.Series, columns: list[str]) -> pl.DataFrame:
    """The frame with ``line_number`` and ``problem``."""
    frame = frame.with_columns(numbers, problem=pl.lit(None, dtype=pl.String))
    if not fits.all():
        frame = frame.with_columns(problem=pl.when(~fits).then(pl.lit(WIDTH)))
    empty = frame.select(pl.all_horizontal(pl.col(columns).is_null())).to_series() & fits
    if empty.any():
        frame = frame.with_columns(problem=pl.when(empty).then(pl.lit(EMPTY)).otherwise("problem"))
    return frame
