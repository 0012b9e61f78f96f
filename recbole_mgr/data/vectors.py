"""Reading item vectors in pieces, so that a memory-mapped float16 file never becomes one float32 copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.data.arrays import finite

CHUNK_VALUES = 2**21  # float32 values held at once by a chunked pass: 8 MiB, which malloc reuses


class OrderedRows:
    """A matrix seen in another row order, without copying it.

    Args:
        vectors: [n, dim], possibly memory-mapped, or such a view itself.
        order: int [m], the row of ``vectors`` that comes at each place; -1 asks for ``filler``.
        filler: [dim], the row of every place whose order is -1; needed where there is one.
    """

    def __init__(self, vectors: Rows, order: np.ndarray, *, filler: np.ndarray | None = None) -> None:
        self._vectors = vectors
        self._order = order
        self._filler = filler
        self.shape = (len(order), vectors.shape[1])
        self.dtype = vectors.dtype

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        order = self._order[rows]
        gathered = self._vectors[order]  # [m, dim], a copy
        if self._filler is not None:
            gathered[order < 0] = self._filler
        return gathered


Rows = np.ndarray | OrderedRows


def chunk_slices(num_rows: int, width: int) -> Iterator[slice]:
    """Consecutive slices over ``num_rows`` rows, each of at most CHUNK_VALUES values at ``width`` per row."""
    step = max(1, CHUNK_VALUES // max(1, width))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def to_float32(rows: np.ndarray) -> Tensor:
    """A writable float32 copy of some rows as a tensor."""
    return torch.from_numpy(np.array(rows, dtype=np.float32))


def sample_rows(vectors: Rows, *, limit: int, generator: torch.Generator) -> Tensor:
    """At most ``limit`` rows, drawn without replacement and kept in order, float32 [min(n, limit), dim]."""
    if len(vectors) <= limit:
        chosen = np.arange(len(vectors))
    else:
        chosen = torch.randperm(len(vectors), generator=generator)[:limit].sort().values.numpy()
    sample = torch.empty(len(chosen), vectors.shape[1])
    for rows in chunk_slices(*sample.shape):
        sample[rows] = to_float32(vectors[chosen[rows]])
    return sample


def require_finite(vectors: Rows, *, modality: str, item_tokens: Sequence[str]) -> None:
    """Check that every value is finite.

    Raises:
        ValueError: If a value is NaN or infinite; names the modality and the first items concerned.
    """
    for rows in chunk_slices(*vectors.shape):
        bad = np.flatnonzero(~np.isfinite(vectors[rows]).all(axis=1))
        if len(bad):
            items = ", ".join(repr(item_tokens[rows.start + row]) for row in bad[:5])
            raise ValueError(
                f"modality {modality!r} has NaN or infinite values, e.g. for the items {items}; "
                "encode these items again or treat them as missing (missing_modality)"
            )


class Standardization(NamedTuple):
    """Mean removed per dimension, then one scale for all: distances keep their proportions.

    A scale per dimension would let a dimension of mere noise weigh as much as any other.
    """

    mean: Tensor  # [dim]
    scale: Tensor  # []

    @classmethod
    def of(cls, sample: Tensor) -> Standardization:
        """The one that gives ``sample`` [n, dim] zero mean and a variance of 1 averaged over dimensions."""
        mean = sample.mean(0)  # [dim]
        # summed by column first: the sum over all values would depend on the number of threads
        squares = sum((sample[rows] - mean).square().sum(0).double() for rows in chunk_slices(*sample.shape))  # [dim]
        scale = (squares.sum() / sample.numel()).sqrt().float()
        return cls(mean, torch.where(scale > 1e-6 * mean.abs().max(), scale, 1.0))

    @classmethod
    def load(cls, state: Mapping[str, np.ndarray]) -> Standardization:
        """The one whose parts stand in arrays under their names; raises ValueError where they do not."""
        return cls(to_float32(finite(state, "mean", None)), to_float32(finite(state, "scale")))

    def apply_(self, vectors: Tensor) -> Tensor:
        """Standardise float32 [n, dim] in place."""
        return vectors.sub_(self.mean).div_(self.scale)

    def invert(self, vectors: Tensor) -> Tensor:
        return vectors * self.scale + self.mean
