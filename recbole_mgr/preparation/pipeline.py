"""The whole way from a source of raw data to a folder of atomic files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recbole_mgr.cleaners import print_line
from recbole_mgr.files import owned, publish
from recbole_mgr.preparation import filtering
from recbole_mgr.preparation.accounting import Steps, account, judge_items
from recbole_mgr.preparation.batches import FIELD_TYPES, Source
from recbole_mgr.preparation.broken_rows import BrokenRows
from recbole_mgr.preparation.cleaning import odd_ids
from recbole_mgr.preparation.download import DownloadLimits
from recbole_mgr.preparation.filtering import Counts
from recbole_mgr.preparation.interactions import IdNumbers, Interactions, read_interactions
from recbole_mgr.preparation.items import ItemRows, read_items
from recbole_mgr.preparation.joins import Join
from recbole_mgr.preparation.picture_downloads import PictureDownloads
from recbole_mgr.preparation.pictures import PictureFolder, Pictures, gather_pictures
from recbole_mgr.preparation.report import Report, next_commands
from recbole_mgr.preparation.times import odd_times, span
from recbole_mgr.preparation.writer import (
    write_interactions,
    write_items,
    write_missing_pictures,
    write_provenance,
    write_reviews,
)

CORES = (2, 3, 5, 10, 20)  # those that the report tells of
_RECORDED = ("user_core", "item_core", "min_rating", "duplicates", "images", "broken_share")


class Settings(NamedTuple):
    """What to make of a source.

    Attributes:
        name: of the data set.
        output: folder that gets the folder ``<name>/``.
        user_core, item_core: interactions that every user and every item must have; 0 or 1 keeps all.
        min_rating: interactions below are dropped; None keeps all.
        duplicates: which of a user's interactions with one item stay: ``all``, all but exact ``copies``, the ``first``
            or the ``last``.
        images: ``keep`` items without picture, ``require`` one of every item, or ``none``: leave pictures out.
        picture_folder: pictures named by item id; None: where the source has them.
        mirror: folder or base URL that holds the pictures by the names their URLs end in.
        reviews: whether to write ``<name>.review``.
        broken_share: largest share of broken rows of a file that is skipped.
        limits: of downloads.
    """

    name: str
    output: Path
    user_core: int = 5
    item_core: int = 5
    min_rating: float | None = None
    duplicates: str = "all"
    images: str = "keep"
    picture_folder: Path | None = None
    mirror: str | None = None
    reviews: bool = True
    broken_share: float = 0.01
    limits: DownloadLimits = DownloadLimits()


def prepare(source: Source, settings: Settings, say: Callable[[str], None] = print_line) -> Path:
    """Write ``<output>/<name>/`` from a source.

    Everything is made in ``<output>/.<name>.partial/`` and takes its place in one rename at the end. After an
    interruption the same call makes the files again, but keeps what was downloaded. One command at a time makes a
    data set.

    Args:
        source: the raw data.
        settings: what to make of it.
        say: gets the counts after each step and what was skipped.

    Returns:
        The folder.

    Raises:
        ValueError: Naming file, line, option and remedy: the folder exists or another command is making it, too many
            broken rows, nothing left after a step, no network, or what the source refuses.
    """
    _check(settings)
    target, work = settings.output / settings.name, settings.output / f".{settings.name}.partial"
    with owned(target):
        if target.exists():
            shutil.rmtree(work, ignore_errors=True)  # left there if the command was killed after the rename
            raise ValueError(f"{target} exists already; remove it, or choose another --name or --output")
        try:
            _make(source, settings, Steps(say), work)
        except Exception:
            _remove_unfinished(work)
            raise
        publish(work / settings.name, target)
        shutil.rmtree(work)
    return target


def _remove_unfinished(work: Path) -> None:
    """Remove what a refused preparation has made, but for its downloads, which the next one need not get again, and
    the list of pictures that no server gave."""
    for path in work.iterdir() if work.is_dir() else ():
        if path.is_dir() and path.name != "downloads":
            shutil.rmtree(path, ignore_errors=True)
    for folder in (work / "downloads", work):
        with suppress(OSError):  # it holds something
            folder.rmdir()


class _Raw(NamedTuple):
    """What was read of a source; items and users are numbers, of which the ids are kept apart."""

    interactions: Interactions
    users: pl.Series
    item_ids: pl.Series
    items: ItemRows
    broken: BrokenRows
    broken_items: BrokenRows
    reviews: Path


def _make(source: Source, settings: Settings, steps: Steps, work: Path) -> None:
    """Write all files of the data set into a folder of its name in ``work``."""
    staging = _fresh(work / settings.name)
    raw = _read(source, settings, steps, work)
    interactions = raw.interactions
    if settings.images == "require":
        interactions = filtering.of_items(interactions, raw.items.with_reference)
        steps.add("items with a picture or its URL", interactions)
    sizes = filtering.core_sizes(interactions, CORES)
    interactions = _core(interactions, settings, steps, sizes)
    pictures = Pictures({}, [])
    if settings.images != "none" and raw.items.with_reference.any():
        wanted = raw.items.pictures(_marked(interactions, len(raw.item_ids)))
        downloads = PictureDownloads(work / "downloads", settings.limits, settings.mirror)
        pictures = gather_pictures(wanted, download=downloads, parallel=settings.limits.parallel)
    if settings.images == "require" and pictures.missing:
        # The core of what is left of the core is the core of all items whose picture is there, so only the pictures
        # of the first core had to be tried.
        there = np.zeros(len(raw.item_ids), dtype=bool)
        there[list(pictures.paths)] = True
        interactions = filtering.of_items(interactions, there)
        steps.add("items whose picture is there", interactions)
        interactions = _core(interactions, settings, steps, sizes)
    raw = raw._replace(interactions=interactions)
    reviews_written = _write(staging, raw, pictures, source, settings)
    if pictures.missing:
        steps.warn(f"{len(pictures.missing):,} pictures are missing; missing_pictures.tsv lists them")
    report = _report(raw, pictures, reviews_written, sizes, source, settings, steps)
    last = report.kept
    details: dict[str, Any] = {
        "synthetic": False,
        **source.provenance,
        "users": last.users,
        "items": last.items,
        "interactions": last.interactions,
        "reviews": reviews_written,
        "items_without_picture": last.items - report.with_picture,
        "repeated_pairs": report.repeats,
        "exact_copies": report.copies,
        "preparation": {
            "steps": [counts._asdict() for counts in steps.counts],
            **report.details(),
            "order": "by user, then time; equal times in the order of the source file",
            **{key: getattr(settings, key) for key in _RECORDED},
        },
    }
    write_provenance(staging / f"{settings.name}.provenance.yaml", details)
    for line in report.lines():
        steps.say(line)


def _read(source: Source, settings: Settings, steps: Steps, work: Path) -> _Raw:
    """Read all of a source, drop the rows that the settings do not want, and say what was odd."""
    reviews, rows = _fresh(work / "reviews"), _fresh(work / "items")
    broken, broken_items = BrokenRows(settings.broken_share), BrokenRows(settings.broken_share)
    users, item_numbers = IdNumbers(), IdNumbers()
    try:
        interactions = read_interactions(
            source.interactions(),
            user_numbers=users,
            item_numbers=item_numbers,
            broken=broken,
            review_folder=reviews if settings.reviews else None,
            source=source.provenance["source"],
        )
    except ValueError:
        steps.warn(*source.conversions.check(1.0))  # what could not be read may be the reason
        raise
    user_ids, item_ids = users.ids(), item_numbers.ids()
    steps.add("read", interactions)
    steps.warn(*source.conversions.check(settings.broken_share), *broken.check())
    steps.warn(*(join.warning for join in source.joins if join.warning))
    steps.warn(*odd_ids(user_ids, "user"), *odd_ids(item_ids, "item"), *odd_times(interactions.times))
    interactions = _wanted(interactions, settings, steps)
    local = _picture_folder(source, settings)
    items = read_items(
        source.items(),
        numbers=item_numbers,
        ids=item_ids,
        broken=broken_items,
        pictures=local,
        folder=rows,
    )
    steps.warn(*source.conversions.check(settings.broken_share), *broken_items.check())
    steps.warn(*judge_items(items, item_ids, local, broken_items))
    return _Raw(interactions, user_ids, item_ids, items, broken, broken_items, reviews)


def _wanted(interactions: Interactions, settings: Settings, steps: Steps) -> Interactions:
    """The interactions that pass the filters of single rows."""
    if settings.min_rating is not None:
        rated = filtering.rated(interactions)
        if len(rated.users) < len(interactions.users):
            steps.add("with a rating", rated)
        interactions = filtering.at_least(rated, settings.min_rating)
        steps.add(f"rating at least {settings.min_rating:g}", interactions)
    if settings.duplicates == "copies":
        interactions = filtering.without_copies(interactions)
        steps.add("no exact copies", interactions)
    elif settings.duplicates != "all":
        interactions = filtering.one_per_pair(interactions, settings.duplicates)
        steps.add(f"{settings.duplicates} interaction of each user and item", interactions)
    return interactions


def _write(staging: Path, raw: _Raw, pictures: Pictures, source: Source, settings: Settings) -> int:
    """Write the tables and place the pictures; returns the number of reviews."""
    path = staging / settings.name
    keep = _marked(raw.interactions, len(raw.item_ids))
    write_interactions(path.with_name(f"{path.name}.inter"), raw.interactions, raw.users, raw.item_ids)
    write_items(path.with_name(f"{path.name}.item"), raw.items, keep, pictures, source.field_types)
    if pictures.missing:
        write_missing_pictures(staging / "missing_pictures.tsv", pictures.missing)
    parts = sorted(raw.reviews.iterdir())
    return write_reviews(path.with_name(f"{path.name}.review"), parts, raw.interactions, raw.users, raw.item_ids)


def _report(
    raw: _Raw,
    pictures: Pictures,
    reviews: int,
    sizes: list[Counts],
    source: Source,
    settings: Settings,
    steps: Steps,
) -> Report:
    keep, last = _marked(raw.interactions, len(raw.item_ids)), steps.counts[-1]
    with_picture = sum(bool(keep[number]) for number in pictures.paths)
    accounts = [account("interactions", raw.broken, last.interactions, steps.left_out)]
    joins = [*source.joins]
    if raw.broken_items.rows:
        described = int((raw.items.described & keep).sum())
        left_out = {
            "a second row of an item": raw.items.repeated,
            "of items without interactions": raw.items.of_others,
            "of items that were left out": int(raw.items.described.sum()) - described,
        }
        accounts.append(account("items", raw.broken_items, described, left_out))
        joins.append(Join("items that have a row of their own", described, last.items))
    if settings.images != "none" and raw.items.with_reference.any():
        joins.append(Join("items that have a picture", with_picture, last.items))
    if reviews:
        joins.append(Join("interactions that have a review", reviews, last.interactions))
    types = FIELD_TYPES | source.field_types
    texts = any(types.get(field, "token_seq") == "token_seq" for field in raw.items.fields)
    return Report(
        name=settings.name,
        accounts=accounts,
        joins=joins,
        kept=last,
        with_picture=with_picture,
        repeats=filtering.repeated_pairs(raw.interactions),
        copies=filtering.copies(raw.interactions),
        times=span(raw.interactions.times),
        cores=sizes,
        core=_core_in_words(settings),
        commands=next_commands(settings.name, settings.output, texts=texts, pictures=with_picture > 0),
    )


def _fresh(folder: Path) -> Path:
    """An empty folder, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _check(settings: Settings) -> None:
    limits = settings.limits
    legal = {
        f"--name {settings.name}: a name of letters, digits, '_', '-' and '.'": re.fullmatch(
            r"\w[\w.-]*", settings.name
        ),
        f"--mirror {settings.mirror}: a folder that exists, or an address http://... or https://...": _is_mirror(
            settings.mirror
        ),
        f"--k-core or --user-core {settings.user_core}: at least 0": settings.user_core >= 0,
        f"--k-core or --item-core {settings.item_core}: at least 0": settings.item_core >= 0,
        f"--broken-share {settings.broken_share:g}: a share between 0 and 1": 0 <= settings.broken_share <= 1,
        f"--parallel {limits.parallel}: at least 1": limits.parallel >= 1,
        f"--timeout {limits.timeout:g}: more than 0": limits.timeout > 0,
    }
    for rule, kept in legal.items():
        if not kept:
            raise ValueError(f"{rule} is needed")


def _is_mirror(mirror: str | None) -> bool:
    return mirror is None or bool(re.match("https?://.", mirror)) or Path(mirror).is_dir()


def _core(interactions: Interactions, settings: Settings, steps: Steps, sizes: list[Counts]) -> Interactions:
    if max(settings.user_core, settings.item_core) <= 1:
        return interactions
    before, words = len(interactions.users), _core_in_words(settings)
    interactions = filtering.k_core(interactions, settings.user_core, settings.item_core)
    try:
        steps.add(words, interactions)
    except ValueError as error:
        others = ", ".join(f"{size.interactions:,} with {size.step}" for size in sizes if size.interactions)
        raise ValueError(f"{error}. Interactions that would be left: {others or 'none'}") from error
    gone = 1 - len(interactions.users) / before
    if gone > 0.5:
        steps.warn(
            f"the {words} leaves out {100 * gone:.0f} % of {before:,} interactions; the table below says what others "
            "would keep (--k-core, --user-core, --item-core)"
        )
    return interactions


def _core_in_words(settings: Settings) -> str:
    users, items = settings.user_core, settings.item_core
    if max(users, items) <= 1:
        return "none"
    return f"{users}-core" if users == items else f"core of {users} a user, {items} an item"


def _marked(interactions: Interactions, count: int) -> np.ndarray:
    marked = np.zeros(count, dtype=bool)
    marked[interactions.items] = True
    return marked


def _picture_folder(source: Source, settings: Settings) -> PictureFolder | None:
    folder = settings.picture_folder or source.picture_folder
    return PictureFolder(folder) if folder and settings.images != "none" else None
