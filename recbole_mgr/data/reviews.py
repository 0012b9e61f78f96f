"""The one reader of ``<name>.review``: what users wrote of what they took."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recbole_mgr.data.interactions import ITEM, USER
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat, Fault, judged, open_table

REVIEW = "review"


def judged_reviews(path: Path, format: AtomicFormat = DEFAULT_FORMAT) -> tuple[pl.DataFrame, list[Fault]]:
    """Read ``<name>.review`` as it stands, and say what is wrong with it.

    Returns:
        A frame of LINE, USER, ITEM and REVIEW (Strings, trimmed) and PROBLEM (as of `judged`), in the order of the
        file; and its faults.

    Raises:
        ValueError: If there is no such file, its header is malformed, or a needed column is missing.
    """
    needed = {format.user: "token", format.item: "token", REVIEW: "token_seq"}
    table = open_table(path, format, needed=needed)
    columns = [
        pl.col(format.user).alias(USER),
        pl.col(format.item).alias(ITEM),
        pl.col(REVIEW).str.strip_chars().alias(REVIEW),
    ]
    return judged(table, keys=[format.user, format.item], columns=columns)
