"""The whole way from a source of raw data to a folder of atomic files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_mgr.files import owned, to_disk
from recbole_mgr.preparation import filtering
from recbole_mgr.preparation.batches import Source
from recbole_mgr.preparation.broken_rows import BrokenRows
from recbole_mgr.preparation.download import DownloadLimits
from recbole_mgr.preparation.filtering import Counts
from recbole_mgr.preparation.interactions import IdNumbers, Interactions, read_interactions
from recbole_mgr.preparation.items import read_items
from recbole_mgr.preparation.picture_downloads import PictureDownloads
from recbole_mgr.preparation.pictures import PictureFolder, Pictures, gather_pictures
from recbole_mgr.preparation.writer import (
    write_interactions,
    write_items,
    write_missing_pictures,
    write_provenance,
    write_reviews,
)


class Settings(NamedTuple):
    """What to make of a source.

    Attributes:
        name: of the data set.
        output: folder that gets the folder ``<name>/``.
        k_core: interactions that every user and item must have; 0 keeps all.
        min_rating: interactions below are dropped; None keeps all.
        duplicates: which of a user's interactions with one item stay: ``all``, ``first`` or ``last``.
        images: ``keep`` items without picture, ``require`` one of every item, or ``none``: leave pictures out.
        picture_folder: pictures named by item id; None: where the source has them.
        mirror: folder or base URL that holds the pictures by the names their URLs end in.
        reviews: whether to write ``<name>.review``.
        broken_share: largest share of broken rows of a file that is skipped.
        limits: of downloads.
    """

    name: str
    output: Path
    k_core: int = 5
    min_rating: float | None = None
    duplicates: str = "all"
    images: str = "keep"
    picture_folder: Path | None = None
    mirror: str | None = None
    reviews: bool = True
    broken_share: float = 0.01
    limits: DownloadLimits = DownloadLimits()


def prepare(source: Source, settings: Settings, say: Callable[[str], None] = print) -> Path:
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
        _make(source, settings, say, work)
        _publish(work / settings.name, target)
        shutil.rmtree(work)
    return target


def _publish(staging: Path, target: Path) -> None:
    """Rename a folder that is complete and on the disk."""
    for path in staging.iterdir():
        to_disk(path)
    to_disk(staging)
    os.rename(staging, target)
    to_disk(target.parent)


def _make(source: Source, settings: Settings, say: Callable[[str], None], work: Path) -> None:
    """Write all files of the data set into a folder of its name in ``work``."""
    staging, reviews, rows = (work / name for name in (settings.name, "reviews", "items"))
    for folder in (staging, reviews, rows):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    steps = Steps(say)
    broken = BrokenRows(settings.broken_share)
    users, item_numbers = IdNumbers(), IdNumbers()
    interactions = read_interactions(
        source.interactions(),
        user_numbers=users,
        item_numbers=item_numbers,
        broken=broken,
        review_folder=reviews if settings.reviews else None,
    )
    user_ids, item_ids = users.ids(), item_numbers.ids()
    steps.add("read", interactions)
    if settings.min_rating is not None:
        interactions = filtering.at_least(interactions, settings.min_rating)
        steps.add(f"rating at least {settings.min_rating:g}", interactions)
    if settings.duplicates != "all":
        interactions = filtering.one_per_pair(interactions, settings.duplicates)
        steps.add(f"{settings.duplicates} interaction of each user and item", interactions)

    items = read_items(
        source.items(),
        numbers=item_numbers,
        count=len(item_ids),
        broken=broken,
        pictures=_picture_folder(source, settings),
        folder=rows,
    )
    for message in broken.check():
        say(f"warning: {message}")
    if settings.images == "require":
        interactions = filtering.of_items(interactions, items.with_reference)
        steps.add("items with a picture or its URL", interactions)
    interactions = _core(interactions, settings, steps)

    pictures = Pictures({}, [])
    if settings.images != "none" and items.with_reference.any():
        keep = _marked(interactions, len(item_ids))
        downloads = PictureDownloads(work / "downloads", settings.limits, settings.mirror)
        pictures = gather_pictures(items.pictures(keep), download=downloads, parallel=settings.limits.parallel)
    if settings.images == "require" and pictures.missing:
        # The core of what is left of the core is the core of all items whose picture is there, so only the pictures
        # of the first core had to be tried.
        there = np.zeros(len(item_ids), dtype=bool)
        there[list(pictures.paths)] = True
        interactions = filtering.of_items(interactions, there)
        steps.add("items whose picture is there", interactions)
        interactions = _core(interactions, settings, steps)

    keep = _marked(interactions, len(item_ids))
    write_interactions(staging / f"{settings.name}.inter", interactions, user_ids, item_ids)
    write_items(staging / f"{settings.name}.item", items, keep, pictures, source.field_types)
    reviews_written = write_reviews(
        staging / f"{settings.name}.review", sorted(reviews.iterdir()), interactions, user_ids, item_ids
    )
    if pictures.missing:
        write_missing_pictures(staging / "missing_pictures.tsv", pictures.missing)
        say(f"warning: {len(pictures.missing):,} pictures are missing; missing_pictures.tsv lists them")
    last = steps.counts[-1]
    kept_with_picture = sum(bool(keep[number]) for number in pictures.paths)
    details: dict[str, Any] = {
        "synthetic": False,
        **source.provenance,
        "users": last.users,
        "items": last.items,
        "interactions": last.interactions,
        "reviews": reviews_written,
        "items_without_picture": last.items - kept_with_picture,
        "repeated_pairs": filtering.repeated_pairs(interactions),
        "preparation": {
            "steps": [counts._asdict() for counts in steps.counts],
            "broken_rows_skipped": broken.counts,
            "items_without_row": items.undescribed,
            "item_rows_repeated": items.repeated,
            "order": "by user, then time; equal times in the order of the source file",
            **{key: getattr(settings, key) for key in ("k_core", "min_rating", "duplicates", "images", "broken_share")},
        },
    }
    write_provenance(staging / f"{settings.name}.provenance.yaml", details)


class Steps:
    """Counts after each step, told as they are made; a step that leaves nothing is an error."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.counts: list[Counts] = []
        self._say = say

    def add(self, step: str, interactions: Interactions) -> None:
        """Count what a step left."""
        counts = filtering.count(step, interactions)
        self.counts.append(counts)
        self._say(f"{step}: {counts.users:,} users, {counts.items:,} items, {counts.interactions:,} interactions")
        if not counts.interactions:
            raise ValueError(
                f"nothing is left after the step '{step}'; the counts before it say what there was: loosen --k-core, "
                "--min-rating or --require-images"
            )


def _check(settings: Settings) -> None:
    limits = settings.limits
    legal = {
        f"--name {settings.name}: a name of letters, digits, '_', '-' and '.'": re.fullmatch(
            r"\w[\w.-]*", settings.name
        ),
        f"--k-core {settings.k_core}: at least 0": settings.k_core >= 0,
        f"--broken-share {settings.broken_share:g}: a share between 0 and 1": 0 <= settings.broken_share <= 1,
        f"--parallel {limits.parallel}: at least 1": limits.parallel >= 1,
        f"--timeout {limits.timeout:g}: more than 0": limits.timeout > 0,
    }
    for rule, kept in legal.items():
        if not kept:
            raise ValueError(f"{rule} is needed")


def _core(interactions: Interactions, settings: Settings, steps: Steps) -> Interactions:
    if settings.k_core > 1:
        interactions = filtering.k_core(interactions, settings.k_core)
        steps.add(f"{settings.k_core}-core", interactions)
    return interactions


def _marked(interactions: Interactions, count: int) -> np.ndarray:
    marked = np.zeros(count, dtype=bool)
    marked[interactions.items] = True
    return marked


def _picture_folder(source: Source, settings: Settings) -> PictureFolder | None:
    folder = settings.picture_folder or source.picture_folder
    return PictureFolder(folder) if folder and settings.images != "none" else None
