"""Reading YAML and JSON files that may come from anybody: what is odd or hostile is refused by name.

Aliases in YAML can make a small file stand for more entries than any memory holds ("billion laughs"), and nesting
without end exhausts the stack of whoever walks through the content. Both are found in the file's events, before
anything is built.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 26  # 64 MiB of YAML; ours have kilobytes
MOST_ENTRIES = 5_000_000  # with aliases written out
DEEPEST = 50  # levels of lists and dictionaries inside each other
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one where PyYAML was built with it


def read_yaml(path: Path, *, remedy: str, may_be_empty: bool = False, loader: type = _SafeLoader) -> dict[str, Any]:
    """Read a YAML file of ``key: value`` lines.

    Args:
        path: a file that exists.
        remedy: what the error advises, e.g. ``restore the file``.
        may_be_empty: whether a file without content is an empty dictionary, and no error.
        loader: PyYAML's class that reads it, one that builds no objects.

    Raises:
        ValueError: Naming the file and the remedy: it is no YAML, holds no dictionary, gives a key twice, is nested
            deeper than DEEPEST, or its aliases stand for more than MOST_ENTRIES entries.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
        _check_events(text, loader)
        content = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise ValueError(f"{path}: not valid YAML ({error}); {remedy}") from error
    if content is None and may_be_empty:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected 'key: value' lines, found a {type(content).__name__}; {remedy}")
    odd = next((key for key in content if not isinstance(key, str)), None)
    if odd is not None:
        raise ValueError(f"{path}: the key {odd!r} is no word; {remedy}")
    return content


def read_json(path: Path, *, remedy: str) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        remedy: what the error advises.

    Raises:
        ValueError: Naming the file and the remedy: it is missing, no JSON in UTF-8, or nested deeper than DEEPEST.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_depth(content)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); {remedy}") from error
    return content


def check_depth(content: Any) -> None:
    """Raises ValueError if plain data are nested deeper than DEEPEST, which what walks through them may not bear."""
    level = [content]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += (entry for entry in value.values() if isinstance(entry, (dict, list)))
            elif isinstance(value, list):
                inner += (entry for entry in value if isinstance(entry, (dict, list)))
        if not inner:
            return
        level = inner
    raise ValueError(f"nested deeper than {DEEPEST} levels")


class _Open:
    """A list or dictionary whose end has not been read."""

    def __init__(self, anchor: str | None, keys: dict[str, int] | None) -> None:
        self.anchor = anchor
        self.entries = 1  # it and all that it holds, with aliases written out
        self.keys = keys  # of a dictionary: key -> line
        self.at_key = keys is not None


def _check_events(text: str, loader: type) -> None:
    """Refuse what may not be built; `read_yaml` says what."""
    sizes: dict[str, int] = {}  # anchor -> entries
    open_: list[_Open] = [_Open(None, None)]
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            if len(open_) > DEEPEST:
                raise ValueError(f"line {event.start_mark.line + 1}: nested deeper than {DEEPEST} levels")
            open_.append(_Open(event.anchor, {} if isinstance(event, yaml.MappingStartEvent) else None))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            closed = open_.pop()
            anchor, entries = closed.anchor, closed.entries
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                line = event.start_mark.line + 1
                raise ValueError(f"line {line}: the alias *{event.anchor} names nothing that stands whole before it")
            anchor, entries = None, sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            anchor, entries = event.anchor, 1
            _check_key(open_[-1], event)
        else:
            continue
        if anchor:
            sizes[anchor] = entries
        parent = open_[-1]
        parent.entries += entries
        parent.at_key = parent.keys is not None and not parent.at_key
        if parent.entries > MOST_ENTRIES:
            line = event.start_mark.line + 1
            raise ValueError(f"line {line}: its aliases stand for more than {MOST_ENTRIES:,} entries")


def _check_key(parent: _Open, event: yaml.ScalarEvent) -> None:
    if parent.at_key:
        line = event.start_mark.line + 1
        if event.value in parent.keys and event.value != "<<":
            raise ValueError(f"the key {event.value!r} stands in line {parent.keys[event.value]} and in line {line}")
        parent.keys[event.value] = line
