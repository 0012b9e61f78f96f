"""What is read of ``<name>.item``, with its gaps."""

import pytest

from recbole_mgr.unimp.item_words import UNKNOWN, read_item_words

ITEMS = """item_id:token\ttitle:token_seq\tbrand:token\tcategories:token_seq\timage:token
b-2\tSoap with "oil"\t\tBeauty > Bath > Soap\tb.jpg
a_1\t\tAcme\t\t
z\tNever bought\tZed\tBeauty\tz.jpg
c\tMask\tAcme\tBeauty > Face masks\t
"""


@pytest.fixture
def read(tmp_path):
    (tmp_path / "Shop.item").write_text(ITEMS, encoding="utf-8")

    def read(tokens=("a_1", "b-2", "c", "gone"), **changes):
        settings = {"text_fields": ["brand", "title", "categories"], "category_field": "categories"}
        return read_item_words(tmp_path, "Shop", tokens, search_title_words=0, **{**settings, **changes})

    return read


def test_fields_in_the_order_of_the_data_set(read):
    words = read()
    assert words.titles == ["a 1", 'Soap with "oil"', "Mask", "gone"]  # no title: the words of the id
    assert words.fields["title"] == words.titles
    assert words.fields["brand"] == ["Acme", UNKNOWN, "Acme", UNKNOWN]
    assert words.fields["categories"] == [UNKNOWN, "Soap Bath Beauty", "Face masks Beauty", UNKNOWN]
    assert words.pictures == ["", "b.jpg", "", ""]
    assert words.categories == ["", "Soap", "Face masks", ""]
    assert words.queries == [UNKNOWN, "Soap", "Face masks", UNKNOWN]


def test_the_title_of_an_id_in_any_writing(read):
    assert read(("हिन्दी_2", "c")).titles == ["हिन्दी 2", "Mask"]


def test_queries_with_words_of_the_title(tmp_path, read):
    words = read_item_words(
        tmp_path, "Shop", ["b-2", "a_1"], text_fields=["title"], category_field="categories", search_title_words=2
    )
    assert words.queries == ["Soap Soap with", "a 1"]


def test_no_column_of_categories_leaves_all_without(read):
    words = read(category_field="genres")
    assert set(words.categories) == {""}
    assert set(words.queries) == {UNKNOWN}


def test_a_field_that_does_not_exist_is_named_with_the_choice(read):
    with pytest.raises(ValueError, match=r"Shop\.item has no column 'colour'; choose from item_id, title, brand"):
        read(text_fields=["title", "colour"])


def test_ids_of_another_data_set(read):
    with pytest.raises(ValueError, match=r"none of its 4 items \(first: 'b-2'\) is an item of Shop.inter"):
        read(tokens=("x", "y"))


def test_no_item_file(tmp_path):
    with pytest.raises(ValueError, match=r"Shop\.item does not exist"):
        read_item_words(tmp_path, "Shop", ["a"], text_fields=["title"], category_field="c", search_title_words=0)
