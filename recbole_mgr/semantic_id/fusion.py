"""Early fusion (MGR-EF): one vector per item out of several modalities.

Source: arXiv 2503.23333. The way of merging is not stated there; concatenation, mean and sum of L2-normalised
vectors are offered.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recbole_mgr.data.vectors import chunk_slices

FUSION_METHODS = ("concat", "mean", "sum")


def early_fusion(vectors: Mapping[str, np.ndarray], method: str = "concat") -> np.ndarray:
    """Merge the modalities' L2-normalised vectors; a vector of zeros stays zero.

    Args:
        vectors: modality -> float [N, dim_m], rows of the same items; possibly memory-mapped.
        method: "concat" ([N, sum of dim_m]), "mean" or "sum" ([N, dim], equal dims needed).

    Returns:
        float [N, dim]: float16 where every modality is float16, otherwise float32.

    Raises:
        ValueError: If the method is unknown, there is no modality, or counts or (mean, sum) dims differ.
    """
    if method not in FUSION_METHODS:
        raise ValueError(f"early_fusion: {method!r} is unknown; choose one of {', '.join(FUSION_METHODS)}")
    if not vectors:
        raise ValueError("early_fusion: no modality given; name at least one")
    counts = {modality: len(rows) for modality, rows in vectors.items()}
    dims = {modality: rows.shape[1] for modality, rows in vectors.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"early_fusion: the modalities have different numbers of items: {counts}")
    if method != "concat" and len(set(dims.values())) > 1:
        raise ValueError(f"early_fusion: {method!r} needs equal dims but they are {dims}; use 'concat'")

    num_items = next(iter(counts.values()))
    dim = sum(dims.values()) if method == "concat" else next(iter(dims.values()))
    half = all(rows.dtype == np.float16 for rows in vectors.values())
    fused = np.empty((num_items, dim), dtype=np.float16 if half else np.float32)
    for rows in chunk_slices(num_items, sum(dims.values())):
        parts = [_unit_rows(matrix[rows]) for matrix in vectors.values()]  # each [n, dim_m]
        if method == "concat":
            fused[rows] = np.concatenate(parts, axis=1)
        else:
            fused[rows] = sum(parts) / (len(parts) if method == "mean" else 1)
    return fused


def _unit_rows(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
