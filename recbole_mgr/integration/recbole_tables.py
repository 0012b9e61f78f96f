"""RecBole reads its atomic files through our reader, so that a run sees what ``check`` saw.

RecBole takes pandas' Python engine: it is slow, takes a byte order mark for a part of the first column's name, joins
lines after a quotation mark, and ends with a stack trace where a column of numbers holds a word.
"""

from __future__ import annotations

import builtins
import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from recbole_mgr.data.table import MISSING_WORDS, AtomicFormat, judged, open_table, refuse_faults

_TEXT = "str" if pd.Series(["a"]).dtype == "str" else object  # pandas 3 has a type for strings


def read_recbole_table(
    path: str,
    *,
    delimiter: str,
    usecols: Sequence[str],
    dtype: Mapping[str, type],
    encoding: str | None = None,
    engine: str = "python",
) -> pd.DataFrame:
    """What RecBole's call of ``pandas.read_csv`` asks for, in its place.

    Args:
        path: an atomic file.
        delimiter, encoding: RecBole's settings.
        usecols: columns ``name:type`` of its header.
        dtype: of each of them float64 or str.
        engine: pandas', not used.

    Returns:
        The columns, in the order of the file: float64 with NaN, or strings with a missing value, for what is empty or
        reads as missing; "" for an empty sequence.

    Raises:
        ValueError: Naming file and line: what no reader of ours would take.
    """
    given = {"field_separator": delimiter, "encoding": encoding}
    table = open_table(Path(path), AtomicFormat.of(given))
    names = [name for name, type_ in table.header.items() if f"{name}:{type_}" in set(usecols)]
    rows, faults = judged(table, keys=[], columns=[_column(name, table.header[name]) for name in names])
    refuse_faults(table.path, faults)
    frame = {}
    for name in names:
        typed = f"{name}:{table.header[name]}"
        values = rows.drop_in_place(name)
        frame[typed] = values.to_numpy() if dtype[typed] is not str else pd.Series(_strings(values), dtype=_TEXT)
    return pd.DataFrame(frame, columns=list(frame))


def open_without_mark(file: Any, mode: str = "r", *arguments: Any, encoding: str | None = None, **options: Any) -> Any:
    """``open``, with a byte order mark taken off UTF-8 text."""
    if encoding is not None and "b" not in mode and codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig" if "r" in mode else encoding
    return builtins.open(file, mode, *arguments, encoding=encoding, **options)


def _column(name: str, type_: str) -> pl.Expr:
    column = pl.col(name)
    missing = (column.str.strip_chars() == "") | column.is_in(list(MISSING_WORDS))
    if type_ == "float":
        return pl.when(~missing).then(column.str.strip_chars().cast(pl.Float64, strict=False)).fill_null(np.nan)
    if type_ == "token":
        return pl.when((column != "") & ~column.is_in(list(MISSING_WORDS))).then(column).cast(pl.Categorical)
    return pl.when(~missing).then(column).fill_null("")


def _strings(values: pl.Series) -> np.ndarray:
    """Strings as Python objects [n], None where one is missing; equal tokens share an object."""
    if values.dtype != pl.Categorical:
        return values.to_numpy()
    _, first, inverse = np.unique(
        values.to_physical().fill_null(np.iinfo(np.uint32).max).to_numpy(), return_index=True, return_inverse=True
    )
    distinct = np.array(values.gather(first).cast(pl.String).to_list(), dtype=object)
    return distinct[inverse]
