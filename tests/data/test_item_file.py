import pytest

from recbole_mgr.data.item_file import read_picture_files, read_texts


def write_items(folder, text):
    (folder / "Shop.item").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_texts_join_the_asked_fields_in_the_asked_order(shop):
    assert read_texts(shop, "Shop", None).fields == ["title"]
    contents = read_texts(shop, "Shop", ["brand", "title"])
    assert contents.contents[:2] == ["Acme lip balm with honey", "Acme olive soap"]
    assert contents.item_tokens == ["balm", "soap", "mask", "comb"]


def test_empty_fields_leave_no_gap_and_items_without_text_are_absent(tmp_path):
    write_items(tmp_path, 'item_id:token\ttitle:token_seq\tmore:token_seq\na\t\tx\nb\t "q" \t\nc\t \t\n')
    contents = read_texts(tmp_path, "Shop", None)
    assert (contents.item_tokens, contents.contents) == (["a", "b"], ["x", '"q"'])
    assert [(absent.item_token, absent.problem) for absent in contents.absent] == [("c", "no text")]


def test_pictures_are_files_under_images(shop):
    contents = read_picture_files(shop, "Shop")
    assert contents.contents == [shop / "images" / f"{item}.png" for item in ("balm", "soap", "mask")]
    assert [absent.item_token for absent in contents.absent] == ["comb"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item_id:token\ttitle:token_seq\na\tx\na\ty\n", r"line 3: the item 'a' stands there a second time"),
        ("item_id:token\ttitle:token_seq\n\tx\n", r"line 2: item_id is empty"),
        ("item_id:token\ttitle:token_seq\n a\tx\n", r"line 2: item_id has blanks around it \(' a'\)"),
        ("item_id:token\ttitle:token_seq\na\tx\ty\n", "line 2: more than 2 values"),
        (b"item_id:token\ttitle:token_seq\na\t\xff\n", "line 2: not UTF-8"),
        ("id:token\ttitle:token_seq\na\tx\n", "line 1: needs a column item_id:token"),
        ("item_id:token\ttitle:token_seq\n", "holds no items"),
        ("item_id:token\ttitle:token_seq\na\t\n", "empty for every item"),
        ("item_id:token\tprice:float\na\t1\n", "has no field of type token_seq; choose --fields from item_id, price"),
    ],
)
def test_bad_item_files_are_named(tmp_path, text, message):
    write_items(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        read_texts(tmp_path, "Shop", None)


def test_unknown_fields_and_missing_pictures_are_named(shop, tmp_path):
    with pytest.raises(ValueError, match="has no field 'colour'; choose --fields from item_id, title, brand, image"):
        read_texts(shop, "Shop", ["title", "colour"])
    with pytest.raises(ValueError, match="Shop.item does not exist; --data_path must name the folder that holds"):
        read_texts(tmp_path, "Shop", None)
    (tmp_path / "Shop.inter").touch()  # a data set without its items
    with pytest.raises(ValueError, match="Shop.item does not exist; it must hold item_id:token"):
        read_texts(tmp_path, "Shop", None)
    write_items(tmp_path, "item_id:token\ttitle:token_seq\na\tx\n")
    with pytest.raises(ValueError, match="has no column image:token"):
        read_picture_files(tmp_path, "Shop")
    write_items(tmp_path, "item_id:token\timage:token\na\t\n")
    with pytest.raises(ValueError, match="image is empty for every item"):
        read_picture_files(tmp_path, "Shop")
