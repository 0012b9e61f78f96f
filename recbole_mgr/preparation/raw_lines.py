"""Raw files of one record a line, packed or not: JSON lines and other records, with the number of every line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from recbole_mgr.preparation.batches import BATCH_ROWS, Batch
from recbole_mgr.preparation.opening import LONGEST_LINE, open_bytes, unpacking

_BLOCK = 1 << 23  # bytes read at a time


def line_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, from 1; whole lines, each with its line end) of some megabytes at a time.

    Raises:
        ValueError: if the packed file ends early, is none or a line of it is enormous.
    """
    number, rest = 1, b""
    with unpacking(path, lambda: number - 1), open_bytes(path) as file:
        start = file.read(len(codecs.BOM_UTF8))
        rest = start.removeprefix(codecs.BOM_UTF8)
        while chunk := file.read(_BLOCK):
            end = chunk.rfind(b"\n") + 1
            if end:
                block, rest = rest + chunk[:end], chunk[end:]
                yield number, block
                number += block.count(b"\n")
            else:
                rest += chunk
            if len(rest) >= LONGEST_LINE:
                raise ValueError(f"{path}, line {number}: over {LONGEST_LINE:,} bytes; there must be one record a line")
        if rest:
            yield number, rest + b"\n"


def json_batches(path: Path, schema: dict[str, Any]) -> Iterator[Batch]:
    """Read some keys of a file of JSON lines.

    Args:
        path: the file; each line a JSON object.
        schema: polars type (String or Float64) of each key to read; a missing key is null.

    Returns:
        Batches with these columns and ``line_number``.
    """
    for first, block in line_blocks(path):
        count = block.count(b"\n")
        numbers = pl.int_range(first, first + count, dtype=pl.Int64, eager=True)
        try:
            frame = pl.read_ndjson(block, schema=schema)
        except pl.exceptions.PolarsError:  # some line is broken or of another type: find out which
            frame = None
        if frame is None or frame.height != count:
            numbers, lines = _numbered(first, block)
            if frame is None or frame.height != len(lines):
                records = [_parsed(json.loads, line) for line in lines]
                columns = {key: [_fitting(record.get(key), kind) for record in records] for key, kind in schema.items()}
                frame = pl.DataFrame(columns, schema=schema).with_columns(_unreadable(records))
        yield Batch(path, frame.with_columns(numbers.alias("line_number")))


def record_batches(
    path: Path, parse: Callable[[bytes], dict], describe: Callable[[dict], dict], schema: dict[str, Any]
) -> Iterator[Batch]:
    """Read a file of one record per line.

    Args:
        path: the file.
        parse: makes a record of a line; what it raises as ValueError, SyntaxError or the like marks the line broken.
        describe: makes the columns of ``schema`` of a record.
        schema: polars types of the columns.
    """
    for first, block in line_blocks(path):
        numbers, lines = _numbered(first, block)
        records = [_parsed(parse, line) for line in lines]
        frame = described(records, describe, schema).with_columns(_unreadable(records))
        yield Batch(path, frame.with_columns(numbers.alias("line_number")))


def described(records: Iterable[dict], describe: Callable[[dict], dict], schema: dict[str, Any]) -> pl.DataFrame:
    """A frame of ``schema`` with one row per record; an empty record becomes a row of nulls."""
    rows = [describe(record) if record else {} for record in records]
    return pl.DataFrame({key: [_fitting(row.get(key), kind) for row in rows] for key, kind in schema.items()}, schema)


def parquet_columns(path: Path) -> list[str]:
    """Names of a Parquet file's columns.

    Raises:
        ValueError: if it cannot be read.
    """
    with _reading_parquet(path):
        return pl.scan_parquet(path).collect_schema().names()


def parquet_batches(path: Path, columns: list[str] | None = None) -> Iterator[Batch]:
    """Read columns (default: all) of a Parquet file some rows at a time; ``line_number`` is the row's number from 1."""
    with _reading_parquet(path):
        scan = pl.scan_parquet(path)
        scan = scan.select(columns) if columns else scan
        rows = scan.select(pl.len()).collect().item()
    for start in range(0, rows, BATCH_ROWS):
        with _reading_parquet(path):
            frame = scan.slice(start, BATCH_ROWS).collect()
        yield Batch(
            path, frame.with_columns(line_number=pl.int_range(start + 1, start + 1 + frame.height, dtype=pl.Int64))
        )


@contextmanager
def _reading_parquet(path: Path) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a readable Parquet file ({reason}); get it again") from error


def _numbered(first: int, block: bytes) -> tuple[pl.Series, list[bytes]]:
    """Numbers (Int64) and content of a block's lines that are not blank."""
    lines = [(number, line) for number, line in enumerate(block.split(b"\n"), start=first) if line.strip()]
    return pl.Series([number for number, _ in lines], dtype=pl.Int64), [line for _, line in lines]


def _unreadable(records: list[dict]) -> pl.Series:
    """The column that says which lines hold no record."""
    return pl.Series(
        "problem", [None if record else "no record that can be read" for record in records], dtype=pl.String
    )


def _parsed(parse: Callable[[bytes], Any], line: bytes) -> dict:
    try:
        record = parse(line)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # all that literal_eval raises
        return {}
    return record if isinstance(record, dict) else {}


def _fitting(value: Any, kind: Any) -> Any:
    """A value as the column's type, or None."""
    if kind == pl.Float64:
        try:
            return None if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # JSON may hold half a surrogate pair
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
