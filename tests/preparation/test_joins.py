"""Ids that do not meet are shown with the way in which they would."""

import pytest

from recbole_mgr.preparation.joins import Join, judge

WAYS = {
    "with letters and their marks in one form of Unicode (NFC)": ("M\xfcller", "Mu\u0308ller"),
    "without leading zeros": ("1087750", "01087750"),
    "in lower case": ("B00A", "b00a"),
    "without '.0' at the end": ("17", "17.0"),
    "without the folders before the name": ("a", "photos/a"),
    "without a file's suffix": ("a", "a.jpg"),
    "without folders and suffix": ("a", "photos\\\\a.jpg"),
    "as letters and digits alone": ("AB-12", "ab_12"),
    "by their digits alone": ("item_712", "712"),
}


@pytest.mark.parametrize(("way", "pair"), WAYS.items(), ids=WAYS)
@pytest.mark.parametrize("turned", [False, True])
def test_the_way_in_which_they_would_meet(way, pair, turned):
    one, other = pair[:: -1 if turned else 1]
    with pytest.raises(ValueError, match="pictures: 0 of 9; without .*would meet. Rename them") as error:
        judge(Join("pictures", 0, 9), ["?", one], ["!", other], "Rename them")
    assert f"; {way}, {one!r} and {other!r} would meet" in str(error.value)


def test_none_is_an_error_few_a_warning_and_enough_no_word():
    with pytest.raises(ValueError, match="x: 0 of 2; without partner are 'a' and 'b'. Mend it"):
        judge(Join("x", 0, 2), ["a"], ["b"], "Mend it")
    assert judge(Join("x", 1, 3), ["a"], [], "") == "x: 1 of 3; without partner are 'a'"
    assert judge(Join("x", 2, 3), ["a"], ["b"], "") == judge(Join("x", 0, 0), [], [], "") == ""
