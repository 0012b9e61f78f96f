"""Pooled vectors and vectors of patches, found by item."""

import numpy as np
import pytest

from recbole_mgr.unimp.visual_features import VisualFeatures, read_visual_features


def write(folder, vectors, ids):
    np.save(folder / "Shop.image.npy", vectors)
    (folder / "Shop.image.ids").write_text("\n".join(ids) + "\n", encoding="utf-8")


@pytest.mark.parametrize("shape", [(4,), (3, 4)], ids=["pooled", "patches"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_each_item_gets_its_own_vectors(tmp_path, shape, dtype):
    vectors = np.arange(3 * np.prod(shape)).reshape(3, *shape).astype(dtype)
    write(tmp_path, vectors, ["c", "unknown", "a"])
    features = read_visual_features(tmp_path, "Shop", "image", ["a", "b", "c"])
    assert features.rows[0] == features.rows[2] == -1  # PAD, and b without a picture
    assert features.vectors.shape == (2, *((1,) if len(shape) == 1 else ()), *shape)
    assert features.vectors.dtype == dtype
    for item, row in ((1, 2), (3, 0)):
        assert np.array_equal(features.vectors[features.rows[item]].reshape(shape), vectors[row])


def test_the_text_form(tmp_path):
    (tmp_path / "Shop.image").write_text("image_item_id:token\timage_vector:float_seq\nb\t1 2\n", encoding="utf-8")
    features = read_visual_features(tmp_path, "Shop", "image", ["a", "b"])
    assert features.rows.tolist() == [-1, -1, 0]
    assert features.vectors.tolist() == [[[1, 2]]]


def test_none():
    assert VisualFeatures.none(3).rows.tolist() == [-1, -1, -1, -1]


def test_no_file_names_the_setting(tmp_path):
    with pytest.raises(ValueError, match=r"image_features: .* neither Shop\.photo\.npy nor Shop\.photo"):
        read_visual_features(tmp_path, "Shop", "photo", ["a"])


def test_faulty_files_of_patches(tmp_path):
    patches = np.zeros((2, 3, 4), dtype=np.float32)
    write(tmp_path, patches, ["a", "a"])
    with pytest.raises(ValueError, match=r"Shop\.image\.npy: item 'a' stands in rows 1 and 2"):
        read_visual_features(tmp_path, "Shop", "image", ["a"])
    write(tmp_path, patches, ["x", "y"])
    with pytest.raises(ValueError, match=r"none of its 2 item ids \(first: 'x'\) is an item of Shop \(first: 'a'\)"):
        read_visual_features(tmp_path, "Shop", "image", ["a"])
    patches[1, 2, 3] = np.nan
    write(tmp_path, patches, ["a", "b"])
    with pytest.raises(ValueError, match=r"the vector of item 'b' \(row 2\) holds NaN or infinity"):
        read_visual_features(tmp_path, "Shop", "image", ["a", "b"])
    (tmp_path / "Shop.image.ids").unlink()
    with pytest.raises(ValueError, match=r"Shop\.image\.ids is missing"):
        read_visual_features(tmp_path, "Shop", "image", ["a", "b"])


def test_a_file_of_other_numbers_is_refused(tmp_path):
    write(tmp_path, np.zeros((1, 2, 3), dtype=np.int64), ["a"])
    with pytest.raises(ValueError, match="holds int64"):
        read_visual_features(tmp_path, "Shop", "image", ["a"])
