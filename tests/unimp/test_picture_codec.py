"""The codec on a world of four pictures, each of two colours: it must learn to tell them apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recbole_mgr.unimp.pictures.codec import CONFIG_FILE, WEIGHTS_FILE, PictureCodec

COLOURS = np.array([[230, 20, 20], [20, 200, 40], [30, 40, 220], [240, 240, 240]], dtype=np.uint8)


def two_coloured_pictures(size: int = 16) -> np.ndarray:
    """uint8 [4, size, size, 3]: a colour above, the next one below."""
    pictures = np.broadcast_to(COLOURS[:, None, None], (4, size, size, 3)).copy()
    pictures[:, size // 2 :] = np.roll(COLOURS, 1, axis=0)[:, None, None]
    return pictures


@pytest.fixture(scope="module")
def codec() -> PictureCodec:
    return PictureCodec.train(two_coloured_pictures(), num_codes=8, seed=1, steps=80)


def test_pictures_survive_their_codes(codec):
    codes = codec.encode(two_coloured_pictures())
    assert codes.shape == (4, 4) and codes.dtype == np.int64
    assert codes.min() >= 0 and codes.max() < codec.num_codes
    pictures = codec.decode(codes)
    assert pictures.shape == (4, 16, 16, 3) and pictures.dtype == np.uint8
    errors = np.abs(pictures[:, None].astype(float) - two_coloured_pictures()[None]).mean(axis=(2, 3, 4))  # [4, 4]
    assert (errors.argmin(axis=1) == np.arange(4)).all()
    assert errors.diagonal().max() < 40


def test_codes_are_the_librarys_own(codec):
    """The same codes and pictures as VQModel's forward pass."""
    network = codec._network
    folded = torch.from_numpy(two_coloured_pictures()).movedim(-1, 1).float() / 127.5 - 1  # [4, 3, 16, 16]
    folded = torch.nn.functional.pixel_unshuffle(folded, 4)
    with torch.no_grad():
        latents = network.encode(folded).latents
        expected_codes = network.quantize(latents)[2][2].view(4, 4)
        sample = network.decode(latents).sample
    assert (codec.encode(two_coloured_pictures()) == expected_codes.numpy()).all()
    colours = (torch.nn.functional.pixel_shuffle(sample, 4).clamp(-1, 1) + 1) * 127.5
    difference = codec.decode(expected_codes.numpy()) - colours.movedim(1, -1).numpy()
    assert np.abs(difference).max() <= 0.51  # rounding


def test_saved_codec_is_the_same(codec, tmp_path):
    codec.save(tmp_path / "codec")
    loaded = PictureCodec.load(tmp_path / "codec")
    pixels = np.random.default_rng(0).integers(0, 256, size=(3, 16, 16, 3), dtype=np.uint8)
    assert (loaded.encode(pixels) == codec.encode(pixels)).all()
    assert (loaded.decode(codec.encode(pixels)) == codec.decode(codec.encode(pixels))).all()
    assert (loaded.picture_size, loaded.num_codes, loaded.num_tokens) == (16, 8, 4)


def test_training_depends_on_its_seed_alone():
    pixels = np.random.default_rng(0).integers(0, 256, size=(8, 16, 16, 3), dtype=np.uint8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = PictureCodec.train(pixels, num_codes=4, seed=1, steps=16)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again = PictureCodec.train(pixels, num_codes=4, seed=1, steps=16)
    other = PictureCodec.train(pixels, num_codes=4, seed=2, steps=16)
    codes = first.encode(pixels)
    assert (again.decode(codes) == first.decode(codes)).all()
    assert (other.decode(codes) != first.decode(codes)).any()


@pytest.mark.parametrize(
    ("pixels", "num_codes", "named"),
    [
        (two_coloured_pictures()[:0], 8, "no picture"),
        (two_coloured_pictures(20), 8, "picture_size: 20"),
        (two_coloured_pictures(8), 8, "picture_size: 8"),
        (two_coloured_pictures(), 1, "picture_code_count: 1"),
        (two_coloured_pictures(), 17, "at most 16"),
    ],
)
def test_bad_training_data_are_refused(pixels, num_codes, named):
    with pytest.raises(ValueError, match=named):
        PictureCodec.train(pixels, num_codes=num_codes, seed=0, steps=8)


def test_bad_folders_are_refused(codec, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json"):
        PictureCodec.load(tmp_path / "nothing")
    codec.save(tmp_path)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps({**config, "_class_name": "AutoencoderKL"}))
    with pytest.raises(ValueError, match="VQModel"):
        PictureCodec.load(tmp_path)
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    (tmp_path / WEIGHTS_FILE).write_bytes(b"broken")
    with pytest.raises(ValueError, match="weights"):
        PictureCodec.load(tmp_path)
    (tmp_path / WEIGHTS_FILE).unlink()
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"a pickle would be read here")
    with pytest.raises(ValueError, match="weights"):
        PictureCodec.load(tmp_path)
