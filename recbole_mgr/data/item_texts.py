"""What is shown of an item beside its id: title and picture name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.files import replacing

_ITEM, _TEXTS = "item_id:token", ("title:token_seq", "image:token")


class ItemText(NamedTuple):
    """Title and picture of one item, "" where unknown."""

    title: str
    image: str


def read_item_texts(path: Path, item_tokens: Sequence[str]) -> list[ItemText]:
    """Texts of items from a ``.item`` file.

    Args:
        path: the file; it need not exist, nor have a title or picture column. Its first row of an item counts.
        item_tokens: N items wanted.

    Returns:
        N texts in the order of ``item_tokens``.

    Raises:
        ValueError: If the file is not UTF-8, has no column ``item_id:token``, or a row has too many values.
    """
    texts: dict[str, ItemText | None] = dict.fromkeys(item_tokens)
    for token, text in _rows(path) if path.is_file() else ():
        if token in texts and texts[token] is None:
            texts[token] = text
    return [texts[token] or ItemText("", "") for token in item_tokens]


def read_all_item_texts(path: Path) -> dict[str, ItemText]:
    """Item token -> text of a ``.item`` file, in its order; errors as in `read_item_texts`."""
    return dict(_rows(path))


def write_item_texts(path: Path, item_tokens: Sequence[str], texts: Sequence[ItemText]) -> None:
    """Write a ``.item`` file."""
    with replacing(path) as unfinished, open(unfinished, "w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join((_ITEM, *_TEXTS)) + "\n")
        file.writelines("\t".join((token, *text)) + "\n" for token, text in zip(item_tokens, texts, strict=True))


def _rows(path: Path) -> Iterator[tuple[str, ItemText]]:
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        try:
            header = file.readline().rstrip("\r\n").split("\t")
            if _ITEM not in header:
                raise ValueError(f"{path}, line 1: no column {_ITEM} in {header}; add it (columns part at tabs)")
            item, *texts = (header.index(column) if column in header else None for column in (_ITEM, *_TEXTS))
            for number, line in enumerate(file, start=2):
                fields = line.rstrip("\r\n").split("\t")
                if len(fields) > len(header):
                    raise ValueError(
                        f"{path}, line {number}: {len(fields)} values where the header has {len(header)} columns; "
                        "remove the tabs that are too many"
                    )
                fields += [""] * (len(header) - len(fields))
                yield fields[item], ItemText(*("" if column is None else fields[column] for column in texts))
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 ({error}); save it with that encoding") from error
