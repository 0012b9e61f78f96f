"""Rows that cannot be used: counted, shown, and an error where they are many."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.raw_lines import excerpt


class BrokenRows:
    """Counts the rows of each file and those among them that lack what they must have.

    Args:
        limit: the largest share of broken rows of a file that is skipped; more is an error.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._rows: dict[Path, int] = {}
        self._broken: dict[Path, int] = {}
        self._first: dict[Path, tuple[int, str]] = {}

    def skip(self, batch: Batch, needed: list[str]) -> pl.DataFrame:
        """The batch's rows that have all ``needed`` columns; the others are counted."""
        path, frame = batch
        complete = frame.select(pl.all_horizontal(pl.col(needed).is_not_null())).to_series()
        kept = frame.filter(complete)
        self._rows[path] = self._rows.get(path, 0) + frame.height
        self._broken[path] = self._broken.get(path, 0) + frame.height - kept.height
        if kept.height < frame.height and path not in self._first:
            row = frame.filter(~complete).row(0, named=True)
            lacking = [column for column in needed if row[column] is None]
            self._first[path] = row["line_number"], "no usable " + " or ".join(lacking)
        return kept

    @property
    def counts(self) -> dict[str, int]:
        """Broken rows of each file that has any."""
        return {path.name: count for path, count in self._broken.items() if count}

    def check(self) -> list[str]:
        """Messages on the rows skipped, one for each file that has any.

        Raises:
            ValueError: if a file has more broken rows than the limit allows, or none that is whole.
        """
        messages = []
        for path, count in self._broken.items():
            rows = self._rows[path]
            if not count:
                continue
            line, problem = self._first[path]
            message = f"{path}: {count:,} of {rows:,} rows are broken, the first in line {line}: {problem}"
            text = excerpt(path, line)
            message += f" ({text!r})" if text else ""
            if count > self.limit * rows or count == rows:
                raise ValueError(
                    f"{message}. Mend the file, or allow a larger share of broken rows with --broken-share"
                )
            messages.append(message + "; skipped")
        return messages
