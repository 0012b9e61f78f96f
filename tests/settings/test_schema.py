"""The machinery of the schema: checks, words, and values in their own types."""

import math
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Ge, Lt

from recbole_mgr.settings.schema import Key, Keys, check_values, key
from recbole_mgr.settings.values import (
    Count,
    Counts,
    DeviceIds,
    Encoding,
    Interval,
    Mode,
    Names,
    Number,
    Positive,
    Switch,
)


class Paint(Keys):
    colour: Literal["red", "blue"] = key("What it is painted in")
    coats: Count = key("How often")


class House(Keys):
    """Keys of a made-up tool."""

    rooms: Count = key("Rooms")
    height: Positive = key("Metres")
    share: Annotated[Number, Ge(0), Lt(1)] | None = key("Of the ground")
    roof: Literal["flat", "steep"] = key("flat or steep")
    size: Annotated[int, Ge(2)] | Literal["auto"] = key("auto asks the neighbours")
    heated: Switch = key("Heat it")
    owners: Names = key("Who owns it")
    paint: Paint | None = key("How it is painted")


def refusal(name: str, value: object) -> str:
    with pytest.raises(ValueError) as error:
        House.all()[name].checked(value)
    return str(error.value)


@pytest.mark.parametrize("word", [True, "True", "true", "yes", "YES", "on", "1", 1])
def test_yes_in_any_spelling(word):
    assert House.all()["heated"].checked(word) is True


@pytest.mark.parametrize("word", [False, "False", "false", "no", "NO", "off", "0", 0])
def test_no_in_any_spelling(word):
    assert House.all()["heated"].checked(word) is False


@pytest.mark.parametrize("word", ["", "maybe", 2, None, [], math.nan])
def test_what_is_neither_yes_nor_no(word):
    assert "must be True or False" in refusal("heated", word)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("rooms", 0, "rooms: 0 must be a whole number >= 1"),
        ("rooms", "3", "rooms: '3' must be a whole number >= 1"),
        ("rooms", 3.0, "rooms: 3.0 must be a whole number >= 1"),
        ("rooms", True, "rooms: True must be a whole number >= 1"),
        ("height", 0, "height: 0 must be a number > 0"),
        ("height", math.nan, "height: nan must be a number > 0"),
        ("height", math.inf, "height: inf must be a number > 0"),
        ("height", False, "height: False must be a number > 0"),
        ("share", 1, "share: 1 must be None or a number in [0, 1)"),
        ("roof", "stepe", "roof: 'stepe' must be one of flat, steep; did you mean 'steep'?"),
        ("roof", None, "roof: None must be one of flat, steep"),
        ("size", 1, "size: 1 must be a whole number >= 2 or auto"),
        ("size", "aut", "size: 'aut' must be a whole number >= 2 or auto; did you mean 'auto'?"),
        ("owners", [""], "owners: [''] must be a list of names"),
        ("owners", [3], "owners: [3] must be a list of names"),
        ("paint", "red", "paint: 'red' must be None or a dictionary of colour, coats"),
        ("paint", {"coats": 0}, "paint: coats: 0 must be a whole number >= 1"),
        ("paint", {"colour": "rot"}, "paint: colour: 'rot' must be one of red, blue"),
        ("paint", {"color": "red"}, "paint has no key 'color'; did you mean 'colour'? it has colour, coats"),
        ("paint", {"x": 1}, "paint has no key 'x'; it has colour, coats"),
    ],
)
def test_a_wrong_value_is_a_sentence(name, value, sentence):
    assert refusal(name, value) == sentence


def test_a_long_value_is_cut():
    assert len(refusal("rooms", "x" * 10_000)) < 200


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(ValueError, match=r"rooms: 0 .*\nroof: 'x' "):
        check_values({"rooms": 0, "height": 3, "roof": "x"}, House.all())


def test_values_come_back_as_they_are_or_in_their_own_type():
    values = {"rooms": np.int64(3), "height": 2, "heated": "no", "owners": "Ann", "paint": {"coats": 2}, "other": 1}
    checked = check_values(values, House.all())
    assert checked == {"rooms": 3, "height": 2, "heated": False, "owners": ["Ann"], "paint": {"coats": 2}}
    assert [type(checked[name]) for name in ("rooms", "height", "heated")] == [int, int, bool]  # 2 is not made 2.0


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        (Interval, ["[5,inf)", "(0, 10]", "[1,2);[4,5]", "[-1.5,1e3]"], ["abc", "5", "[5,2]", "[5,)", "5,9", "[a,b]"]),
        (Mode, ["full", "labeled", "uni100", "pop5"], ["all", "uni", "uni0", "100", "unix"]),
        (Encoding, ["utf-8", "latin-1"], ["utf-99", ""]),
        (DeviceIds, ["0", "0,1", "", 1], ["gpu", "0;1", True, 1.5]),
        (Counts, [5, [5, 10]], [0, [], [0], "5", [2.5]]),
    ],
)
def test_types_of_our_own(annotation, good, bad):
    declared = Key("it", annotation, "")
    for value in good:
        declared.checked(value)
    for value in bad:
        if value != []:  # an empty list has no wrong entry
            with pytest.raises(ValueError, match="^it: .* must be "):
                declared.checked(value)


def test_device_ids_become_the_text_that_recbole_reads():
    assert Key("gpu_id", DeviceIds, "").checked((0, 1)) == "0,1"
    assert Key("gpu_id", DeviceIds, "").checked(2) == "2"


def test_keys_are_put_into_words():
    about = {name: (declared.type, declared.about) for name, declared in House.all().items()}
    assert about == {
        "rooms": ("int", "Rooms; >= 1"),
        "height": ("float", "Metres; > 0"),
        "share": ("float or None", "Of the ground; in [0, 1)"),
        "roof": ("str", "flat or steep"),
        "size": ("int or str", "auto asks the neighbours; >= 2"),
        "heated": ("bool", "Heat it"),
        "owners": ("list of str", "Who owns it"),
        "paint": ("dict or None", "How it is painted"),
    }
    assert Paint.all()["colour"].about == "What it is painted in; one of red, blue"
    assert list(House.all()["paint"].inner) == ["colour", "coats"]
