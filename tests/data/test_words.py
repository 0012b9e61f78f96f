"""What a word is, in any writing."""

import re
import sys
import unicodedata

import pytest

from recbole_mgr.data.words import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L'Oréal, 30 ml: 2×snake_case!", ["L", "Oréal", "30", "ml", "2", "snake_case"]),
        ("हिन्दी की, ที่นี่", ["हिन्दी", "की", "ที่นี่"]),
        ("Rose\u0301s", ["Rose\u0301s"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("口紅 rouge ²", ["口紅", "rouge", "²"]),
        ("I ❤\ufe0flove 👩\u200d🔬!", ["I", "love"]),  # marks that belong to no letter
        ("", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words


def test_english_is_cut_as_by_python():
    text = "A 3-in-1 set (2 pcs.), 'Rosé' & crème; naïve_id №5 – Ærø's ½"
    assert words_of(text) == re.findall(r"\w+", text)


def test_every_mark_goes_on_with_a_word():
    signs = map(chr, range(sys.maxunicode + 1))
    marks = "".join(sign for sign in signs if unicodedata.category(sign)[0] == "M")
    assert words_of(f"a{marks}") == [f"a{marks}"]
