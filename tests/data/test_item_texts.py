"""Titles and pictures from .item files."""

import pytest

from recbole_mgr.data.item_file import ItemText, read_all_item_texts, read_item_texts, write_item_texts
from recbole_mgr.data.table import AtomicFormat


def test_rows_are_found_by_item_and_gaps_are_empty(tmp_path):
    path = tmp_path / "shop.item"
    path.write_text(
        'item_id:token\tprice:float\ttitle:token_seq\n007\t1\tSay "hi", 5" long\nno\t2\tNA\nx\t4\t\nshort\t5\n',
        encoding="utf-8",
    )
    texts = read_item_texts(path, ["no", "gone", "007", "x", "short"])
    assert [text.title for text in texts] == ["NA", "", 'Say "hi", 5" long', "", ""]
    assert {text.image for text in texts} == {""}


def test_names_encoding_and_separator_are_those_of_the_settings(tmp_path):
    path = tmp_path / "shop.item"
    path.write_bytes("asin:token;title:token_seq;image:token\na;Crème;a.jpg\n".encode("cp1252"))
    format = AtomicFormat(item="asin", encoding="cp1252", separator=";")
    assert read_item_texts(path, ["a"], format) == [ItemText("Crème", "a.jpg")]


def test_there_need_be_no_file(tmp_path):
    assert read_item_texts(tmp_path / "none.item", ["a", "b"]) == [ItemText("", "")] * 2


def test_what_is_written_comes_back(tmp_path):
    tokens, texts = ["a", "b"], [ItemText("Ä title", "a.jpg"), ItemText("", "")]
    write_item_texts(tmp_path / "items.tsv", tokens, texts)
    assert read_item_texts(tmp_path / "items.tsv", tokens[::-1]) == texts[::-1]
    assert read_all_item_texts(tmp_path / "items.tsv").by_token() == dict(zip(tokens, texts, strict=True))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id:token\ttitle:token_seq\na\tb\n", "line 1: needs a column item_id:token"),
        (b"item_id:token\ttitle:token_seq\na\tb\tc\td\nb\tc\n", "line 2: more than 2 values"),
        (b"item_id:token\ttitle:token_seq\na\tb\nb\tc\td\n", "line 3: more than 2 values"),
        (b"item_id:token\ttitle:token_seq\na\t\xff\n", "shop.item, line 2: not UTF-8"),
        (b"item_id:token\ttitle:token_seq\na\tx\na\ty\n", "line 3: the item 'a' stands there a second time"),
        (b"item_id:token\tprice:float\na\tcheap\n", "line 2: price is not a number"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "shop.item"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_item_texts(path, ["a"])
