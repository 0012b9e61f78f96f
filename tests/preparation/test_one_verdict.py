"""A folder of atomic files gets one verdict: what check and a run refuse, prepare refuses or counts as a broken row."""

import codecs
import gzip

import polars as pl
import pytest

from recbole_mgr.data.interactions import judged_interactions, read_interactions
from recbole_mgr.data.item_file import read_items
from recbole_mgr.data.table import PROBLEM, AtomicFormat
from recbole_mgr.preparation.pipeline import Settings, prepare
from recbole_mgr.preparation.sources.atomic import AtomicFolder

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
GOOD = ["u\ti\t1", "u\tj\t2", "v\ti\t3"]
ROWS = {  # one row more, and what is the matter with it
    "fine": ("v\tj\t4", None),
    "too many values": ("v\tj\t4\tx", "more than 3 values"),
    "no user": ("\tj\t4", "user_id is empty or a word that reads as missing (NA, null, None, nan, ...)"),
    "a word that reads as missing": ("v\tNA\t4", "item_id is empty or a word that reads as missing (NA, null, None, "),
    "blanks around": ("v \tj\t4", "user_id has blanks around it"),
    "no time": ("v\tj", "timestamp is not a finite number"),
    "time in words": ("v\tj\tlate", "timestamp is not a finite number"),
    "infinite time": ("v\tj\tinf", "timestamp is not a finite number"),
    "quotation mark": ('v\t"j\t4', "a value begins with a quotation mark"),
    "number with a comma": ("v\tj\t1,000", "timestamp is not a finite number"),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Shop").mkdir()
    return tmp_path / "Shop"


def prepared(folder, said=None, *, format=AtomicFormat(), **settings):  # noqa: B008 - immutable
    settings = {"user_core": 0, "item_core": 0, "broken_share": 1.0, **settings}
    source = AtomicFolder(folder, format)
    say = (lambda _: None) if said is None else said.append
    return prepare(source, Settings(name="Out", output=folder.parent / "data", **settings), say)


def tokens(path, format=AtomicFormat()):  # noqa: B008 - immutable
    rows = read_interactions(path, format)
    numbers = zip(rows.users, rows.items, rows.times, strict=True)
    return [(rows.user_tokens[user], rows.item_tokens[item], time) for user, item, time in numbers]


@pytest.mark.parametrize(("row", "problem"), ROWS.values(), ids=ROWS)
def test_a_row_that_a_run_refuses_is_a_broken_row_of_prepare(folder, row, problem):
    path = folder / "Shop.inter"
    path.write_text("\n".join([HEADER, *GOOD, row]) + "\n")
    rows, _ = judged_interactions(path)
    said = []
    target = prepared(folder, said)
    kept = (target / "Out.inter").read_text().splitlines()[1:]
    if problem is None:
        assert rows[PROBLEM].null_count() == 4 and kept == [*GOOD, row]
    else:
        assert rows[PROBLEM].to_list()[:3] == [None] * 3 and rows[PROBLEM][3].startswith(problem)
        assert kept == GOOD
        assert any("1 of 4 rows skipped, the first in line 5: " + problem in line for line in said)


SAME_FILES = {
    "byte order mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "blank lines": lambda text: ("\n" + text).replace("\n", "\n\n").encode()[2:] + b"\n \n\t\n",
    "no line end": lambda text: text.rstrip("\n").encode(),
}


@pytest.mark.parametrize("written", SAME_FILES.values(), ids=SAME_FILES)
def test_marks_line_ends_and_blank_lines_make_no_difference(folder, written):
    text = "\n".join([HEADER, *GOOD]) + "\n"
    (folder / "Shop.inter").write_bytes(written(text))
    (folder / "Shop.item").write_bytes(written("item_id:token\ttitle:token_seq\ni\tBalm\nj\tSoap\n"))
    (folder / "Shop.review").write_bytes(written("user_id:token\titem_id:token\treview:token_seq\nu\tj\tfine\n"))
    target = prepared(folder)
    assert (
        tokens(folder / "Shop.inter") == tokens(target / "Out.inter") == [("u", "i", 1), ("u", "j", 2), ("v", "i", 3)]
    )
    assert read_items(folder, "Shop")[0]["title"].to_list() == ["Balm", "Soap"]
    assert read_items(target, "Out")[0]["title"].to_list() == ["Balm", "Soap"]
    assert (target / "Out.review").read_text().splitlines()[1:] == ["u\tj\tfine"]


def test_encoding_separator_and_field_names_are_those_of_the_settings(folder):
    format = AtomicFormat(user="who", item="what", time="when", rating="stars", encoding="cp1252", separator=";")
    (folder / "Shop.inter").write_text("what:token;who:token;when:float;stars:float\né;u;1;4\n", encoding="cp1252")
    (folder / "Shop.item").write_text("what:token;title:token_seq\né;Crème\n", encoding="cp1252")
    target = prepared(folder, format=format)
    assert (target / "Out.inter").read_text(encoding="utf-8").splitlines() == [
        f"{HEADER}\trating:float",
        "u\té\t1\t4.0",
    ]
    assert read_items(target, "Out")[0]["title"].to_list() == ["Crème"]
    with pytest.raises(ValueError, match="needs a column user_id:token"):
        AtomicFolder(folder, AtomicFormat(encoding="cp1252", separator=";"))


REFUSED = {
    "packed": (gzip.compress((HEADER + "\nu\ti\t1\n").encode()), r"is compressed \(gzip\); unpack it"),
    "another encoding": ((HEADER + "\nu\té\t1\n").encode("cp1252"), "line 2: not UTF-8; save it with that encoding"),
    "only a header": (HEADER.encode(), "holds no interactions, only a header"),
    "untyped": (b"user_id\titem_id\ttimestamp\nu\ti\t1\n", "'user_id' is not written name:type"),
    "no time": (b"user_id:token\titem_id:token\nu\ti\n", "needs a column timestamp:float"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_a_run_refuses_as_a_whole_prepare_refuses_too(folder, content, message):
    (folder / "Shop.inter").write_bytes(content)
    with pytest.raises(ValueError, match=message) as theirs:
        read_interactions(folder / "Shop.inter")
    with pytest.raises(ValueError, match=message) as ours:
        prepared(folder)
    assert str(ours.value) == str(theirs.value)


def test_reviews_and_short_rows_that_are_odd_are_told(folder):
    (folder / "Shop.inter").write_text("\n".join([HEADER, *GOOD]) + "\n")
    (folder / "Shop.item").write_text("item_id:token\ttitle:token_seq\tprice:float\ni\tBalm\nj\tSoap\t2\n")
    header = "user_id:token\titem_id:token\treview:token_seq\n"
    (folder / "Shop.review").write_text(header + "u\ti\tfine\nu\tj\tgood\ttoo\nNA\tj\tx\n")
    said = []
    target = prepared(folder, said)
    assert (target / "Out.review").read_text().splitlines()[1:] == ["u\ti\tfine"]
    told = "\n".join(said)
    assert "Shop.item, line 2: fewer than 3 values (1 such lines)" in told
    assert "Shop.review, line 3: more than 3 values (1 such lines)" in told
    assert "Shop.review, line 4: user_id is empty or a word" in told


def test_a_column_of_the_items_whose_name_has_a_meaning_here_is_not_lost(folder):
    (folder / "Shop.inter").write_text(f"{HEADER}\nu\ti\t1\n")
    (folder / "Shop.item").write_text("item_id:token\titem_number:token\ni\t7\n")
    with pytest.raises(ValueError, match="column name 'item_number' has a meaning of its own here; rename it"):
        AtomicFolder(folder)


def test_columns_that_are_not_taken_over_are_told(folder):
    (folder / "Shop.inter").write_text(f"{HEADER}\trating:token\tshop:token\nu\ti\t1\tgood\tx\n")
    said = []
    target = prepared(folder, said)
    assert (target / "Out.inter").read_text().splitlines()[0] == HEADER
    assert f"warning: {folder / 'Shop.inter'}: not taken over are the columns rating:token, shop:token" in said


def test_fields_keep_their_types_and_values(folder):
    (folder / "Shop.inter").write_text(f"{HEADER}\nu\ti\t1\n")
    (folder / "Shop.item").write_text('item_id:token\tuser:token\tsize:float\ttitle:token_seq\ni\tme\t1.50\t7" pan\n')
    rows, types = read_items(prepared(folder), "Out")
    assert types == {"item_id": "token", "user": "token", "size": "float", "title": "token_seq", "image": "token"}
    assert rows.row(0) == ("i", "me", "1.50", '7" pan', "")
    assert rows.schema["size"] == pl.String
