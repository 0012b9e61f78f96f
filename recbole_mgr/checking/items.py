"""``<name>.item``: titles, pictures, and whether its items are those of the interactions."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from recbole_mgr.checking.tables import FIELDS, LINE, REPLACED, TEXT, first_bad_utf8, read_header, scan_table
from recbole_mgr.checking.verdict import ERROR, NOTE, WARNING, Part, Problem
from recbole_mgr.data.item_file import ITEM_FIELD, PICTURE_FIELD
from recbole_mgr.data.pictures import read_picture

TITLE_FIELD = "title"
_SEED = 0
_THREADS = 4


class Items(NamedTuple):
    """Facts and problems; the fields the file has; how many items name a picture that is there."""

    part: Part
    fields: list[str]
    pictures: int


def check_item_file(path: Path, interaction_items: pl.Series, *, pictures: int | None) -> Items:
    """Check ``<name>.item`` and the pictures it names.

    Args:
        path: the file; it need not exist.
        interaction_items: items of ``.inter``, String.
        pictures: how many pictures are opened and decoded, drawn at random; None = all.
    """
    if not path.is_file():
        note = Problem(NOTE, path.name, "does not exist", "write it to encode items or to show titles")
        return Items(Part({}, [note]), [], 0)
    try:
        header = read_header(path)
        if header.get(ITEM_FIELD) != "token":
            raise ValueError(f"{path}, line 1: needs a column {ITEM_FIELD}:token")
    except ValueError as error:
        problem = Problem(ERROR, path.name, str(error), "write the file as dataset_atomic/README.md says")
        return Items(Part({}, [problem]), [], 0)
    facts: dict[str, Any] = {}
    problems: list[Problem] = []
    rows = _read(path, header)
    items = rows[ITEM_FIELD]

    def found(rows_of: pl.Series, level: str, what: str, remedy: str) -> None:
        bad = rows.filter(rows_of)
        if not bad.is_empty():
            where = f"{path.name}, line {bad[LINE][0]}"
            problems.append(Problem(level, where, f"{what} ({bad.height:,} such lines)", remedy))

    found(rows["too_many"], ERROR, f"more than {len(header)} values", "take out the tabs inside values")
    found(rows["too_few"], ERROR, f"fewer than {len(header)} values", "complete the rows, empty values included")
    found(items == "", ERROR, f"{ITEM_FIELD} is empty", "give it or remove the line")
    found(~items.is_first_distinct() & (items != ""), ERROR, "an item stands there a second time", "keep one line")
    if rows["replaced"].any() and (line := first_bad_utf8(path)):
        problems.append(Problem(ERROR, f"{path.name}, line {line}", "not UTF-8", "save the file with that encoding"))

    known = items.is_in(interaction_items.implode())
    unknown = interaction_items.filter(~interaction_items.is_in(items.implode()))
    facts["items"] = items.n_unique()
    facts["not in .inter"] = int((~known).sum())
    facts["of .inter, not here"] = unknown.len()
    facts["filled"] = {field: f"{rows[f'has {field}'].mean() or 0:.1%}" for field in header if field != ITEM_FIELD}
    if unknown.len():
        what = f"{unknown.len():,} items of .inter are missing, for example {unknown[0]!r}"
        problems.append(Problem(WARNING, path.name, what, "add them, or no text and picture of theirs is encoded"))
    if not known.all():
        what = f"{int((~known).sum()):,} items have no interaction, for example {items.filter(~known)[0]!r}"
        problems.append(Problem(NOTE, path.name, what, "they are never recommended; nothing needs to be done"))
    if TITLE_FIELD in header:
        facts["without title"] = int((~rows[f"has {TITLE_FIELD}"]).sum())
        found(~rows[f"has {TITLE_FIELD}"], WARNING, "no title", "fill it from another field")
    there = 0
    if PICTURE_FIELD in header:
        there = _check_pictures(path, rows, pictures, facts, problems)
    return Items(Part(facts, problems), list(header), there)


def _read(path: Path, header: dict[str, str]) -> pl.DataFrame:
    """Ids, picture names and what is wrong with each row; no text is kept."""
    column = pl.col
    others = [field for field in header if field != ITEM_FIELD]
    return (
        scan_table(path, header)
        .select(
            column(LINE),
            column(ITEM_FIELD),
            *([column(PICTURE_FIELD)] if PICTURE_FIELD in header else []),
            *((column(field).str.strip_chars() != "").alias(f"has {field}") for field in others),
            too_many=column(FIELDS) > len(header),
            too_few=column(FIELDS) < len(header),
            replaced=column(TEXT).str.contains(REPLACED, literal=True),
        )
        .collect(engine="streaming")
    )


def _check_pictures(
    path: Path, rows: pl.DataFrame, limit: int | None, facts: dict[str, Any], problems: list[Problem]
) -> int:
    folder = path.parent / "images"
    named = rows[PICTURE_FIELD].filter(rows[PICTURE_FIELD] != "").to_list()
    there = [name for name in named if (folder / name).is_file()]
    facts["without picture"] = rows.height - len(named)
    facts["pictures"] = {"named": len(named), "there": len(there)}
    if len(there) < len(named):
        absent = next(name for name in named if not (folder / name).is_file())
        what = f"{len(named) - len(there):,} pictures are not in images/, for example {absent!r}"
        problems.append(Problem(WARNING, path.name, what, "put them there, or empty the value"))
    if rows.height > len(named):
        what = f"{rows.height - len(named):,} items name no picture"
        problems.append(Problem(NOTE, path.name, what, "missing_modality says what becomes of them"))
    opened = there if limit is None or limit >= len(there) else random.Random(_SEED).sample(there, limit)
    with ThreadPoolExecutor(_THREADS) as pool:
        broken = [problem for problem in pool.map(_unreadable, [folder / name for name in opened]) if problem]
    facts["pictures"] |= {"opened": len(opened), "unreadable": len(broken)}
    if broken:
        what = f"{len(broken):,} of {len(opened):,} opened pictures are unreadable: {broken[0]}"
        problems.append(Problem(WARNING, "images", what, "fetch them again; encode lists every one"))
    return len(there)


def _unreadable(path: Path) -> str | None:
    try:
        read_picture(path)
    except ValueError as error:
        return str(error)
    return None
