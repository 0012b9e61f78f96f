"""Semantic IDs as JSON with a map of ids: the form in which LC-Rec, LETTER and MQL4GRec publish them.

    index.json    {"0": ["<a_170>", "<b_224>", "<c_251>"], "1": ...}
    item2id       B002SQJL9U <TAB> 0

The letter of a token stands for its level, its number is the code; plain numbers are read too. Without a map the keys
of the JSON are the item ids themselves.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mgr.data.table import read_lines

LARGEST_CODE = 2**20 - 1  # a model has weights for each code below the largest
_TOKEN = re.compile(r"<?([A-Za-z]*)_?(\d{1,7})>?")
_SHOWN = 60  # characters of a foreign value in a message


def read_json_codes(path: Path, item2id: Path | None = None) -> tuple[list[str], np.ndarray]:
    """Read semantic IDs from JSON.

    Args:
        path: an object of key -> list of tokens, one for each level.
        item2id: lines ``item <TAB> key`` (or the other way round), or a JSON object of item -> key; None where the keys
            are the item ids.

    Returns:
        Item tokens and their codes, int64 [items, levels], in the order of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: Naming file, key and remedy, in a few words however large the file is.
    """
    index = _read_object(path, 'an object of item -> list of tokens, such as {"0": ["<a_1>", "<b_7>"]}')
    rows, letters = [], None
    for key, tokens in index.items():
        codes, levels = _codes(path, key, tokens)
        letters = letters or levels
        if levels != letters:
            raise ValueError(
                f"{path}: item {_short(key)} has the levels {_short(levels)}, the first item {_short(letters)}; every "
                "item needs the same levels in the same order"
            )
        rows.append(codes)
    if not rows:
        raise ValueError(f"{path}: holds no items")
    keys = list(index)
    if item2id is None:
        return keys, np.array(rows, dtype=np.int64)
    item_of = _read_map(item2id, path, set(keys))
    known = [row for row, key in enumerate(keys) if key in item_of]
    return [item_of[keys[row]] for row in known], np.array(rows, dtype=np.int64)[known]


def _read_object(path: Path, form: str) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"semantic_ids: there is no file {path}")

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise ValueError(f"the key {_short(repeated)} stands there twice")
        return content

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=distinct)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it with that encoding"
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}: not JSON ({error.msg}); give {form}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not as expected ({error}); give {form}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}; give {form}")
    return content


def _codes(path: Path, key: str, tokens: Any) -> tuple[list[int], tuple[str, ...]]:
    """Codes of an item, and the letter of each level ("" for plain numbers)."""
    parsed = [_TOKEN.fullmatch(str(token)) for token in tokens] if isinstance(tokens, list) else []
    if not parsed or not all(parsed) or any(isinstance(token, bool) for token in tokens):
        raise ValueError(
            f'{path}: item {_short(key)}: {_short(tokens)} is no list of tokens such as "<a_1>" or of numbers >= 0'
        )
    codes = [int(match[2]) for match in parsed]
    if max(codes) > LARGEST_CODE:
        raise ValueError(
            f"{path}: item {_short(key)}: code {max(codes)} is above {LARGEST_CODE:,}; number the codes from 0 on"
        )
    return codes, tuple(match[1] for match in parsed)


def _read_map(item2id: Path, path: Path, keys: set[str]) -> dict[str, str]:
    """Key of the JSON -> item token."""
    if not item2id.is_file():
        raise FileNotFoundError(f"item2id: there is no file {item2id}")
    if item2id.suffix == ".json":
        pairs = [(item, str(key)) for item, key in _read_object(item2id, "an object of item -> number").items()]
    else:
        pairs = []
        for number, line in enumerate(read_lines(item2id), start=1):
            fields = line.split("\t") if "\t" in line else line.split()
            if len(fields) != 2:
                raise ValueError(f"{item2id}, line {number}: {_short(line)} is not an item id, a tab and a number")
            pairs.append((fields[0].strip(), fields[1].strip()))
    met = [sum(pair[side] in keys for pair in pairs) for side in (0, 1)]
    if not any(met):
        first = _short(pairs[0][1]) if pairs else "nothing"
        raise ValueError(
            f"{item2id}: none of its numbers (first: {first}) is a key of {path} (first: {_short(next(iter(keys)))}); "
            "give the map that belongs to it"
        )
    if met[0] > met[1]:  # number first, then item
        pairs = [(item, key) for key, item in pairs]
    item_of: dict[str, str] = {}
    items: set[str] = set()
    for item, key in pairs:
        if key in item_of or item in items or not item:
            raise ValueError(f"{item2id}: item {_short(item)} or number {_short(key)} stands there twice, or is empty")
        item_of[key] = item
        items.add(item)
    return item_of


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
