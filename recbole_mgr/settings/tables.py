"""The schema for readers: rows of a table, comments of property files, the page ``docs/settings.md``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from recbole_mgr.settings.schema import Key


class Row(NamedTuple):
    """A key as a table shows it; ``name`` is ``key.inner`` for a key inside a dictionary."""

    name: str
    default: str
    type: str
    meaning: str


def rows(keys: Mapping[str, Key], defaults: Mapping[str, Any]) -> list[Row]:
    """Every key, and the keys inside dictionaries below theirs.

    Args:
        keys: by name.
        defaults: by name; a key without one has an empty default.
    """
    table = []
    for name, key in keys.items():
        table.append(Row(name, written(defaults[name]) if name in defaults else "", key.type, key.about))
        inner_defaults = defaults.get(name) if key.inner else None
        for inner in rows(key.inner, inner_defaults if isinstance(inner_defaults, Mapping) else {}):
            table.append(inner._replace(name=f"{name}.{inner.name}"))
    return table


def written(value: Any) -> str:
    """A value as a property file has it, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False).strip()
    return text.removesuffix("\n...").replace("null", "~")


def text_table(table: Iterable[Row], width: int) -> str:
    """The rows below each other, meanings wrapped at ``width`` columns."""
    import textwrap

    lines = []
    for row in table:
        lines.append(f"{row.name} = {row.default}  ({row.type})" if row.default else f"{row.name}  ({row.type})")
        lines += textwrap.wrap(row.meaning, width=max(width, 40), initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def markdown_table(table: Iterable[Row]) -> str:
    """The rows as a table of Markdown."""
    lines = ["| key | default | type | meaning |", "|---|---|---|---|"]
    for row in table:
        default = f"`{row.default}`" if row.default else ""
        cells = (f"`{row.name}`", default, row.type, row.meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |")
    return "\n".join(lines)


def commented(text: str, keys: Mapping[str, Key]) -> str:
    """A property file with the comment of every key line made from the schema; other lines stay.

    Args:
        text: of the file.
        keys: of its group.

    Raises:
        ValueError: If a key of the file is not in the schema.
    """
    lines, outer = [], keys
    for line in text.splitlines():
        found = re.match(r"^( *)([A-Za-z_]\w*):(.*)$", line)
        if not found:
            lines.append(line)
            continue
        indent, name, rest = found.groups()
        if not indent:
            if name not in keys:
                raise ValueError(f"{name}: is in no group of recbole_mgr/settings; declare it there")
            key, outer = keys[name], keys[name].inner
        elif name in outer:
            key = outer[name]
        else:
            lines.append(line)
            continue
        value = f"{indent}{name}:{re.split(r' +# ', rest, maxsplit=1)[0]}".rstrip()
        lines.append(f"{value:<32} # ({key.type}) {key.about}.")
    return "\n".join(lines) + "\n"
