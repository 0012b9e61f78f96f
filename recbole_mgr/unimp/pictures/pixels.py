"""Reading pictures as squares of one small size."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from recbole_mgr.data.pictures import read_picture


def read_pixels(paths: Sequence[Path], size: int) -> np.ndarray:
    """Read pictures, each scaled to a square whatever its shape.

    Args:
        paths: n picture files.
        size: side of the squares, in pixels.

    Returns:
        uint8 [n, size, size, 3], red, green and blue.

    Raises:
        ValueError: If a file cannot be read as a picture.
    """

    def read(path: Path) -> np.ndarray:
        return np.asarray(read_picture(path).resize((size, size), Image.Resampling.LANCZOS))

    with ThreadPoolExecutor() as pool:  # decoding leaves the interpreter free
        pixels = list(pool.map(read, paths))
    return np.stack(pixels) if pixels else np.empty((0, size, size, 3), dtype=np.uint8)
