"""What ``<name>.item`` says of each item in words, before any tokenizer: attribute texts, titles, categories, queries.

Named policies: an attribute that is empty reads "unknown"; a title that is empty, the words of the item's id. A path
such as ``Beauty > Hair Care > Shampoo`` is read from its leaf, so that a cut keeps what is most particular.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from recbole_mgr.data.item_file import ITEM_FIELD, PICTURE_FIELD, TITLE_FIELD, read_items
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat
from recbole_mgr.data.words import words_of

logger = logging.getLogger(__name__)

UNKNOWN = "unknown"
_PATH = re.compile(r"\s+>\s+")


class ItemWords(NamedTuple):
    """Texts of N items, in the order of the data set.

    Attributes:
        fields: attribute -> N texts, none of them empty.
        titles: N titles, none of them empty.
        pictures: N file names under ``images/``, "" where there is none.
        categories: N categories (the leaf of a path), "" where there is none.
        queries: N words to search the item with, none of them empty.
    """

    fields: dict[str, list[str]]
    titles: list[str]
    pictures: list[str]
    categories: list[str]
    queries: list[str]


def read_item_words(
    folder: Path,
    name: str,
    item_tokens: Sequence[str],
    *,
    text_fields: Sequence[str],
    category_field: str,
    search_title_words: int,
    format: AtomicFormat = DEFAULT_FORMAT,
) -> ItemWords:
    """Read ``<name>.item`` for the items of a data set.

    Args:
        folder, name: of the data set.
        item_tokens: N items wanted; one without a row counts as one without any text.
        text_fields: the columns that are read as attributes.
        category_field: the column that holds the category; where there is no such column, no item has one.
        search_title_words: words of the title that a query has beside the category, >= 0.
        format: how the file is written.

    Raises:
        ValueError: As `read_items`; also where ``text_fields`` names a column that does not exist, or no item of the
            data set has a row.
    """
    table, types = read_items(folder, name, format)
    path = folder / f"{name}.item"
    require_fields(path, types, text_fields)
    known = table[ITEM_FIELD].is_in(list(item_tokens)).sum()
    if not known:
        raise ValueError(
            f"{path}: none of its {table.height} items (first: {table[ITEM_FIELD][0]!r}) is an item of {name}.inter "
            f"(first: {item_tokens[0]!r}); ids must be written alike"
        )
    if known < len(item_tokens):
        logger.info("%s: %d items of the data set have no row and so no text", path, len(item_tokens) - known)
    wanted = pl.DataFrame({ITEM_FIELD: list(item_tokens)})
    rows = wanted.join(table, on=ITEM_FIELD, how="left", maintain_order="left").fill_null("")

    def column(field: str) -> list[str]:
        return rows[field].str.strip_chars().to_list() if field in types else [""] * len(item_tokens)

    titles = [title or _words_of(token) for title, token in zip(column(TITLE_FIELD), item_tokens, strict=True)]
    categories = [_PATH.split(value)[-1] for value in column(category_field)]
    return ItemWords(
        fields={
            field: titles if field == TITLE_FIELD else [_leaf_first(value) or UNKNOWN for value in column(field)]
            for field in text_fields
        },
        titles=titles,
        pictures=column(PICTURE_FIELD),
        categories=categories,
        queries=[
            " ".join([category, *title.split()[:search_title_words]]).strip() or UNKNOWN
            for category, title in zip(categories, titles, strict=True)
        ],
    )


def require_fields(path: Path, columns: Iterable[str], text_fields: Iterable[str]) -> None:
    """Refuse ``text_fields`` that are not among a ``.item`` file's columns; raises ValueError naming the remedy."""
    unknown = [field for field in text_fields if field not in columns]
    if unknown:
        raise ValueError(
            f"text_fields: {path} has no column {unknown[0]!r}; choose from {', '.join(columns)}, each with the most "
            "tokens it gets, as in {title: 10}"
        )


def _leaf_first(value: str) -> str:
    return " ".join(reversed(_PATH.split(value)))


def _words_of(item_token: str) -> str:
    return " ".join(words_of(item_token.replace("_", " "))) or item_token
