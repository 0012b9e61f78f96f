"""Reading files of arrays that may come from anybody: no pickles, and no memory taken for sizes that are not there."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

_LARGEST_EXPANSION = 200  # of a compressed file of ours; more is a bomb
_ALWAYS_FITS = 1 << 26  # bytes


def read_arrays(path: Path, *, remedy: str) -> dict[str, np.ndarray]:
    """Read all arrays of a ``.npz`` file.

    Args:
        path: the file.
        remedy: what the error advises.

    Raises:
        ValueError: Naming the file and the remedy: it is missing or damaged, holds Python objects, unpacks to far more
            than it has, or an array's header states another size than the array has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > max(_LARGEST_EXPANSION * path.stat().st_size, _ALWAYS_FITS):
                raise ValueError(f"it would unpack to {size:,} bytes")
            for member in archive.infolist():
                _check_header(archive, member)
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(f"{path}: this file is damaged ({error}); {remedy}") from error


def read_array(path: Path, *, remedy: str) -> np.ndarray:
    """Read a ``.npy`` file of numbers.

    Raises:
        ValueError: Naming the file and the remedy: it is missing, damaged, or no file of numbers.
    """
    try:
        return np.array(np.lib.format.open_memmap(path, mode="r"))  # whose map must fit the file
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(f"{path}: this file is damaged ({error}); {remedy}") from error


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        stated = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which can run code when they are loaded")
    if stated != member.file_size:
        raise ValueError(f"{member.filename} holds {member.file_size:,} bytes, its header states {stated:,}")
