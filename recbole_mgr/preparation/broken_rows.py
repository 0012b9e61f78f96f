"""Rows that cannot be used: counted by reason, shown, and an error where they are many."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.delimited import EMPTY
from recbole_mgr.preparation.opening import excerpt

UNREADABLE_TIME = "time that cannot be read"


class BrokenRows:
    """Counts the rows of each file and those among them that lack what they must have.

    Args:
        limit: the largest share of broken rows of a file that is skipped; more is an error. Rows with nothing in them,
            as spreadsheets leave them, are no broken ones.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.rows: dict[Path, int] = {}
        self._reasons: dict[Path, dict[str, int]] = {}
        self._first: dict[tuple[Path, str], int] = {}  # line of the first row of a reason
        self._encodings: dict[Path, str | None] = {}

    def skip(self, batch: Batch, needed: list[str]) -> pl.DataFrame:
        """The batch's rows that have all ``needed`` columns; the others are counted."""
        path, frame, self._encodings[path] = batch.path, batch.frame, batch.encoding
        self.rows[path] = self.rows.get(path, 0) + frame.height
        reasons = self._reasons.setdefault(path, {})
        lacking = [pl.when(pl.col(column).is_null()).then(pl.lit(f"no usable {column}")) for column in needed]
        known = [pl.col("problem")] if "problem" in frame.columns else []
        why = frame.select(pl.coalesce(*known, *lacking)).to_series()
        if why.null_count() == len(why):
            return frame.drop("problem", strict=False)
        for reason, line in zip(why, frame["line_number"], strict=True):
            if reason is not None:
                reasons[reason] = reasons.get(reason, 0) + 1
                self._first.setdefault((path, reason), line)
        return frame.filter(why.is_null()).drop("problem", strict=False)

    def reasons(self, path: Path) -> dict[str, int]:
        """Rows of a file that were skipped, by reason."""
        return self._reasons.get(path, {})

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Skipped rows of each file that has any, by reason."""
        return {path.name: dict(reasons) for path, reasons in self._reasons.items() if reasons}

    def check(self) -> list[str]:
        """Messages on the rows skipped, one for each reason of each file.

        Raises:
            ValueError: if a file has more broken rows than the limit allows, or none that is whole.
        """
        messages = []
        for path, reasons in self._reasons.items():
            rows, count = self.rows[path], sum(reasons.values())
            broken = {reason: number for reason, number in reasons.items() if reason != EMPTY}
            if sum(broken.values()) > self.limit * rows or (count and count == rows):
                reason = max(broken or reasons, key=reasons.__getitem__)
                way = "say how times are written with --time-format, " if reason == UNREADABLE_TIME else ""
                raise ValueError(
                    f"{path}: {count:,} of {rows:,} rows are broken, {self._shown(path, reason)}. Mend the file, {way}"
                    "or allow a larger share of broken rows with --broken-share"
                )
            messages += [
                f"{path}: {number:,} of {rows:,} rows skipped, {self._shown(path, reason)}"
                for reason, number in reasons.items()
            ]
        return messages

    def _shown(self, path: Path, reason: str) -> str:
        line = self._first[path, reason]
        text = excerpt(path, line, self._encodings[path])
        return f"the first in line {line}: {reason}" + (f" ({text!r})" if text else "")
