"""Opening a picture of whatever kind, so that every encoder sees the same pixels and no file does harm."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

# Formats that are pictures and nothing else: Pillow would also run a program on PostScript.
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif"}
if features.check("avif"):
    FORMATS["AVIF"] = ".avif"
MOST_PIXELS = 1 << 26  # about 67 million, which is 256 MiB with transparency
_MOST_BYTES = 1 << 29


def inside(folder: str | os.PathLike, name: str) -> str:
    """The path of a file that data name within a folder, whether or not it exists.

    Symbolic links in the folder are followed wherever they lead: whoever owns the folder has set them.

    Args:
        folder: the folder.
        name: relative to it, or an absolute path into it.

    Raises:
        ValueError: if the name leads out of the folder (``../x``, ``/etc/x``), is empty or holds a NUL.
    """
    root = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(root, name))
    if "\0" in name or not path.startswith(os.path.join(root, "")):
        raise ValueError(f"{name!r} is no file in {folder}")
    return os.path.join(folder, os.path.relpath(path, root))


@contextmanager
def opened_picture(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture of which only the head has been read, and close it again.

    Raises:
        ValueError: Saying what is wrong, without the path: no regular file, no picture, one of more than
            ``MOST_PIXELS`` pixels, or anything that goes wrong while the caller decodes it.
    """
    try:
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode):  # a device or a pipe would be read for ever
            raise ValueError("no regular file")
        if state.st_size > _MOST_BYTES:
            raise ValueError(f"a file of {state.st_size >> 20:,} MiB, which is more than {_MOST_BYTES >> 20}")
        with Image.open(path, formats=list(FORMATS)) as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"{width:,} x {height:,} pixels, which is more than {MOST_PIXELS:,} in all")
            yield picture
    except Exception as error:  # a decoder may raise anything on damaged bytes
        problem = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ValueError((problem or type(error).__name__).replace(str(path), Path(path).name)) from error


def read_picture(path: str | Path) -> Image.Image:
    """Read and decode a whole picture file: RGB with 8 bits a channel, upright, transparent pixels on white.

    Grey pictures of more than 8 bits are scaled: 16 bits by their range; 32-bit and floating-point ones, whose range
    no file states, by the smallest of 1 (floating point only), 255 and 65,535 that holds every value, and from the
    least to the largest value where none does or some are negative.

    Raises:
        ValueError: If the file cannot be read as a picture.
    """
    try:
        with opened_picture(path) as file:
            picture = ImageOps.exif_transpose(file)  # a decoded copy
            if picture.mode.startswith(("I", "F")):
                picture = _in_8_bits(picture)
            if picture.mode == "RGB":
                return picture
            rgba = picture.convert("RGBA")
    except ValueError as error:
        raise ValueError(
            f"picture {str(path)!r} cannot be read ({error}): replace the file, or leave its item without a picture"
        ) from error
    canvas = Image.new("RGBA", rgba.size, "white")
    canvas.alpha_composite(rgba)
    return canvas.convert("RGB")


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """A grey picture of 16 or 32 bits or floating-point numbers as one of 8 bits."""
    values = np.asarray(picture, dtype=np.float32)  # [height, width]
    low, high = 0.0, 65_535.0
    if not picture.mode.startswith("I;16"):
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        low, high = min(float(values.min()), 0.0), float(values.max())
        tops = [255.0, 65_535.0] if picture.mode == "I" else [1.0, 255.0, 65_535.0]
        if low == 0:
            high = next((top for top in tops if high <= top), high)
    scaled = (values - low) * (255 / max(high - low, 1e-30))
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8))
