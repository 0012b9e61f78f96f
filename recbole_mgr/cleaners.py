"""Words of others made harmless where they come out: titles, ids, names of columns and files, answers of models.

One function for each place: a terminal, Markdown, HTML, CSV. Characters that steer a terminal, turn the direction of
writing or end a line become visible, so that nobody can forge a line or a cell; files that machines read back (atomic
files, JSON, Parquet) hold the words as they are.
"""

from __future__ import annotations

import html
import re
import sys
from typing import Any, TextIO

# Control characters, marks that turn or hide writing, halves of surrogate pairs, which no encoding can write.
_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_LINE_ENDS = "\t\n\v\f\r\x85\u2028\u2029"
_MARKDOWN = re.compile(r"[\\`*|<]|\](?=[\[(:])")
_NUMBER = re.compile(r"[-+]?[\d.,%±/ ]+([eE][-+]?\d+)?")


def for_terminal(text: str) -> str:
    r"""One line of plain text: line ends and tabs are blanks, other steering characters stand as escapes (``\x1b``)."""
    return _STEERING.sub(_visible, text)


def for_markdown(text: str) -> str:
    """Text within a line or a cell of a table, that cannot end it, begin markup or HTML, or make a link."""
    return _MARKDOWN.sub(lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", for_terminal(text))


def for_html(text: str) -> str:
    """Text between tags or inside a quoted attribute, for whatever does not escape by itself (as Jinja does)."""
    return html.escape(for_terminal(text))


def for_csv(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: words that begin like one get an apostrophe before them.

    Numbers, and words that are numbers, stay as they are.
    """
    if not isinstance(value, str) or value[:1] not in tuple("=+-@\t\r\n＝＋－＠") or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def print_line(text: str, *, file: TextIO | None = None) -> None:
    """Print one line for people."""
    print(for_terminal(text), file=file or sys.stdout, flush=True)


def _visible(found: re.Match[str]) -> str:
    character = found[0]
    if character in _LINE_ENDS:
        return " "
    return character.encode("ascii", "backslashreplace").decode() if character > "\x7f" else f"\\x{ord(character):02x}"
