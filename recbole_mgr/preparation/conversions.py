"""The columns that a source reads as numbers and times, kept so that what could not be read is counted and told."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from recbole_mgr.preparation.numbers import NumberColumn, NumberForm
from recbole_mgr.preparation.times import TimeColumn


class Conversions:
    """The columns of a source's files that become numbers or times.

    Args:
        form: how numbers are written, as far as it is known.
        strict: whether a column with many values that are no numbers is an error, or only a remark.
        time_unit, time_form: as of :class:`TimeColumn`.
    """

    def __init__(
        self,
        form: NumberForm = NumberForm(),  # noqa: B008 - immutable
        *,
        strict: bool = True,
        time_unit: str = "s",
        time_form: str | None = None,
    ) -> None:
        self._form, self._strict, self._time_unit, self._time_form = form, strict, time_unit, time_form
        self._numbers: dict[tuple[Path, str], NumberColumn] = {}
        self._times: dict[tuple[Path, str], TimeColumn] = {}
        self._remarks: list[str] = []

    def remark(self, message: str) -> None:
        """Let the next `check` tell what else was odd about a file."""
        self._remarks.append(message)

    def numbers(self, path: Path, values: pl.Series, lines: pl.Series) -> pl.Series:
        """Values [n] of one column, which its name tells, as Float64."""
        key = path, values.name
        if key not in self._numbers:
            self._numbers[key] = NumberColumn(path, values.name, self._form)
        return self._numbers[key].read(values, lines)

    def times(self, path: Path, values: pl.Series, lines: pl.Series) -> pl.Series:
        """Values [n] of one column as seconds (Float64)."""
        key = path, values.name
        if key not in self._times:
            self._times[key] = TimeColumn(path, values.name, self._time_unit, self._time_form)
        return self._times[key].read(values, lines)

    def check(self, limit: float) -> list[str]:
        """Messages on what was decided and what could not be read since the last call.

        Args:
            limit: largest share of a column's values that may be no numbers.

        Raises:
            ValueError: Naming the column, the line and the value, if there are more.
        """
        messages = self._remarks + [remark for column in self._times.values() for remark in column.remarks]
        for column in self._numbers.values():
            messages += column.check(limit if self._strict else None)
        self._times, self._numbers, self._remarks = {}, {}, []
        return messages
