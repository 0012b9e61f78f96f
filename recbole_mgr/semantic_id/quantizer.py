"""What a quantiser is, and the table of those that exist.

Adding one: write a class that follows `Quantizer` in a file of its own, and name it in `QUANTIZERS`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from recbole_mgr.data.vectors import Rows
from recbole_mgr.hints import near_miss

QUANTIZERS = {
    "rkmeans": "recbole_mgr.semantic_id.residual_kmeans:ResidualKMeans",
    "rqvae": "recbole_mgr.semantic_id.rqvae:RQVAE",
}


class Quantizer(Protocol):
    """Turns vectors [n, dim] into codes [n, levels], each level refining the one before.

    Built as ``(*, levels, codebook_size, seed, **options)``. The result depends on nothing but the vectors
    and these arguments; no global random state is read or changed.
    """

    levels: int
    codebook_size: int

    def fit(self, vectors: Rows) -> Quantizer:
        """Learn the codebooks from float vectors [n, dim], n >= 1, finite, possibly memory-mapped."""

    def encode(self, vectors: Rows) -> np.ndarray:
        """Codes int64 [n, levels] in 0..codebook_size-1 of vectors [n, dim]."""

    def reconstruct(self, codes: np.ndarray) -> np.ndarray:
        """Vectors float32 [n, dim] that the codes [n, levels] stand for."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything learned, as plain arrays (``np.savez`` takes them)."""

    def load(self, state: Mapping[str, np.ndarray]) -> Quantizer:
        """Take over what `state` gave, in place of fitting; raises ValueError where it is something else."""


def quantizer_class(name: str) -> type[Quantizer]:
    """The class behind a name of `QUANTIZERS`, imported on first use.

    Raises:
        ValueError: If the name is unknown; suggests the nearest.
    """
    if name not in QUANTIZERS:
        hint = near_miss(name, QUANTIZERS)
        raise ValueError(f"quantizer: {name!r} is unknown; known: {sorted(QUANTIZERS)}{hint}")
    module, _, attribute = QUANTIZERS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def make_quantizer(name: str, *, levels: int, codebook_size: int, seed: int, options: Mapping[str, Any]) -> Quantizer:
    """An unfitted quantiser.

    Args:
        name: a key of `QUANTIZERS`.
        levels, codebook_size, seed: see `Quantizer`.
        options: further keyword arguments of that class.

    Raises:
        ValueError: If the name or an option is unknown.
    """
    quantizer = quantizer_class(name)
    known = set(inspect.signature(quantizer).parameters) - {"levels", "codebook_size", "seed"}
    for option in options:
        if option not in known:
            hint = near_miss(option, known)
            raise ValueError(f"quantizer_options: {name} has no option {option!r}; known: {sorted(known)}{hint}")
    return quantizer(levels=levels, codebook_size=codebook_size, seed=seed, **options)


def require_shape(codes_or_vectors: Rows, *, width: int, what: str) -> None:
    """Check for two dimensions and ``width`` columns.

    Raises:
        ValueError: If the shape is another one.
    """
    shape = tuple(codes_or_vectors.shape)
    if len(shape) != 2 or shape[1] != width:
        raise ValueError(f"{what} have shape {shape}; this quantizer was fitted for [n, {width}]")


def require_positive(**values: float) -> None:
    """Check that every named setting is above zero.

    Raises:
        ValueError: If one is not.
    """
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
