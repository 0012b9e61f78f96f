"""Vectors of the items' pictures: one each, or one for every patch. Stays out of the semantic IDs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mgr.data.features import feature_path, load_features


class VisualFeatures(NamedTuple):
    """Vectors of the items that have a picture.

    Attributes:
        vectors: float16/32 [n, P, dim].
        rows: int64 [N+1], the row of each item by internal id, -1 where it has no picture (PAD has none).
    """

    vectors: np.ndarray
    rows: np.ndarray

    @classmethod
    def none(cls, num_items: int) -> VisualFeatures:
        """Of a catalogue that is to be read without pictures."""
        return cls(np.empty((0, 1, 1), dtype=np.float32), np.full(num_items + 1, -1))


def read_visual_features(folder: Path, name: str, modality: str, item_tokens: Sequence[str]) -> VisualFeatures:
    """Read a feature file, pooled vectors [n, dim] (P is 1) or those of patches [n, P, dim] (a binary twin).

    Args:
        folder, name: of the data set.
        modality: suffix of the feature file.
        item_tokens: N items; those that the file does not have are without a picture.

    Raises:
        ValueError: Naming the file and the remedy: there is none, it is malformed, or has no item of the data set.
    """
    path = feature_path(folder, name, modality)
    if path is None:
        raise ValueError(
            f"image_features: {folder} has neither {name}.{modality}.npy nor {name}.{modality}; encode the pictures "
            f"(recbole-mgr encode {name} --modality {modality}) or set image_features: none"
        )
    patches = _patches(path)
    if patches is None:
        features = load_features(folder, name, modality, list(item_tokens), "zero")
        present = features.present
        vectors = np.asarray(features.vectors[np.flatnonzero(present)])[:, None]  # [n, 1, dim]
    else:
        row_of = _rows_of(path, len(patches))
        file_rows = np.array([row_of.get(token, -1) for token in item_tokens])  # [N]
        present = file_rows >= 0
        if not present.any():
            raise ValueError(f"{path}: none of its items is an item of {name}; the ids must be written as in .inter")
        vectors = patches[file_rows[present]]  # [n, P, dim]
        finite = np.isfinite(vectors).all(axis=(1, 2))
        if not finite.all():
            token = np.asarray(item_tokens)[present][np.argmin(finite)]
            raise ValueError(f"{path}: a vector of item {str(token)!r} holds NaN or infinity; encode it again")
    rows = np.full(len(item_tokens) + 1, -1)
    rows[1:][present] = np.arange(len(vectors))
    return VisualFeatures(vectors, rows)


def _patches(path: Path) -> np.ndarray | None:
    """The memory-mapped file where it holds vectors of patches; any other is for `load_features` to judge."""
    if path.suffix != ".npy":
        return None
    try:
        vectors = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError):
        return None
    return vectors if vectors.ndim == 3 and vectors.dtype in (np.float16, np.float32) and vectors.size else None


def _rows_of(path: Path, num_rows: int) -> dict[str, int]:
    ids = path.with_suffix(".ids")
    if not ids.is_file():
        raise ValueError(f"{ids} is missing: it must hold the item id of each row of {path.name}, one a line")
    tokens = ids.read_text(encoding="utf-8").splitlines()
    row_of = {token: row for row, token in enumerate(tokens)}
    if not len(row_of) == len(tokens) == num_rows:
        raise ValueError(
            f"{ids}: {len(tokens)} lines, {len(row_of)} different ids, {path.name} has {num_rows} rows; each row needs "
            "one line with an id of its own"
        )
    return row_of
