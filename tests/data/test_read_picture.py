"""Pictures of every depth and kind come out with the pixels that they show."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from recbole_mgr.data import pictures
from recbole_mgr.data.pictures import inside, read_picture

RAMP = np.linspace(0, 1, 256).reshape(16, 16)  # black to white
EIGHT_BITS = np.arange(256).reshape(16, 16)
DEPTHS = {
    "8 bits": (EIGHT_BITS.astype(np.uint8), "png"),
    "16 bits": (np.rint(RAMP * 65_535).astype(np.uint16), "png"),
    "16 bits, TIFF": (np.rint(RAMP * 65_535).astype(np.uint16), "tif"),
    "32 bits, as of 16": (np.rint(RAMP * 65_535).astype(np.int32), "tif"),
    "32 bits, as of 8": (EIGHT_BITS.astype(np.int32), "tif"),
    "32 bits, full": (np.rint(RAMP * (2**31 - 1)).astype(np.int32), "tif"),
    "float, to 1": (RAMP.astype(np.float32), "tif"),
    "float, to 255": ((RAMP * 255).astype(np.float32), "tif"),
    "float, to 65,535": ((RAMP * 65_535).astype(np.float32), "tif"),
    "float, around 0": ((RAMP - 0.5).astype(np.float32), "tif"),
}


@pytest.mark.parametrize(("values", "suffix"), DEPTHS.values(), ids=DEPTHS)
def test_every_depth_shows_the_same_ramp(tmp_path, values, suffix):
    path = tmp_path / f"ramp.{suffix}"
    Image.fromarray(values).save(path)
    pixels = np.asarray(read_picture(path)).astype(int)
    assert pixels.shape == (16, 16, 3)
    assert abs(pixels - EIGHT_BITS[:, :, None]).max() <= 1


def test_16_bits_a_channel_in_colour(tmp_path):
    values = np.rint(RAMP * 65_535).astype(">u2")[:, :, None] * np.array([1, 0, 1], ">u2")  # [16, 16, RGB]
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    pixels = np.asarray(read_picture(tmp_path / "x.png")).astype(int)
    assert abs(pixels - EIGHT_BITS[:, :, None] * [1, 0, 1]).max() <= 1


def test_numbers_that_are_none_are_black(tmp_path):
    values = RAMP.astype(np.float32)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    Image.fromarray(values).save(tmp_path / "x.tif")
    pixels = np.asarray(read_picture(tmp_path / "x.tif"))
    assert pixels[0, :3].max() == 0 and pixels[-1, -1].min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "RGBA"])
def test_other_modes_become_colour(tmp_path, mode):
    path = tmp_path / "x.tif"
    Image.new("RGB", (9, 9), "white").convert(mode).save(
        path, compression="tiff_lzw"
    )  # raw YCbCr of old Pillow is cut short
    assert np.asarray(read_picture(path)).min() == 255


def test_postscript_is_no_picture(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match="cannot be read .*replace the file"):
        read_picture(path)


def test_a_decoder_that_fails_in_its_own_way_is_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    Image.new("RGB", (9, 9)).save(path)
    monkeypatch.setattr(pictures.ImageOps, "exif_transpose", lambda _: struct.unpack("I", b""))
    with pytest.raises(ValueError, match="picture '.*x.png' cannot be read"):
        read_picture(path)


def test_inside(tmp_path):
    assert inside(tmp_path, "a/b.jpg") == str(tmp_path / "a" / "b.jpg")
    assert inside(tmp_path, "a/../b.jpg") == str(tmp_path / "b.jpg")
    assert inside(tmp_path, str(tmp_path / "b.jpg")) == str(tmp_path / "b.jpg")
    for name in ("", ".", "..", "../x", "a/../../x", "/etc/passwd", f"{tmp_path}-other/x", "a\0b"):
        with pytest.raises(ValueError, match="is no file in"):
            inside(tmp_path, name)
