"""The binary form of a readable file, which stands beside it so that it need not be parsed again.

It is written with the file and knows its digest: a file that is edited, or replaced, is read itself from then on, as
is one whose binary form is damaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recbole_mgr.data.arrays import array_fingerprint
from recbole_mgr.files import remembered_digest, replacing

_FORMAT = "2"
_WORDS = "words:"


class Twin(NamedTuple):
    """What stands in a binary form: lists of words and arrays, by name."""

    words: dict[str, list[str]]
    arrays: dict[str, np.ndarray]


def twin_path(path: Path) -> Path:
    """Where the binary form of a file stands."""
    return path.with_name(f"{path.name}.safetensors")


def write_twin(path: Path, words: Mapping[str, Sequence[str]], arrays: Mapping[str, np.ndarray]) -> None:
    """Write the binary form of a file that has just been written.

    Args:
        path: the readable file.
        words: by name, without line breaks, at least one each.
        arrays: by name.
    """
    tensors = {_WORDS + name: _bytes_of(values) for name, values in words.items()}
    tensors |= {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    about = {"format": _FORMAT, "of": remembered_digest(path), "content": array_fingerprint(tensors)}
    with replacing(twin_path(path)) as unfinished:
        save_file(tensors, unfinished, metadata=about)


def read_twin(path: Path) -> Twin | None:
    """The binary form of a file; None where there is none, it is damaged, or of another content."""
    try:
        with safe_open(twin_path(path), framework="np") as file:
            about = file.metadata() or {}
            if about.get("format") != _FORMAT or about.get("of") != remembered_digest(path):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    except (SafetensorError, OSError):
        return None
    if array_fingerprint(tensors) != about.get("content"):
        return None
    words = {
        name.removeprefix(_WORDS): tensor.tobytes().decode().split("\n")
        for name, tensor in tensors.items()
        if name.startswith(_WORDS)
    }
    return Twin(words, {name: tensor for name, tensor in tensors.items() if not name.startswith(_WORDS)})


def _bytes_of(words: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\n".join(words).encode(), dtype=np.uint8)
