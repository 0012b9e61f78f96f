"""Ids and texts of raw data as atomic files can hold them."""

import polars as pl
import pytest

from recbole_mgr.data.interactions import check_interactions
from recbole_mgr.preparation.cleaning import MISSING_WORDS, clean_ids, clean_text, odd_ids


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Tom &amp; Jerry&#39;s caf&eacute;", "Tom & Jerry's café"),
        ("two\tcolumns\r\nand\u2028lines\x00\x85end", "two columns and lines end"),
        ("  wide \u00a0 space ", "wide space"),
        ('"Hello" she said', '“Hello" she said'),
        ('7" tablet', '7" tablet'),
        ("&quot;quoted&quot;", '“quoted"'),
        ("&nbsp;", None),
        (" \n", None),
        ("", None),
        (None, None),
        ("می‌خواهم 👩‍👧", "می‌خواهم 👩‍👧"),  # joiners are no white space
    ],
)
def test_text(raw, clean):
    assert clean_text(pl.Series(["other & text", raw])).to_list() == ["other & text", clean]


@pytest.mark.parametrize("bad", ["", "  ", None, '"quoted', "tab\tin", "line\nin", "\x00", *sorted(MISSING_WORDS)])
def test_ids_that_no_atomic_file_can_hold(bad):
    assert clean_ids(pl.Series(["0012", bad, " a b "], dtype=pl.String)).to_list() == ["0012", None, "a b"]


def test_ids_that_only_look_the_same_are_told():
    """A letter and its mark are one character or two; that makes two ids of it."""
    (remark,) = odd_ids(pl.Series(["Jos\xe9", "Mu\u0308ller", "M\xfcller", "Muller"]), "user")
    assert remark.startswith("2 user ids look like another one, the first is 'Mu\u0308ller'")
    assert not odd_ids(pl.Series(["Jos\xe9", "Mu\u0308ller", "Muller"]), "user")


def test_numbers_become_ids():
    assert clean_ids(pl.Series([7, None])).to_list() == ["7", None]


def test_exactly_the_words_that_the_projects_loader_refuses(tmp_path):
    """Parity with check_interactions over all short words that pandas might know."""
    words = sorted(MISSING_WORDS | {"na", "Nan", "NONE", "Null", "-", "?", "N.A.", "nil", "inf", "0"})
    for word in words:
        path = tmp_path / "x.inter"
        path.write_text(f"user_id:token\titem_id:token\ttimestamp:float\nu\t{word}\t1\n")
        try:
            check_interactions(path)
            legal = True
        except ValueError:
            legal = False
        assert (clean_ids(pl.Series([word]))[0] is not None) == legal, word
