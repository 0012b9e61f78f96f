"""Feature files: every bad one is refused by name and row; good ones land on their items."""

import io
import logging
import pickle

import numpy as np
import pytest

from recbole_mgr.data.features import items_with_features, load_features, read_feature_file

TWO = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
TEXT_HEADER = "text_item_id:token\ttext_vector:float_seq\n"


def saved(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(array) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def with_hole(value) -> np.ndarray:
    holed = TWO.copy()
    holed[1, 2] = value
    return holed


BAD_BINARIES = {
    "float64": (saved(TWO.astype(np.float64)), "a\nb\n", "holds float64 of shape .2, 3.; expected float16 or float32"),
    "integers": (saved(TWO.astype(int)), "a\nb\n", "holds int64"),
    "one dimension": (saved(TWO[0]), "a\nb\n", r"expected float16 or float32 of shape \[items, dim\]"),
    "no rows": (saved(TWO[:0]), "", r"shape \(0, 3\)"),
    "no values": (saved(TWO[:, :0]), "a\nb\n", r"shape \(2, 0\)"),
    "objects": (saved(np.array([[1], None], dtype=object)), "a\nb\n", "not a readable .npy file"),
    "pickle": (pickle.dumps(TWO), "a\nb\n", "not a readable .npy file"),
    "archive": (zipped(TWO), "a\nb\n", "not a readable .npy file"),
    "empty file": (b"", "a\nb\n", "not a readable .npy file"),
    "cut short": (saved(TWO)[:-4], "a\nb\n", "not a readable .npy file"),
    "too few ids": (saved(TWO), "a\n", "text.ids has 1 lines, t.text.npy has 2 rows"),
    "too many ids": (saved(TWO), "a\nb\nc\n", "text.ids has 3 lines"),
    "id twice": (saved(TWO), "a\na\n", "item 'a' stands in rows 1 and 2"),
    "empty id": (saved(TWO), "\nb\n", "row 1 belongs to no item"),
    "blanks around an id": (saved(TWO), "a\nb \n", "the id 'b ' of row 2 has blanks around it"),
    "NaN": (saved(with_hole(np.nan)), "a\nb\n", r"vector of item 'b' \(row 2\) holds NaN or infinity"),
    "infinity": (saved(with_hole(-np.inf)), "a\nb\n", r"vector of item 'b' \(row 2\) holds NaN or infinity"),
}

BAD_TEXTS = {
    "empty": ("", "line 1: expected the header"),
    "another header": ("item_id:token\tvector:float_seq\na\t1\n", "line 1: expected the header"),
    "another modality's": (TEXT_HEADER.replace("text", "image") + "a\t1\n", "line 1: expected the header"),
    "only a header": (TEXT_HEADER, "holds no vectors"),
    "ragged": (TEXT_HEADER + "a\t1 2\nb\t3\n", "line 3: item 'b' has 1 values, line 2 has 2"),
    "no number": (TEXT_HEADER + "a\t1 2\nb\t3 x\n", "line 3: item 'b': could not convert"),
    "no vector": (TEXT_HEADER + "a\t\n", "line 2: expected an item id, a separator and numbers"),
    "no item": (TEXT_HEADER + "\t1 2\n", "line 2: expected an item id, a separator and numbers"),
    "blank line": (TEXT_HEADER + "a\t1 2\n\nb\t1 2\n", "line 3: expected an item id"),
    "id twice": (TEXT_HEADER + "a\t1 2\nb\t1 2\na\t3 4\n", "item 'a' stands in rows 1 and 3"),
    "NaN": (TEXT_HEADER + "a\t1 2\nb\t3 nan\n", "vector of item 'b' .row 2. holds NaN"),
}


@pytest.mark.parametrize(("content", "ids", "message"), BAD_BINARIES.values(), ids=BAD_BINARIES)
def test_bad_binary_files_are_refused(tmp_path, content, ids, message):
    (tmp_path / "t.text.npy").write_bytes(content)
    (tmp_path / "t.text.ids").write_text(ids)
    with pytest.raises(ValueError, match=message) as error:
        read_feature_file(tmp_path, "t", "text")
    assert str(tmp_path / "t.text.") in str(error.value)


@pytest.mark.parametrize(("content", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_bad_text_files_are_refused(tmp_path, content, message):
    (tmp_path / "t.text").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_feature_file(tmp_path, "t", "text")
    assert str(tmp_path / "t.text") in str(error.value)


def test_files_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "t.text").write_bytes((TEXT_HEADER + "café\t1 2\n").encode("latin-1"))
    with pytest.raises(ValueError, match="t.text: not UTF-8"):
        read_feature_file(tmp_path, "t", "text")
    (tmp_path / "t.text.npy").write_bytes(saved(TWO))
    (tmp_path / "t.text.ids").write_bytes("a\ncafé\n".encode("latin-1"))
    with pytest.raises(ValueError, match="t.text.ids: not UTF-8"):
        read_feature_file(tmp_path, "t", "text")


def test_missing_files_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=rf"recbole-mgr collaborative tiny --data_path {tmp_path} --method ppmi_svd"):
        read_feature_file(tmp_path / "tiny", "tiny", "collaborative")
    with pytest.raises(ValueError, match=r"modalities: 'audio' has no features.*take 'audio' out of modalities"):
        read_feature_file(tmp_path, "t", "audio")
    np.save(tmp_path / "t.audio.npy", TWO)
    with pytest.raises(ValueError, match=r"t\.audio\.ids is missing"):
        read_feature_file(tmp_path, "t", "audio")


def test_the_binary_twin_wins_and_both_forms_read_alike(tmp_path):
    (tmp_path / "t.text").write_text(TEXT_HEADER + "a\t1 2 3\nb\t4 5 6e0\n")
    as_text = read_feature_file(tmp_path, "t", "text")
    np.save(tmp_path / "t.text.npy", TWO)
    (tmp_path / "t.text.ids").write_text("a\nb\n")
    as_binary = read_feature_file(tmp_path, "t", "text")
    assert (as_text.path.suffix, as_binary.path.suffix) == (".text", ".npy")
    assert as_text.item_tokens == as_binary.item_tokens == ["a", "b"]
    assert np.array_equal(as_text.vectors, as_binary.vectors)
    assert isinstance(as_binary.vectors, np.memmap)  # a real catalogue does not have to fit into memory
    assert not as_binary.vectors.flags.writeable


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "t.text.npy", np.array([[1, 10], [3, 30], [7, 70]], dtype=np.float16))
    (tmp_path / "t.text.ids").write_text("b\nunknown\na\n")
    return tmp_path


@pytest.mark.parametrize(("policy", "filled"), [("mean", [4, 40]), ("zero", [0, 0])])
def test_vectors_follow_the_items_and_gaps_the_policy(folder, policy, filled, caplog):
    with caplog.at_level(logging.INFO):
        features = load_features(folder, "t", "text", ["a", "new", "b"], policy)
    assert features.vectors.dtype == np.float16
    assert features.vectors[:].tolist() == [[7, 70], filled, [1, 10]]  # the mean is that of the data set's items
    assert features.present.tolist() == [True, False, True]
    assert features.fill_vector.tolist() == filled
    assert features.fill_vector.dtype == np.float16
    assert "2 of 3 items have a vector" in caplog.text
    assert f"missing_modality: {policy} for 1" in caplog.text
    assert "1 vectors of items outside the data set ignored" in caplog.text


def test_a_mapped_file_stays_mapped(folder):
    features = load_features(folder, "t", "text", ["a", "new", "b"], "zero")
    np.lib.format.open_memmap(folder / "t.text.npy", mode="r+")[2] = 9
    assert features.vectors[:].tolist() == [[9, 9], [0, 0], [1, 10]]


def test_the_fill_vector_is_there_even_where_nobody_needs_it(folder):
    assert load_features(folder, "t", "text", ["a", "b"], "mean").fill_vector.tolist() == [4, 40]


def test_ids_that_match_no_item_are_an_error(folder):
    with pytest.raises(ValueError, match=r"none of its 3 item ids \(first: 'b'\) is an item of t \(first: 'B'\)"):
        load_features(folder, "t", "text", ["B", "A"], "mean")


def test_items_with_features_have_every_modality(folder):
    (folder / "t.image").write_text("image_item_id:token\timage_vector:float_seq\na\t1\nc\t2\nunknown\t2\n")
    assert items_with_features(folder, "t", ["text"]) == {"a", "b", "unknown"}
    assert items_with_features(folder, "t", ["text", "image"]) == {"a", "unknown"}


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("lines", ["a\nb", "a\nb\n", "a\r\nb\r\n", "a\nb\n\n\n"])
def test_marks_and_line_ends_lose_no_vector(tmp_path, before, lines):
    (tmp_path / "t.text.npy").write_bytes(saved(TWO))
    (tmp_path / "t.text.ids").write_bytes(before + lines.encode())
    assert read_feature_file(tmp_path, "t", "text").item_tokens == ["a", "b"]
