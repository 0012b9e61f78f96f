"""The items that pages show: title, a line of facts, picture; in chunks, with an index to search them by words."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.cleaners import for_terminal
from recbole_mgr.data.item_file import ITEM_FIELD, PICTURE_FIELD, TITLE_FIELD, ItemText, picture_file, read_items
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat
from recbole_mgr.data.words import words_of
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.reporting.pages.thumbnails import make_thumbnails, shape_of

CHUNK = 500  # items
_LONGEST_TITLE, _LONGEST_FACT = 300, 60
# What readers leave out or type in other ways: accents, points of Hebrew, vowels of Arabic, joiners. Marks of other
# writings are letters of their words.
_LEFT_OUT = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\u200c\u200d]"
)
_SHARD_LETTERS = 2  # words that begin alike stand in one part of the index


class ShownItems(NamedTuple):
    """N items in one order, which their numbers 0..N-1 in all chunks refer to.

    Attributes:
        tokens: N item tokens.
        titles: N titles, "" where unknown.
        facts: N lines of what else is known, such as brand and category.
        pictures: N files, None where an item names none or the file is not there.
    """

    tokens: list[str]
    titles: list[str]
    facts: list[str]
    pictures: list[Path | None]

    def number_of(self) -> dict[str, int]:
        """Token -> number."""
        return {token: number for number, token in enumerate(self.tokens)}


def items_of_data(
    folder: Path, name: str, more: Sequence[str] = (), format: AtomicFormat = DEFAULT_FORMAT
) -> ShownItems:
    """Items of a data set: those of ``<name>.item``, then others that its interactions have.

    Args:
        folder, name: of the data set.
        more: tokens of all items that are to be there.
        format: how the file is written.

    Raises:
        ValueError: If ``<name>.item`` is malformed.
    """
    tokens: list[str] = []
    titles: list[str] = []
    facts: list[str] = []
    names: list[str] = []
    if (folder / f"{name}.item").is_file():
        table, types = read_items(folder, name, format)
        tokens = table[ITEM_FIELD].to_list()
        titles = table[TITLE_FIELD].to_list() if TITLE_FIELD in table.columns else [""] * len(tokens)
        names = table[PICTURE_FIELD].to_list() if PICTURE_FIELD in table.columns else [""] * len(tokens)
        shown = [field for field in types if field not in (ITEM_FIELD, TITLE_FIELD, PICTURE_FIELD)][:4]
        columns = [table[field].to_list() for field in shown]
        facts = [_facts(row) for row in zip(*columns, strict=True)] if columns else [""] * len(tokens)
    known = set(tokens)
    others = [token for token in dict.fromkeys(more) if token not in known]
    padding = [""] * len(others)
    pictures = [_picture(folder, named) for named in names]
    return ShownItems(
        [*tokens, *others],
        [for_terminal(title).strip()[:_LONGEST_TITLE] for title in [*titles, *padding]],
        [*facts, *padding],
        [*pictures, *[None] * len(others)],
    )


def items_of_run(tokens: Sequence[str], texts: Sequence[ItemText], folder: Path | None) -> ShownItems:
    """Items of a run directory, which knows their titles and the names of their pictures.

    Args:
        tokens, texts: N items.
        folder: of the data set, which has their pictures in ``images/``; None where it is not known.
    """
    pictures = [_picture(folder, text.image) for text in texts]
    return ShownItems(
        list(tokens),
        [for_terminal(text.title).strip()[:_LONGEST_TITLE] for text in texts],
        [""] * len(texts),
        list(pictures),
    )


def _picture(folder: Path | None, named: str) -> Path | None:
    """The picture that an item names, where it is there."""
    path = picture_file(folder, named) if folder else None
    return path if path and path.is_file() else None


def write_items(site: Site, items: ShownItems, counts: Sequence[int] | None = None) -> dict:
    """Write the items' chunks and their index.

    Args:
        site: gets ``items-<n>``, CHUNK items each, and ``search-<letters>``, words -> numbers of items.
        items: to write.
        counts: N, how often each was taken.

    Returns:
        What the scripts need to know of them.
    """
    thumbnails = make_thumbnails(items.pictures, site.folder, inline=site.single_file)
    for chunk, start in enumerate(range(0, len(items.tokens), CHUNK)):
        rows = slice(start, start + CHUNK)
        value = {
            "tokens": items.tokens[rows],
            "titles": items.titles[rows],
            "facts": items.facts[rows],
            "pictures": thumbnails[rows],
        }
        if counts is not None:
            value["counts"] = [int(count) for count in counts[rows]]
        site.chunk(f"items-{chunk}", value)
    shards = search_index(items)
    for shard, words in shards.items():
        site.chunk(f"search-{shard}", words)
    return {
        "count": len(items.tokens),
        "chunk": CHUNK,
        "shards": sorted(shards),
        "ratio": round(shape_of(thumbnails, site.folder), 3),
        "pictured": sum(map(bool, thumbnails)),
    }


def search_index(items: ShownItems) -> dict[str, dict[str, list[int]]]:
    """Shard -> word -> numbers of the items whose token, title or facts have it, ascending.

    The shard of a word is named by its first two characters' code points, so that any writing makes a file name.
    """
    shards: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, texts in enumerate(zip(items.tokens, items.titles, items.facts, strict=True)):
        for word in {word for text in texts for word in plain_words(text)}:
            shards["-".join(f"{ord(letter):x}" for letter in word[:_SHARD_LETTERS])][word].append(number)
    return {shard: dict(words) for shard, words in shards.items()}


def plain_words(text: str) -> list[str]:
    """Lower-case words without accents, as a search compares them; the pages' script does the same."""
    return words_of(_LEFT_OUT.sub("", unicodedata.normalize("NFKD", text.lower())))


def _facts(values: Sequence[str]) -> str:
    return " · ".join(for_terminal(value).strip()[:_LONGEST_FACT] for value in values if value)
