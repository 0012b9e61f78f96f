"""``<name>.item``: titles, pictures, and whether its items are those of the interactions."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from recbole_mgr.checking.verdict import ERROR, NOTE, WARNING, Part, Problem, found_faults, match_problems
from recbole_mgr.data.item_file import ITEM_FIELD, PICTURE_FIELD, TITLE_FIELD, judged_items, picture_file
from recbole_mgr.data.pictures import read_picture
from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.data.table import LINE, AtomicFormat, open_table

_SEED = 0
_THREADS = 4


class Items(NamedTuple):
    """Facts and problems; the fields the file has; how many items name a picture that is there."""

    part: Part
    fields: list[str]
    pictures: int


def check_item_file(path: Path, interaction_items: pl.Series, *, pictures: int | None, format: AtomicFormat) -> Items:
    """Check ``<name>.item`` and the pictures it names.

    Args:
        path: the file; it need not exist.
        interaction_items: items of ``.inter``, String.
        pictures: how many pictures are opened and decoded, drawn at random; None = all.
        format: how the file is written.
    """
    if not path.is_file():
        note = Problem(NOTE, path.name, "does not exist", "write it to encode items or to show titles")
        return Items(Part({}, [note]), [], 0)
    try:
        table = open_table(path, format, needed={format.item: "token"})
    except ValueError as error:
        remedy = "write the file as dataset_atomic/README.md says, for example with recbole-mgr prepare table"
        return Items(Part({}, [Problem(ERROR, path.name, str(error), remedy)]), [], 0)
    others = [field for field in table.header if field != format.item]
    columns = [(pl.col(field).str.strip_chars() != "").alias(f"has {field}") for field in others]
    if PICTURE_FIELD in others:
        columns.append(pl.col(PICTURE_FIELD))
    rows, faults = judged_items(table, columns)  # no text is kept
    problems = found_faults(path, faults)
    items = rows[ITEM_FIELD]
    known = items.is_in(interaction_items.implode())
    facts: dict[str, Any] = {
        "items": items.n_unique(),
        "not in .inter": int((~known).sum()),
        "of .inter, not here": int((~interaction_items.is_in(items.implode())).sum()),
        "filled": {field: f"{rows[f'has {field}'].mean() or 0:.1%}" for field in others},
    }
    problems += match_problems(
        path.name,
        interaction_items.to_list(),
        items.to_list(),
        lacking="items of .inter have no row",
        remedy=f"add rows to {path.name}, or no text and picture of theirs is encoded",
    )
    if not known.all():
        what = f"{int((~known).sum()):,} items have no interaction, for example {items.filter(~known)[0]!r}"
        problems.append(Problem(NOTE, path.name, what, "they are never recommended; nothing needs to be done"))
    if TITLE_FIELD in others:
        untitled = rows.filter(~rows[f"has {TITLE_FIELD}"])
        facts["without title"] = untitled.height
        if not untitled.is_empty():
            where, what = f"{path.name}, line {untitled[LINE][0]}", f"no title ({untitled.height:,} such lines)"
            problems.append(Problem(WARNING, where, what, "fill it from another field"))
    there = 0
    if PICTURE_FIELD in others:
        there = _check_pictures(path, rows, pictures, facts, problems)
    return Items(Part(facts, problems), list(table.header), there)


def _check_pictures(
    path: Path, rows: pl.DataFrame, limit: int | None, facts: dict[str, Any], problems: list[Problem]
) -> int:
    folder = path.parent / "images"
    named = rows[PICTURE_FIELD].filter(rows[PICTURE_FIELD] != "").to_list()
    files = {name: picture_file(path.parent, name) for name in named}
    outside = [name for name in named if files[name] is None]
    there = [name for name in named if files[name] and files[name].is_file()]
    facts["without picture"] = rows.height - len(named)
    facts["pictures"] = {"named": len(named), "there": len(there)}
    name = path.stem
    if outside:
        what = f"{len(outside):,} pictures lead out of images/, for example {outside[0]!r}; they are not read"
        problems.append(Problem(WARNING, path.name, what, f"put them into {folder} and name them from there"))
    if len(there) + len(outside) < len(named):
        absent = next(name for name in named if files[name] and not files[name].is_file())
        there_is = next((file.name for file in folder.iterdir()), None) if folder.is_dir() else None
        found = f"the folder has {there_is!r}" if there_is else f"{folder} is empty or does not exist"
        what = f"{len(named) - len(there) - len(outside):,} of {len(named):,} pictures are not in images/, for example "
        level = WARNING if there else ERROR
        remedy = f"put them there: recbole-mgr prepare atomic {path.parent} --images FOLDER --name {name}-new"
        problems.append(Problem(level, path.name, f"{what}{absent!r}; {found}", remedy))
    if rows.height > len(named):
        what = f"{rows.height - len(named):,} items name no picture"
        problems.append(Problem(NOTE, path.name, what, "missing_modality says what becomes of them"))
    opened = there if limit is None or limit >= len(there) else random.Random(_SEED).sample(there, limit)
    with ThreadPoolExecutor(_THREADS) as pool:
        broken = [problem for problem in pool.map(_unreadable, [files[name] for name in opened]) if problem]
    facts["pictures"] |= {"opened": len(opened), "unreadable": len(broken)}
    if broken:
        what = f"{len(broken):,} of {len(opened):,} opened pictures are unreadable: {broken[0]}"
        remedy = (
            f"fetch them again; recbole-mgr encode {as_arguments(path.parent, name)} --modality image lists every one"
        )
        problems.append(Problem(WARNING, "images", what, remedy))
    return len(there)


def _unreadable(path: Path) -> str | None:
    try:
        read_picture(path)
    except ValueError as error:
        return str(error)
    return None
