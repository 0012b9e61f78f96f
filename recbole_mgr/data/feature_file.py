"""Writing a modality's feature file, the binary twin of ``dataset_atomic/README.md``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from recbole_mgr.files import replacing

FLOAT16_MAX = float(np.finfo(np.float16).max)
_CHUNK_VALUES = 2**23  # values converted at a time, so that a catalogue never stands in memory as a whole


class Rows(Protocol):
    """Rows that can be read a slice at a time: an array, or what stands for one."""

    shape: tuple[int, ...]

    def __getitem__(self, rows: slice) -> np.ndarray: ...


def check_modality(modality: str) -> None:
    """Raises ValueError if a modality's name would not make a file name and a column name."""
    if not re.fullmatch(r"[A-Za-z]\w*", modality):
        raise ValueError(f"modality {modality!r} is no name: use a letter, then letters, digits or '_'")


def write_features(folder: str | Path, name: str, modality: str, item_tokens: Sequence[str], vectors: Rows) -> None:
    """Write ``<name>.<modality>.npy`` (float16) and ``<name>.<modality>.ids``, each in one rename.

    Args:
        folder: folder of the data set; it must exist.
        name: name of the data set, such as ``Beauty``.
        modality: name of the modality, such as ``text``: a letter, then letters, digits or ``_``.
        item_tokens: n distinct item tokens, one for each row.
        vectors: float [n, dim], or [n, T, dim] for T grid vectors of each item; finite and within float16's range.

    Raises:
        ValueError: If the modality's name, the tokens or the vectors are not as described.
    """
    target = Path(folder) / f"{name}.{modality}"
    check_modality(modality)
    if len(vectors.shape) not in (2, 3) or vectors.shape[0] != len(item_tokens):
        raise ValueError(
            f"{target}: vectors have shape {vectors.shape} for {len(item_tokens)} item tokens; give one row per token"
        )
    if 0 in vectors.shape:
        raise ValueError(f"{target}: vectors of shape {tuple(vectors.shape)} hold nothing to write")
    seen: set[str] = set()
    for row, token in enumerate(item_tokens):
        if not token or token != token.strip() or token in seen or len(token.splitlines()) != 1:
            raise ValueError(f"{target}: item_tokens[{row}] = {token!r} is empty, repeated or not one trimmed line")
        seen.add(token)
    rows_file, ids_file = Path(f"{target}.npy"), Path(f"{target}.ids")
    with replacing(ids_file) as ids_part, replacing(rows_file) as rows_part:
        _write_rows(target, rows_part, item_tokens, vectors)
        ids_part.write_text("".join(f"{token}\n" for token in item_tokens), encoding="utf-8", newline="\n")
        ids_file.unlink(missing_ok=True)  # between the two renames no ids, rather than those of other rows


def _write_rows(target: Path, path: Path, item_tokens: Sequence[str], vectors: Rows) -> None:
    shape = tuple(vectors.shape)
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    step = max(1, _CHUNK_VALUES // max(1, int(np.prod(shape[1:]))))
    for start in range(0, len(item_tokens), step):
        rows = slice(start, min(start + step, len(item_tokens)))
        part = np.asarray(vectors[rows])  # [rows, dim] or [rows, T, dim]
        outside = ~(np.abs(part) <= FLOAT16_MAX).reshape(len(part), -1).all(axis=1)  # also catches NaN; [rows]
        if outside.any():
            token = item_tokens[start + int(outside.argmax())]
            raise ValueError(
                f"{target}: the vector of item {token!r} is not finite in float16 (|value| <= {FLOAT16_MAX:g}); "
                "rescale it or leave the item out"
            )
        written[rows] = part
    written.flush()
