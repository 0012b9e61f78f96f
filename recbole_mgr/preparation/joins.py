"""Ids of one file that must meet those of another: how many do, and why not."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from os.path import splitext
from typing import NamedTuple

_FEW = 0.5  # a smaller share of matches is worth a warning
_COMPARED = 20_000  # ids of each side
_WAYS = {
    "with letters and their marks in one form of Unicode (NFC)": lambda text: unicodedata.normalize("NFC", text),
    "without leading zeros": lambda text: text.lstrip("0"),
    "in lower case": str.casefold,
    "without '.0' at the end": lambda text: text.removesuffix(".0"),
    "without the folders before the name": lambda text: re.split(r"[/\\]", text)[-1],
    "without a file's suffix": lambda text: splitext(text)[0],
    "without folders and suffix": lambda text: splitext(re.split(r"[/\\]", text)[-1])[0],
    "as letters and digits alone": lambda text: re.sub(r"[\W_]+", "", text).casefold().lstrip("0"),
    "by their digits alone": lambda text: re.sub(r"\D+", "", text).lstrip("0"),
}


class Join(NamedTuple):
    """How many of one thing found their partner.

    Attributes:
        what: in words, e.g. ``items described in products.csv``.
        matched, of: numbers.
        warning: what is to be said of it, where it is not judged on the spot.
    """

    what: str
    matched: int
    of: int
    warning: str = ""

    @property
    def share(self) -> float:
        return self.matched / self.of if self.of else 1.0


def judge(join: Join, ours: Iterable[str], theirs: Iterable[str], remedy: str) -> str:
    """What to say of a join.

    Args:
        join: the numbers.
        ours, theirs: ids of each side that have no partner.
        remedy: for a join that matches nothing.

    Returns:
        A warning if few match, else nothing.

    Raises:
        ValueError: if there is something to match and nothing does, with an id of each side.
    """
    if not join.of or join.share >= _FEW:
        return ""
    some = [[text for text, _ in zip(side, range(_COMPARED), strict=False)] for side in (ours, theirs)]
    shown = " and ".join(repr(side[0][:80]) for side in some if side)
    message = f"{join.what}: {join.matched:,} of {join.of:,}; without partner are {shown}{_way(*some)}"
    if not join.matched:
        raise ValueError(f"{message}. {remedy}")
    return message


def _way(ours: list[str], theirs: list[str]) -> str:
    """How ids of two sides would meet, if they would in a simple way."""
    for words, way in _WAYS.items():
        there = {way(text): text for text in theirs}
        there.pop("", None)
        for text in ours:
            if way(text) in there:
                return f"; {words}, {text!r} and {there[way(text)]!r} would meet"
    return ""
