"""The page of semantic IDs: the tree to click through, use of the codes, items that collide, tables side by side."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.metrics import adjusted_mutual_info_score

from recbole_mgr.reporting.pages.figures import Figure
from recbole_mgr.reporting.pages.items import CHUNK, ShownItems, plain_words
from recbole_mgr.reporting.pages.neighbours import Nearest, nearest_by_codes
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.semantic_id.collisions import group_ids
from recbole_mgr.semantic_id.report import AMI_ITEMS, AMI_SEED, table_report
from recbole_mgr.semantic_id.table import Digit, SemanticIdTable

NEAR = 8  # neighbours of an item
_SAMPLES, _WORDS, _GROUPS = 6, 5, 120
_FEWEST_TITLES = 3  # with a word, for it to describe a prefix


class LabelledTable(NamedTuple):
    """Semantic IDs and what they are called, such as the label of the run they come from."""

    label: str
    table: SemanticIdTable


def add_ids_page(
    site: Site,
    tables: Sequence[LabelledTable],
    items: ShownItems,
    shown: Mapping[str, Any],
    counts: Sequence[int] | None,
) -> None:
    """Add ``ids.html`` and its chunks.

    Args:
        site: gets the page.
        tables: at least one; the first is shown first.
        items: all items, whose numbers the chunks refer to.
        shown: what `write_items` returned.
        counts: how often each item was taken; popular items stand for their branch.
    """
    shown_tables = [_add_table(site, number, labelled, items, counts) for number, labelled in enumerate(tables)]
    site.page("ids", "Semantic IDs", "ids.html", tables=shown_tables, items=shown, agreements=_agreements(tables))


def write_neighbours(site: Site, name: str, nearest: Nearest) -> None:
    """Write ``near-<name>-<chunk>``: for each item a list of (number, value)."""
    for chunk, start in enumerate(range(0, len(nearest.numbers), CHUNK)):
        rows = slice(start, start + CHUNK)
        lists = [
            [(int(number), round(float(value), 3)) for number, value in zip(*row, strict=True) if number >= 0]
            for row in zip(nearest.numbers[rows], nearest.values[rows], strict=True)
        ]
        site.chunk(f"near-{name}-{chunk}", lists)


def _add_table(
    site: Site,
    number: int,
    labelled: LabelledTable,
    items: ShownItems,
    counts: Sequence[int] | None,
) -> dict[str, Any]:
    table = labelled.table
    columns = [column for column, digit in enumerate(table.digits) if digit.kind != "transition"]
    digits = [_digit(table.digits[column]) for column in columns]
    codes = table.codes[1:, columns].numpy()  # [items of the table, digits]
    number_of = items.number_of()
    numbers = np.array([number_of[token] for token in table.item_tokens], dtype=np.int64)
    if counts is not None:  # popular ones first, within equal popularity those with a picture
        pictured = np.array([items.pictures[one] is not None for one in numbers])
        order = np.lexsort((~pictured, -np.asarray(counts)[numbers]))
        codes, numbers = codes[order], numbers[order]

    _write_item_chunks(site, number, numbers, codes, len(items.tokens))
    words = _describing_words(items, numbers, codes)
    root = []
    for code, rows in _rows_by_code(codes[:, 0]):
        root.append(
            {
                "code": code,
                "count": len(rows),
                "samples": numbers[rows[:_SAMPLES]].tolist(),
                "words": words.get((code,), ""),
            }
        )
        below = {key[1]: text for key, text in words.items() if len(key) == 2 and key[0] == code}
        branch = {"items": numbers[rows].tolist(), "codes": codes[rows, 1:].tolist(), "words": below}
        site.chunk(f"branch-{number}-{code}", branch)
    root.sort(key=lambda entry: (-entry["count"], entry["code"]))
    site.chunk(f"tree-{number}", {"label": labelled.label, "digits": digits, "root": root})
    groups = _collision_groups(table, number_of)
    return {
        "label": labelled.label,
        "digits": digits,
        "report": table_report(table),
        "use": _use_of_codes(table),
        "groups": groups[:_GROUPS],
        "groups_total": len(groups),
    }


def _digit(digit: Digit) -> dict[str, Any]:
    return {"name": digit.name, "modality": digit.modality, "size": digit.size, "kind": digit.kind}


def _rows_by_code(codes: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each code that occurs, and its rows in their order."""
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _write_item_chunks(site: Site, number: int, numbers: np.ndarray, codes: np.ndarray, count: int) -> None:
    """``codes-<table>-<chunk>`` and ``near-id-<table>-<chunk>``, by number of the item."""
    own: list[list[int] | None] = [None] * count
    for item, row in zip(numbers.tolist(), codes.tolist(), strict=True):
        own[item] = row
    near = nearest_by_codes(codes, NEAR)
    of_all = Nearest(np.full((count, NEAR), -1, dtype=np.int64), np.zeros((count, NEAR), dtype=np.float32))
    of_all.numbers[numbers] = np.where(near.numbers >= 0, numbers[near.numbers], -1)
    of_all.values[numbers] = near.values
    for chunk, start in enumerate(range(0, count, CHUNK)):
        site.chunk(f"codes-{number}-{chunk}", own[start : start + CHUNK])
    write_neighbours(site, f"id-{number}", of_all)


def _describing_words(items: ShownItems, numbers: np.ndarray, codes: np.ndarray) -> dict[tuple[int, ...], str]:
    """Prefix of one or two codes -> the words that its titles and facts have much more often than all items'."""
    everywhere: Counter[str] = Counter()
    below: defaultdict[tuple[int, ...], Counter[str]] = defaultdict(Counter)
    sizes: Counter[tuple[int, ...]] = Counter()
    for item, row in zip(numbers.tolist(), codes[:, :2].tolist(), strict=True):
        words = {
            word
            for text in (items.titles[item], items.facts[item])
            for word in plain_words(text)
            if len(word) > 2 and not word.isdigit() and word not in ENGLISH_STOP_WORDS
        }
        everywhere.update(words)
        for depth in range(1, len(row) + 1):
            below[tuple(row[:depth])].update(words)
            sizes[tuple(row[:depth])] += 1
    total = len(numbers)
    described = {}
    for prefix, found in below.items():
        scored = [
            (count * math.log(count / sizes[prefix] / (everywhere[word] / total)), word)
            for word, count in found.items()
            if count >= min(_FEWEST_TITLES, sizes[prefix])
        ]
        best = sorted((entry for entry in scored if entry[0] > 0), key=lambda entry: (-entry[0], entry[1]))[:_WORDS]
        described[prefix] = ", ".join(word for _, word in best)
    return described


def _use_of_codes(table: SemanticIdTable) -> Figure:
    """For each digit, the share of items with each of its codes, the most used first."""
    data, rows = [], []
    for column, digit in enumerate(table.digits):
        if digit.kind != "code":
            continue
        shares = np.sort(np.bincount(table.codes[1:, column].numpy(), minlength=digit.size))[::-1] / table.num_items
        colour = f"--{digit.modality}" if digit.modality in ("text", "image") else "--third"
        line = {"color": colour, "dash": ("solid", "dash", "dot", "dashdot")[digit.level % 4], "shape": "hv"}
        places = list(range(1, digit.size + 1))
        data.append(
            {"type": "scatter", "mode": "lines", "name": digit.name, "x": places, "y": shares.tolist(), "line": line}
        )
        rows.append(
            [digit.name, f"{shares[0]:.2%}", f"{np.median(shares):.2%}", f"{shares[-1]:.2%}", int((shares == 0).sum())]
        )
    layout = {
        "xaxis": {"title": {"text": "code, the most used first"}},
        "yaxis": {"title": {"text": "share of items"}, "tickformat": ".1%", "rangemode": "tozero"},
    }
    columns = ["Digit", "most used code", "median code", "least used code", "codes not used"]
    return Figure("Share of the items with each code", data, layout, columns, rows)


def _collision_groups(table: SemanticIdTable, number_of: Mapping[str, int]) -> list[list[int]]:
    """Numbers of the items that share all codes, the largest group first."""
    codes = table.codes[1:].numpy()
    is_code = [digit.kind == "code" for digit in table.digits]
    groups = group_ids(codes[:, is_code])
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    found = [[number_of[table.item_tokens[row]] for row in part] for part in parts if len(part) > 1]
    return sorted(found, key=lambda group: (-len(group), group))


def _agreements(tables: Sequence[LabelledTable]) -> list[list[Any]]:
    """AMI of the first codes of each modality between tables, on the items that both have."""
    rows = []
    for one, other in combinations(tables, 2):
        both = sorted(set(one.table.item_tokens) & set(other.table.item_tokens))
        if len(both) > AMI_ITEMS:
            both = np.random.default_rng(AMI_SEED).choice(both, AMI_ITEMS, replace=False).tolist()
        if not both:
            continue
        first = [_first_codes(labelled.table, both) for labelled in (one, other)]
        for modality, codes in first[0].items():
            for other_modality, other_codes in first[1].items():
                value = float(adjusted_mutual_info_score(codes, other_codes))
                rows.append([f"{one.label}: {modality}", f"{other.label}: {other_modality}", f"{value:.3f}"])
    return rows


def _first_codes(table: SemanticIdTable, tokens: Sequence[str]) -> dict[str, np.ndarray]:
    row_of = {token: row for row, token in enumerate(table.item_tokens, start=1)}
    rows = [row_of[token] for token in tokens]
    return {modality: table.codes[rows, table.block(modality).start].numpy() for modality in table.modalities}
