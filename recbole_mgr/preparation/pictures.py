"""Pictures: found in a folder, checked that they decode, and put under ``images/`` unchanged."""

from __future__ import annotations

import hashlib
import os
import shutil
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

import polars as pl

from recbole_mgr.data.pictures import FORMATS, inside, opened_picture

_READABLE = {*FORMATS.values(), ".jpeg", ".tiff"}
_SMALLEST = 8  # pixels; shops answer with a picture of one pixel where they have none


class PictureFolder:
    """Pictures in a folder and its subfolders, named by item id (``images/B0001.jpg``).

    Args:
        folder: the folder.

    Raises:
        ValueError: if it does not exist or holds no picture.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder of pictures; name an existing one with --images")
        self.folder = folder
        self._by_stem: dict[str, str] = {}
        self._used: set[str] = set()
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in _READABLE:
                    self._by_stem.setdefault(_composed(stem), os.path.join(place, name))
        if not self._by_stem:
            raise ValueError(f"{folder}: holds no pictures ({', '.join(sorted(_READABLE))})")

    def find(self, item_id: str, file: str | None) -> tuple[str | None, str]:
        """Path of an item's picture, the file that the source names, else the one named by the item's id; where there
        is none, None and what is wrong."""
        path, problem = self._named(file) if file else (None, "no picture of this item is known")
        path = path or self._by_stem.get(_composed(item_id)) or self._by_stem.get(quote(item_id, safe=" "))
        if path:
            self._used.add(path)
        return path, "" if path else problem

    def find_url(self, url: str) -> str | None:
        """Path of the picture with the name that a URL ends in."""
        name = url_name(url)
        return self._named(name)[0] or self._by_stem.get(_composed(os.path.splitext(name)[0]))

    def unused(self) -> list[str]:
        """Names, without suffix, of the pictures that no item has had so far."""
        return [stem for stem, path in self._by_stem.items() if path not in self._used]

    def _named(self, name: str) -> tuple[str | None, str]:
        """Path of a file by its name in the folder; the name may begin with the folder's own, or be one of Windows."""
        names = [name, name.replace("\\", "/")]
        first, _, rest = names[1].removeprefix("./").partition("/")
        if first == self.folder.name:
            names.append(rest)
        problem = f"no such file in {self.folder}"
        for name in dict.fromkeys(write(name) for name in names for write in (str, _composed, _decomposed)):
            try:
                path = inside(self.folder, name)
            except ValueError:
                problem = f"not a name within {self.folder}"
                continue
            if os.path.isfile(path):
                return path, ""
        return None, problem


def _composed(text: str) -> str:
    """With each letter and its marks as one character. A Mac writes names of files decomposed, tables seldom are."""
    return unicodedata.normalize("NFC", text)


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


class Pictures(NamedTuple):
    """Pictures that were had and those that were not.

    Attributes:
        paths: of each item's number, a file that decodes, and the suffix that belongs to its format.
        missing: (item id, file or URL, problem) of each item whose picture could not be had.
    """

    paths: dict[int, tuple[Path, str]]
    missing: list[tuple[str, str, str]]


def url_name(url: str) -> str:
    """The file name that a URL ends in, without any folder, also none in disguise (``..%2Fx.jpg``)."""
    name = unquote(url.split("?")[0].split("#")[0].rstrip("/").rsplit("/", 1)[-1])
    return name.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")


def picture_suffix(path: Path) -> str:
    """Decode a picture and name its format's suffix (``.jpg``), whatever the file is called.

    Raises:
        ValueError: if it does not decode as a whole, is a placeholder or too large.
    """
    try:
        with opened_picture(path) as picture:
            width, height = picture.size
            picture.draft("RGB", (64, 64))  # a JPEG is read to its end, but decoded small
            picture.load()
            suffix = FORMATS.get(picture.format, ".jpg")  # MPO: a JPEG with further pictures behind it
    except ValueError as error:
        raise ValueError(f"not a picture that can be read ({error})") from error
    if min(width, height) < _SMALLEST:
        raise ValueError(f"{width} x {height} pixels: a placeholder")
    return suffix


def gather_pictures(
    wanted: pl.DataFrame, *, download: Callable[[list[str]], dict[str, tuple[Path, str] | str]], parallel: int
) -> Pictures:
    """Check the local pictures of items and download the others.

    Args:
        wanted: ``item_number``, ``item_id``, ``image_file``, ``picture_path``, ``picture_problem`` and ``image_url`` of
            the items.
        download: gives, of each URL, the file and its format's suffix, or the problem.
        parallel: pictures checked at the same time.
    """
    paths: dict[int, tuple[Path, str]] = {}
    missing: list[tuple[str, str, str]] = []
    remote = []
    with ThreadPoolExecutor(parallel) as pool:
        checked = pool.map(_checked, wanted["picture_path"])
        for row, (suffix, problem) in zip(wanted.iter_rows(named=True), checked, strict=True):
            number, item_id, local, url = (row[key] for key in ("item_number", "item_id", "picture_path", "image_url"))
            if suffix:
                paths[number] = Path(local), suffix
            elif url:
                remote.append((number, item_id, url))
            else:
                missing.append((item_id, local or row["image_file"] or "", problem or row["picture_problem"]))
    files = download(list(dict.fromkeys(url for *_, url in remote))) if remote else {}
    for number, item_id, url in remote:
        file = files[url]
        if isinstance(file, str):
            missing.append((item_id, url, file))
        else:
            paths[number] = file
    return Pictures(paths, missing)


def picture_name(item_id: str, suffix: str) -> str:
    """A file name for an item's picture that every file system accepts."""
    name = quote(item_id, safe=" ")
    if len(name) > 150:
        name = f"{name[:100]}-{hashlib.sha256(item_id.encode()).hexdigest()[:16]}"
    return name + suffix


def place_picture(source: Path, target: Path) -> None:
    """Put a picture in place without spending disk space where the file system allows."""
    source = os.path.realpath(source)  # else a symbolic link would be linked, and lead nowhere from here
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _checked(path: str | None) -> tuple[str, str]:
    """Suffix of a local picture and no problem, or the other way round; neither where there is none."""
    try:
        return (picture_suffix(Path(path)) if path else ""), ""
    except ValueError as error:
        return "", str(error)
