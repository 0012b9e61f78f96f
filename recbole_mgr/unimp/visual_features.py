"""Vectors of the items' pictures: one each, or one for every patch. Stays out of the semantic IDs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mgr.data.features import feature_path, read_feature_file, rows_of_items
from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat


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


def require_visual_features(folder: Path, name: str, modality: str) -> None:
    """Refuse a data set without the feature file of its pictures; raises ValueError naming the remedy."""
    if feature_path(folder, name, modality) is None:
        raise ValueError(
            f"image_features: {folder} has neither {name}.{modality}.npy nor {name}.{modality}; encode the pictures "
            f"(recbole-mgr encode {as_arguments(folder, name)} --modality {modality}) or set image_features: none"
        )


def read_visual_features(
    folder: Path, name: str, modality: str, item_tokens: Sequence[str], format: AtomicFormat = DEFAULT_FORMAT
) -> VisualFeatures:
    """Read a feature file, pooled vectors [n, dim] (P is 1) or those of patches [n, P, dim] (a binary twin).

    Args:
        folder, name: of the data set.
        modality: suffix of the feature file.
        item_tokens: N items; those that the file does not have are without a picture.
        format: how a file of RecBole's text form is written.

    Raises:
        ValueError: Naming the file and the remedy: there is none, it is malformed, or has no item of the data set.
    """
    require_visual_features(folder, name, modality)
    file = read_feature_file(folder, name, modality, format, grids=True)
    file_rows = rows_of_items(file, name, item_tokens)  # [N]
    present = file_rows >= 0
    vectors = file.vectors[file_rows[present]]  # [n, P, dim] or, pooled, [n, dim]
    if vectors.ndim == 2:
        vectors = vectors[:, None]  # [n, 1, dim]
    rows = np.full(len(item_tokens) + 1, -1)
    rows[1:][present] = np.arange(len(vectors))
    return VisualFeatures(vectors, rows)
