from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image

from recbole_mgr.unimp.pictures import item_pictures
from recbole_mgr.unimp.pictures.codec import PictureCodec
from recbole_mgr.unimp.pictures.item_pictures import CODES_FILE, ItemPictures, make_item_pictures
from recbole_mgr.unimp.pictures.pixels import read_pixels

SETTINGS = {"picture_codec": None, "picture_size": 16, "picture_code_count": 4}


@pytest.fixture
def trainings(monkeypatch) -> list[np.ndarray]:
    """The pixels of each training, which is made short."""
    seen = []
    train = PictureCodec.train

    def short(pixels, **how):
        seen.append(pixels)
        return train(pixels, **how, steps=8)

    monkeypatch.setattr(item_pictures.PictureCodec, "train", short)
    return seen


@pytest.fixture
def files(tmp_path) -> list:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in {"a": "red", "b": "green", "c": "blue"}.items():
        Image.new("RGB", (30, 40), colour).save(folder / f"{name}.png")
    return [folder / "c.png", None, folder / "a.png", folder / "b.png", folder / "a.png"]


make = partial(make_item_pictures, settings=SETTINGS, seed=1)


def test_codes_stand_at_their_items(files, trainings):
    pictures = make(files, cache_dir=None)
    assert pictures.codes.shape == (6, 4) and pictures.num_codes == 4
    assert pictures.has_picture.tolist() == [False, True, False, True, True, True]
    assert (pictures.codes[[0, 2]] == -1).all()
    expected = pictures.codec.encode(read_pixels([path for path in files if path], 16))
    assert (pictures.codes[[1, 3, 4, 5]] == expected).all()
    assert pictures.paths[1] == files[0] and pictures.paths[0] is None
    assert len(trainings[0]) == 3  # a picture of two items is one picture


def test_the_codec_does_not_depend_on_the_order_of_items(files, trainings):
    first, turned = make(files, cache_dir=None), make(files[::-1], cache_dir=None)
    assert (first.codes[1:] == turned.codes[:0:-1]).all()


def test_trained_once_for_the_same_pictures(files, trainings, tmp_path):
    first = make(files, cache_dir=tmp_path / "cache")
    again = make(files[::-1], cache_dir=tmp_path / "cache")
    assert len(trainings) == 1
    assert (first.codes[1:] == again.codes[:0:-1]).all()
    Image.new("RGB", (30, 40), "yellow").save(files[0])  # other content under the same name
    make(files, cache_dir=tmp_path / "cache")
    make_item_pictures(files, settings=SETTINGS, seed=2, cache_dir=tmp_path / "cache")
    assert len(trainings) == 3


def test_large_catalogues_train_on_a_sample(files, trainings, monkeypatch):
    monkeypatch.setattr(item_pictures, "MOST_TRAINING_PICTURES", 2)
    monkeypatch.setattr(item_pictures, "_CHUNK", 2)
    pictures = make(files, cache_dir=None)
    assert len(trainings[0]) == 2
    assert pictures.has_picture.sum() == 4


def test_saved_and_loaded(files, trainings, tmp_path):
    pictures = make(files, cache_dir=None)
    pictures.save(tmp_path / "run")
    loaded = ItemPictures.load(tmp_path / "run")
    assert (loaded.codes == pictures.codes).all() and loaded.codes.dtype == np.int64 and loaded.paths is None
    assert (loaded.codec.decode(loaded.codes[1:2]) == pictures.codec.decode(pictures.codes[1:2])).all()
    supplied = make_item_pictures(
        files, settings={**SETTINGS, "picture_codec": str(tmp_path / "run" / "codec")}, seed=1, cache_dir=None
    )
    assert (supplied.codes == pictures.codes).all() and len(trainings) == 1
    np.save(tmp_path / "run" / CODES_FILE, loaded.codes + 2)
    with pytest.raises(ValueError, match=CODES_FILE):
        ItemPictures.load(tmp_path / "run")


def test_bad_pictures_are_named(files, trainings, tmp_path):
    with pytest.raises(ValueError, match="no item has a picture"):
        make([None, None], cache_dir=None)
    files[2].write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="a.png"):
        make(files, cache_dir=None)
