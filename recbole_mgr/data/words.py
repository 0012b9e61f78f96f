"""What a word is, in any writing: one rule for vectors of texts, metrics of texts and the search of pages."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata

_ASCII_WORD = re.compile(r"\w+")  # the same as below, without its table


def words_of(text: str) -> list[str]:
    """The words of a text, as they are written.

    A word begins with a letter, a digit or ``_``. Marks, such as vowels of Hindi and Thai, and the two joiners go on
    with it, as Unicode's own rule has it (UAX 29); the ``\\w`` of Python's re ends there. A mark without a letter,
    such as that which makes a sign an emoji, is no word. The pages' script (``state.js``) does the same.
    """
    return (_ASCII_WORD if text.isascii() else _word()).findall(text)


@functools.cache
def _word() -> re.Pattern[str]:
    # the planes that have marks; Python's re knows no class of them
    signs = map(chr, itertools.chain(range(0x300, 0x20000), range(0xE0100, 0xE01F0)))
    marks = "".join(sign for sign in signs if unicodedata.category(sign)[0] == "M")
    return re.compile(rf"\w[\w{marks}\u200c\u200d]*")
