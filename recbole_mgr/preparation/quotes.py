"""Rows with quoted values, and what tells that a quotation mark does not close where it should.

A mark that opens by accident swallows all rows up to the next mark, or to the end of the file. It shows by one of three
signs: the file ends inside a value; a value of several lines ends in the middle of another (at the next row's opening
mark); or, where the next mark happens to stand at the end of a value, by lines inside the value that look like rows of
their own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))  # characters; descriptions may be long pages
_REMEDY = (
    "close it, double the marks inside values, or read with --quotes none (marks are characters like any other) or "
    "--quotes trusted (the marks are right)"
)


class QuotedRows:
    """Splits lines of one file, in which values may be quoted, into rows.

    Args:
        path: the file, for messages.
        separator: of values.
        width: number of columns.
        checked: whether a mark that does not seem to close is an error.
    """

    def __init__(self, path: Path, separator: str, width: int, *, checked: bool) -> None:
        self._path, self._separator, self._width, self._checked = path, separator, width, checked
        self._longest = 1  # lines of a row of several lines which do not look like rows
        self._suspect = (0, 0)  # line and number of lines of the longest row whose lines do

    def read(self, lines: Iterator[str], enough: int, before: int) -> tuple[int, list[int], list[list[str]]]:
        """Read ``enough`` lines, or as many more as the last row has.

        Args:
            lines: the file's lines.
            enough: lines to read.
            before: number of lines that were read before.

        Returns:
            How many lines were read; of each row, the number of its last line; and its values.

        Raises:
            ValueError: Naming the line in which a mark opens that does not close.
        """
        taken: list[str] = []  # lines of the present row

        def recorded() -> Iterator[str]:
            for line in lines:
                taken.append(line)
                yield line

        reader = csv.reader(recorded(), delimiter=self._separator, strict=self._checked)
        numbers, rows, count = [], [], 0
        while count < enough:
            taken.clear()
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error:
                row = self._forgiven(taken, before + count)
            if len(taken) > 1 and self._checked:
                self._look(taken, before + count + 1)
            count += len(taken)
            if len(row) > 1 or row and row[0].strip():
                numbers.append(before + count)
                rows.append(row)
        return count, numbers, rows

    def check(self) -> None:
        """Look back on the whole file.

        Raises:
            ValueError: Naming the longest row whose lines look like rows, if no honest row has as many lines.
        """
        line, length = self._suspect
        if length > self._longest:
            raise ValueError(
                f"{self._path}, line {line}: a quotation mark opens a value that goes on for {length} lines, and those "
                f"look like rows of their own; {_REMEDY}"
            )

    def _look(self, taken: list[str], line: int) -> None:
        """Remember a row of several lines."""
        prose = f"{self._separator} "  # what no row has between values
        as_rows = (
            text.count(self._separator) == self._width - 1 and prose not in text and '""' not in text
            for text in taken[1:]
        )
        if all(as_rows):
            if len(taken) > self._suspect[1]:
                self._suspect = line, len(taken)
        else:
            self._longest = max(self._longest, len(taken))

    def _forgiven(self, taken: list[str], before: int) -> list[str]:
        """The values of a single line in which a mark inside a value is not doubled."""
        if len(taken) == 1:
            whole = True

            def once() -> Iterator[str]:
                nonlocal whole
                yield taken[0]
                whole = False  # the reader wants more: it is inside a value

            try:
                row = next(csv.reader(once(), delimiter=self._separator))
            except csv.Error:
                whole = False
            if whole:
                return row
        line = before + 1 + _opening(taken, self._separator)
        raise ValueError(
            f"{self._path}, line {line}: a quotation mark opens a value that does not close "
            f"within {len(taken):,} lines, or not at a value's end; {_REMEDY}"
        )


def _opening(lines: list[str], separator: str) -> int:
    """Number from 0 of the line in which the last quoted value opens, of lines that the csv module has refused."""
    opening, state = 0, "start"
    for number, line in enumerate(lines):
        for character in line:
            if state == "quoted":
                state = "closing" if character == '"' else "quoted"
            elif state == "closing" and character == '"':
                state = "quoted"
            elif character == separator or character in "\r\n":
                state = "start"
            elif state == "closing":
                return opening
            elif state == "start" and character == '"':
                opening, state = number, "quoted"
            else:
                state = "open"
    return opening
