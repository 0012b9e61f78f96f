"""What a source of raw data gives: batches of rows under common column names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.joins import Join

BATCH_ROWS = 50_000  # rows in memory at a time; a review has about a kilobyte

# Types of item fields in atomic files. A field of another name is a token_seq, which encoders of texts read by default.
FIELD_TYPES = {"price": "float", "image_url": "token"}
# Names of columns that are no item fields.
RESERVED = (
    "item_id",
    "line_number",
    "problem",
    "item_number",
    "picture_path",
    "picture_problem",
    "image_file",
    "image",
)


class Batch(NamedTuple):
    """Some rows of one raw file.

    Attributes:
        path: the file, for messages.
        frame: one row per raw row, in the order of the file. ``line_number`` (Int64) counts from 1. Interactions have
            ``user_id``, ``item_id`` (String), ``timestamp`` (Float64, seconds) and perhaps ``rating`` (Float64) and
            ``review`` (String). Items have ``item_id``, perhaps ``image_file`` and ``image_url``, and any fields
            (String, or Float64). A row that could not be read is all null but for ``line_number`` and perhaps
            ``problem`` (String), which says why in a few words that are the same for all rows of a kind.
        encoding: of the file, for messages; None: UTF-8, or what a byte order mark says.
    """

    path: Path
    frame: pl.DataFrame
    encoding: str | None = None


class Source(Protocol):
    """One raw format.

    Attributes:
        provenance: keys for ``<name>.provenance.yaml``: ``source`` and ``licence`` at least.
        field_types: types of item fields, where they are not those of ``FIELD_TYPES``.
        picture_folder: where the format keeps its pictures, or None.
        conversions: what the source read as numbers and times, with what it could not read.
        joins: of the source's own files, filled while it is read.
    """

    provenance: dict
    field_types: dict[str, str]
    picture_folder: Path | None
    conversions: Conversions
    joins: list[Join]

    def interactions(self) -> Iterator[Batch]:
        """Yield all interactions."""

    def items(self) -> Iterator[Batch]:
        """Yield what is known of the items; nothing where nothing is."""
