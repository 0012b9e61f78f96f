"""Raw files by what they hold, not by what they are called: packed or not, in this encoding or that."""

from __future__ import annotations

import bz2
import codecs
import functools
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from recbole_mgr.files import is_text_encoding

LONGEST_LINE = 1 << 24  # characters; without a limit a file without line ends would fill the memory

_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_ZIP = b"PK\x03\x04"
_TABLE = "save it as CSV (UTF-8) or Parquet"
_SHEET = "open it in Excel or LibreOffice and save each sheet as CSV UTF-8 (File, Save As)"
_REFUSED = {
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unpack it (zstd -d)"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!\x1a\x07": ("a rar archive", "unpack it"),
    b"PK\x05\x06": ("an empty zip archive", "get it again"),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet (.xls)", _SHEET),
    b"ARROW1": ("an Arrow or Feather file", _TABLE),
    b"Obj\x01": ("an Avro file", _TABLE),
    b"ORC": ("an ORC file", _TABLE),
    b"\x89HDF": ("an HDF5 file", _TABLE),
    b"SQLite format 3": ("an SQLite database", _TABLE),
    b"\x80\x04\x95": ("a Python pickle, which can run code and is never opened", _TABLE),
    b"%PDF": ("a PDF", _TABLE),
}
_MARKS = {  # byte order marks, the longer ones first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def is_parquet(path: Path) -> bool:
    """Whether a file is in the Parquet format."""
    with open(path, "rb") as file:
        return file.read(4) == b"PAR1"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a raw file for reading, unpacked (gzip, bzip2, xz, or zip with one file in it) whatever its name.

    Raises:
        ValueError: Naming what it is instead of text, and the remedy.
    """
    with open(path, "rb") as file:
        start = file.read(512)
    packed = next((opener for mark, opener in _PACKED.items() if start.startswith(mark)), None)
    if packed:
        file = packed(path, "rb")
    elif start.startswith(_ZIP):
        file = _only_member(path)
    else:
        _refuse(path, start)
        return open(path, "rb")
    with unpacking(path):
        start = file.peek(512)
        _refuse(path, start, "holds ")
    return file


def open_text(path: Path, encoding: str | None = None, errors: str = "strict") -> IO[str]:
    """Open a raw file for reading as text, with line ends as they are.

    Args:
        path: the file, packed or not.
        encoding: None: UTF-8. A byte order mark knows better, and is never part of the text.
        errors: as of :func:`open`.

    Raises:
        ValueError: as :func:`open_bytes`, and if there is no such encoding.
    """
    if encoding is not None and not is_text_encoding(encoding):
        raise ValueError(f"encoding {encoding!r} is none that Python knows, such as utf-8 or cp1252")
    utf8 = encoding is None or codecs.lookup(encoding).name == "utf-8"
    file = open_bytes(path)
    with unpacking(path):
        start = file.peek(4)
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    encoding = marked or ("utf-8-sig" if utf8 else encoding)
    return io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="")


def lines_of(file: IO) -> Iterator:
    """The lines of an open file, of which a long one comes in pieces of ``LONGEST_LINE``."""
    return iter(functools.partial(file.readline, LONGEST_LINE), "" if isinstance(file, io.TextIOBase) else b"")


@contextmanager
def unpacking(path: Path, line: Callable[[], int] | None = None) -> Iterator[None]:
    """Turn what a damaged archive raises into a ValueError.

    Args:
        path: the file that is unpacked in the block.
        line: gives the number of the last line that was read, for the message.
    """
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        problem = error
    except OSError as error:
        if error.errno is not None:  # of the system, and not of gzip or bz2
            raise
        problem = error
    else:
        return
    after = f" after line {line()}" if line else ""
    raise ValueError(
        f"{path}: cannot be unpacked{after} ({problem}); it was not copied as a whole or needs a password; get it again"
    ) from problem


def first_undecodable(path: Path, encoding: str | None) -> tuple[int, str]:
    """Number and beginning of the first line that is not in an encoding."""
    with open_text(path, encoding, errors="replace") as file:
        for number, line in enumerate(lines_of(file), start=1):
            if "\ufffd" in line:
                place = line.index("\ufffd")
                return number, line[max(0, place - 30) : place + 30].strip()
    return 0, ""


def excerpt(path: Path, line: int, encoding: str | None = None) -> str:
    """The beginning of a line of a text file, for messages; empty for Parquet."""
    if not path.is_file() or is_parquet(path):
        return ""
    with open_text(path, encoding, errors="replace") as file:
        for number, text in enumerate(lines_of(file), start=1):
            if number == line:
                return text.strip()[:80]
    return ""


def _refuse(path: Path, start: bytes, verb: str = "is ") -> None:
    for mark, (what, remedy) in _REFUSED.items():
        if start.startswith(mark):
            raise ValueError(f"{path} {verb}{what}; {remedy}")
    if verb != "is " and start.startswith((*_PACKED, _ZIP)):
        raise ValueError(f"{path} is packed twice; unpack it once")
    if start[257:262] == b"ustar":
        raise ValueError(f"{path} holds a tar archive; unpack it and give the table itself")


def _only_member(path: Path) -> IO[bytes]:
    """The one file of a zip archive, open for reading."""
    with unpacking(path):
        archive = zipfile.ZipFile(path)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if any(name.startswith(("xl/", "word/", "ppt/")) for name in names) or "content.xml" in names:
            raise ValueError(f"{path} is a spreadsheet (.xlsx, .ods) or another office document; {_SHEET}")
        if len(names) != 1:
            shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
            raise ValueError(f"{path}: a zip archive of {len(names)} files ({shown}); unpack it and give the one table")
        return io.BufferedReader(archive.open(names[0]))
