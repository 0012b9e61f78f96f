"""Arrays told by their content, and read from files that may come from anybody: no pickles, and no memory taken for
sizes that are not there."""

from __future__ import annotations

import hashlib
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

_LARGEST_EXPANSION = 200  # of a compressed file of ours; more is a bomb
_ALWAYS_FITS = 1 << 26  # bytes


def read_arrays(path: Path, *, remedy: str, mapped: bool = False) -> dict[str, np.ndarray]:
    """Read all arrays of a ``.npz`` file.

    Args:
        path: the file.
        remedy: what the error advises.
        mapped: whether the arrays are to stay in the file, which the system reads where they are used and forgets
            when memory is short; for one that `numpy.savez` wrote, and whose digest was compared.

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
            if mapped:
                return {member.filename.removesuffix(".npy"): _mapped(path, member) for member in archive.infolist()}
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


def numbers(arrays: Mapping[str, np.ndarray], name: str, *shape: int | None) -> np.ndarray:
    """One of the arrays of a file: numbers of a shape, whose None stands for any length above 0.

    Raises:
        ValueError: It is not there, or is something else.
    """
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"{name!r} is missing")
    fits = array.ndim == len(shape) and all(
        length == wanted or (wanted is None and length > 0) for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iuf":
        lengths = ", ".join("n" if length is None else str(length) for length in shape)
        raise ValueError(f"{name!r} is {array.dtype} {list(array.shape)}, expected numbers [{lengths}]")
    return array


def finite(arrays: Mapping[str, np.ndarray], name: str, *shape: int | None) -> np.ndarray:
    """As `numbers`, all of them finite."""
    array = numbers(arrays, name, *shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} has numbers that are not finite")
    return array


def whole(arrays: Mapping[str, np.ndarray], name: str, *shape: int | None, least: int, below: int) -> np.ndarray:
    """As `numbers`, all of them whole and in ``least``..``below - 1``."""
    array = numbers(arrays, name, *shape)
    if array.dtype.kind == "f" or (array.size and not least <= int(array.min()) <= int(array.max()) < below):
        raise ValueError(f"{name!r} is {array.dtype}, expected whole numbers in {least}..{below - 1}")
    return array


def array_fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """First 16 hex digits of the SHA-256 of arrays, names and contents, whatever their order."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # no copy of a large one
    return digest.hexdigest()[:16]


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:
        shape, _, dtype = _header(file)
        stated = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which can run code when they are loaded")
    if stated != member.file_size:
        raise ValueError(f"{member.filename} holds {member.file_size:,} bytes, its header states {stated:,}")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns stand together, and type of the array that begins here."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _mapped(path: Path, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)  # in the member's own header: how long its name and its extra part are
        file.seek(sum(struct.unpack("<HH", file.read(4))), 1)
        shape, is_by_column, dtype = _header(file)
        return np.memmap(path, dtype, mode="r", offset=file.tell(), shape=shape, order="F" if is_by_column else "C")
