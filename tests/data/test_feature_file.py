import numpy as np
import pytest

from recbole_mgr.data.feature_file import write_features


def test_written_features_come_back(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    write_features(tmp_path, "Shop", "text", ["b", "a", "été"], vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Shop.text.ids", "Shop.text.npy"]
    stored = np.load(tmp_path / "Shop.text.npy", allow_pickle=False)
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored, vectors, rtol=1e-3)
    assert (tmp_path / "Shop.text.ids").read_bytes() == "b\na\nété\n".encode()


def test_a_failed_write_leaves_the_old_files_as_they_were(tmp_path):
    write_features(tmp_path, "Shop", "text", ["a"], np.ones((1, 2)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UnicodeEncodeError):
        write_features(tmp_path, "Shop", "text", ["\ud800"], np.zeros((1, 2)))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("modality", "tokens", "vectors", "message"),
    [
        ("text", ["a"], np.ones((2, 3)), "one row per token"),
        ("text", ["a", "b"], np.ones(2), "one row per token"),
        ("text", ["a", "a"], np.ones((2, 3)), r"item_tokens\[1\] = 'a'"),
        ("text", ["a", ""], np.ones((2, 3)), r"item_tokens\[1\] = ''"),
        ("text", ["a", "b\nc"], np.ones((2, 3)), r"item_tokens\[1\]"),
        ("text", ["a", "b"], np.array([[1.0], [np.nan]]), "item 'b' is not finite"),
        ("text", ["a", "b"], np.array([[1.0], [-70000.0]]), "item 'b' is not finite in float16"),
        ("text", [], np.ones((0, 3)), "nothing to write"),
        ("te/xt", ["a", "b"], np.ones((2, 3)), "'te/xt' is no name"),
    ],
)
def test_features_that_could_not_be_read_back_are_refused(tmp_path, modality, tokens, vectors, message):
    with pytest.raises(ValueError, match=message):
        write_features(tmp_path, "Shop", modality, tokens, vectors)
    assert not list(tmp_path.iterdir())


def test_grid_vectors_keep_their_three_axes(tmp_path):
    vectors = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_features(tmp_path, "Shop", "patches", ["a", "b"], vectors)
    np.testing.assert_array_equal(np.load(tmp_path / "Shop.patches.npy"), vectors)
