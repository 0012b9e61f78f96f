"""Reading whom to recommend to, line by line: users by id, or histories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from recbole_mgr.serving.messages import Request


def count_entries(path: Path) -> int:
    """How many ids or histories a file holds: its lines that are not blank.

    Raises:
        ValueError: If there is no such file, or it is not UTF-8.
    """
    return sum(1 for _ in _lines(path, None))


def read_tokens(path: Path, entries: range | None = None) -> Iterator[str]:
    """Ids from a UTF-8 file, one a line; blank lines are passed over.

    Args:
        path: of the file.
        entries: which of them, counted from 0; None reads all.

    Raises:
        ValueError: If there is no such file, or it is not UTF-8.
    """
    return (line for _, line in _lines(path, entries))


def read_histories(path: Path, entries: range | None = None) -> Iterator[Request]:
    """Histories from a UTF-8 file.

    A file ``.jsonl`` holds in each line a list of item ids, or an object with the keys ``user`` (any name) and
    ``history``; any other file item ids parted by blanks or tabs. Oldest item first. Histories without a name get
    the number of their line.

    Args:
        path: of the file.
        entries: which of them, counted from 0; None reads all.

    Raises:
        ValueError: If there is no such file, it is not UTF-8, or a line is not as described.
    """
    for number, line in _lines(path, entries):
        if path.suffix == ".jsonl":
            yield _parsed(line, number, where=f"{path}, line {number}")
        else:
            yield Request(str(number), line.split())


def _lines(path: Path, entries: range | None) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise ValueError(f"{path} does not exist; name a text file")
    with open(path, encoding="utf-8-sig") as file:
        stripped = enumerate((line.strip() for line in file), start=1)
        lines = ((number, line) for number, line in stripped if line)
        try:
            yield from lines if entries is None else islice(lines, entries.start, entries.stop)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 ({error}); save it with that encoding") from error


def _parsed(line: str, number: int, *, where: str) -> Request:
    expected = 'expected ["item", ...] or {"user": "name", "history": ["item", ...]}'
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:  # among them numbers without end
        raise ValueError(f"{where}: not JSON ({error}); {expected}") from error
    name = str(number)
    if isinstance(content, dict):
        if set(content) != {"user", "history"}:
            raise ValueError(f"{where}: the keys are {sorted(content)}; {expected}")
        name, content = content["user"], content["history"]
        if type(name) not in (str, int):
            raise ValueError(f"{where}: the user is no name; {expected}")
        name = str(name)
    # ids that are numbers are often written without quotation marks
    if not isinstance(content, list) or any(type(item) not in (str, int) for item in content):
        raise ValueError(f"{where}: the history is no list of item ids; {expected}")
    return Request(name, [str(item) for item in content])
