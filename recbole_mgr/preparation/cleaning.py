"""Text and ids of raw data as atomic files can hold them."""

from __future__ import annotations

import html

import polars as pl

from recbole_mgr.data.table import MISSING_WORDS


def clean_ids(ids: pl.Series) -> pl.Series:
    """Trim ids [n]; what no atomic file can hold as an id becomes null: nothing, a word that reads as missing, a
    leading quotation mark, tabs, line breaks and other control characters. Numbers with a decimal point that are whole,
    as pandas makes them of ids beside missing ones, lose it.

    Raises:
        ValueError: if the column holds lists or the like.
    """
    if ids.dtype.is_nested():
        raise ValueError(f"column {ids.name!r} holds {ids.dtype}, not ids; name the column that does")
    if ids.dtype.is_float() and ((ids % 1 == 0) & (ids.abs() < 2**53)).all():
        ids = ids.cast(pl.Int64)
    trimmed = ids.cast(pl.String, strict=False).str.strip_chars()
    legal = ~(trimmed.is_in(list(MISSING_WORDS)) | trimmed.str.contains(r'^"|^$|[\p{Cc}\x{2028}\x{2029}]'))
    return trimmed.set(~legal.fill_null(True), None)


def odd_ids(ids: pl.Series, whose: str) -> list[str]:
    """Remarks on distinct ids: those that a spreadsheet has damaged, where 1.23457E+12 stands for many, and those that
    look the same, as a letter and its mark may be one character or two."""
    remarks = []
    damaged = ids.filter(ids.str.contains(r"^\d[.,]?\d*[eE]\+\d+$"))
    if not damaged.is_empty():
        remarks.append(
            f"{len(damaged):,} {whose} ids are written like {damaged[0]!r}, as spreadsheets write long numbers: "
            "several ids may have become one; export the column as text"
        )
    foreign = ids.filter(ids.str.contains(r"[^\x00-\x7F]"))
    alike = foreign.filter(foreign.str.normalize("NFC").is_duplicated())
    if not alike.is_empty():
        remarks.append(
            f"{len(alike):,} {whose} ids look like another one, the first is {alike[0]!r}: their letters and marks are "
            "written in two forms of Unicode, so they count as different; write all in one form (NFC)"
        )
    return remarks


def in_seconds(times: pl.Series, per_second: int) -> pl.Series:
    """Times [n] in parts of a second as seconds: float64, the nearest there is, so that they print as they were."""
    # polars would multiply with the reciprocal, which is off by one bit
    return pl.Series(times.cast(pl.Float64, strict=False).to_numpy() / per_second).fill_nan(None)


def clean_text(texts: pl.Series) -> pl.Series:
    """Texts [n] as values of an atomic file: HTML entities resolved, tabs, line breaks and other runs of white space
    made one blank, trimmed, null where nothing is left. A straight quotation mark at the beginning, which RecBole
    would take for the start of a quoted value, becomes a curly one."""
    entities = texts.str.contains("&", literal=True).fill_null(False)
    if entities.any():
        resolved = [html.unescape(text) for text in texts.filter(entities)]
        texts = texts.scatter(entities.arg_true(), resolved)
    untidy = texts.str.contains(r"[\s\p{Cc}--[ ]]|  ").fill_null(False)  # to look is ten times cheaper than to replace
    if untidy.any():
        texts = texts.scatter(untidy.arg_true(), texts.filter(untidy).str.replace_all(r"[\s\p{Cc}]+", " "))
    texts = texts.str.strip_chars().str.replace(r'^"', "“")
    return texts.set((texts == "").fill_null(False), None)
