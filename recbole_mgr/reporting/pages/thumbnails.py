"""Small copies of items' pictures, made once."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from PIL import Image

from recbole_mgr.data.pictures import read_picture
from recbole_mgr.files import replacing

FOLDER = "thumbs"
HEIGHT, WIDTH = 240, 240  # pixels at most: sharp at twice the size they are shown in lists
_QUALITY = 82


def make_thumbnails(pictures: Sequence[Path | None], folder: Path, *, inline: bool = False) -> list[str]:
    """Thumbnails of pictures.

    Args:
        pictures: n files, None where there is none.
        folder: of the pages; the thumbnails go into a folder below it, and one that stands there is taken as it is.
        inline: return ``data:`` addresses instead of file names, and write nothing.

    Returns:
        n addresses relative to ``folder``; "" where there is no picture, or none that can be read.
    """

    def thumbnail(picture: Path | None) -> str:
        if picture is None:
            return ""
        try:
            state = picture.stat()
            if inline:
                return "data:image/jpeg;base64," + base64.b64encode(_jpeg(picture, 120)).decode()
            key = f"{picture.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
            digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:20]
            address = f"{FOLDER}/{digest[:2]}/{digest[2:]}.jpg"
            if not (folder / address).is_file():
                content = _jpeg(picture, HEIGHT)
                with replacing(folder / address) as part:
                    part.write_bytes(content)
            return address
        except (OSError, ValueError):  # no such file, or no picture; `recbole-mgr check` names them
            return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(thumbnail, pictures, chunksize=64))


def shape_of(addresses: Sequence[str], folder: Path) -> float:
    """Median width / height of a sample of thumbnail files, between 0.6 and 1.5; 1 where there are none."""
    ratios = []
    for address in [address for address in addresses if address.startswith(FOLDER)][:50]:
        with Image.open(folder / address) as picture:
            ratios.append(picture.width / picture.height)
    return min(1.5, max(0.6, sorted(ratios)[len(ratios) // 2])) if ratios else 1.0


def _jpeg(picture: Path, side: int) -> bytes:
    small = read_picture(picture)
    small.thumbnail((side, side))
    content = BytesIO()
    small.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return content.getvalue()
