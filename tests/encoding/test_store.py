import numpy as np
import pytest

from recbole_mgr.encoding.store import KEY, VectorStore, content_key


def keys_of(*texts):
    return np.array([content_key(text.encode()) for text in texts], dtype=KEY)


def test_rows_come_back_in_the_asked_order_from_whatever_chunk(tmp_path):
    store = VectorStore(tmp_path / "s")
    texts = [str(number) for number in range(300)]
    vectors = np.random.default_rng(0).normal(size=(300, 2, 3)).astype(np.float16)
    for rows in np.array_split(np.random.default_rng(1).permutation(300), 7):
        store.add(keys_of(*(texts[row] for row in rows)), vectors[rows])
    asked = np.random.default_rng(2).integers(300, size=500)
    rows = VectorStore(tmp_path / "s").rows(keys_of(*(texts[row] for row in asked)))
    assert rows.shape == (500, 2, 3)
    np.testing.assert_array_equal(rows[:], vectors[asked])
    np.testing.assert_array_equal(rows[120:130], vectors[asked[120:130]])


def test_absent_keys(tmp_path):
    store = VectorStore(tmp_path / "s")
    assert store.absent(keys_of("a", "b")).tolist() == [True, True]
    store.add(keys_of("b"), np.ones((1, 2)))
    assert store.absent(keys_of("a", "b", "b")).tolist() == [True, False, False]


def test_keys_that_end_in_zero_bytes_stay_apart(tmp_path):
    keys = np.array([b"a" * 15 + b"\0", b"a" * 14 + b"\0\0", b"a" * 16], dtype=KEY)
    store = VectorStore(tmp_path / "s")
    store.add(keys, np.arange(3.0)[:, None])
    np.testing.assert_array_equal(store.rows(keys[::-1])[:][:, 0], [2, 1, 0])


def test_unfinished_chunks_are_ignored_and_damaged_ones_named(tmp_path):
    store = VectorStore(tmp_path)
    store.add(keys_of("a"), np.ones((1, 2)))
    (tmp_path / ".half.npy").write_bytes(b"\x93NUM")
    assert store.absent(keys_of("a")).tolist() == [False]
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"x\.npy: damaged .*delete this file"):
        store.absent(keys_of("a"))
