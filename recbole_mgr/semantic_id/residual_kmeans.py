"""Residual k-means: level by level, k-means on what the levels before left unexplained.

Source: residual vector quantisation (Chen, Guan & Wang 2010); GRID uses it as "RQ-KMeans" for semantic IDs.
Deviations: one k-means run per level over a sample of the items, not mini-batches over all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.data.arrays import finite
from recbole_mgr.data.vectors import Rows, Standardization, chunk_slices, sample_rows, to_float32
from recbole_mgr.semantic_id.kmeans import kmeans, nearest
from recbole_mgr.semantic_id.quantizer import require_positive, require_shape

SAME_PLACE = 1e-5  # squared distance, in shares of the vectors' variance, that is taken for float rounding


class ResidualKMeans:
    """A `Quantizer` of ``levels`` codebooks with ``codebook_size`` centres each.

    Vectors with fewer distinct places than ``codebook_size`` leave the highest codes unused.

    Args:
        levels: codes per vector, >= 1.
        codebook_size: K, codes per level, >= 1.
        seed: of the quantiser's own generator.
        iterations: most Lloyd rounds per level and stage of `kmeans`; it stops earlier once the error settles.
        sample_size: the codebooks are learned from that many vectors drawn at random where there are more;
            all vectors are then assigned in chunks.
    """

    def __init__(
        self, *, levels: int, codebook_size: int, seed: int, iterations: int = 50, sample_size: int = 200_000
    ) -> None:
        require_positive(levels=levels, codebook_size=codebook_size, iterations=iterations, sample_size=sample_size)
        self.levels = levels
        self.codebook_size = codebook_size
        self._seed = seed
        self._iterations = iterations
        self._sample_size = sample_size
        self._standardization: Standardization | None = None
        self._codebooks: list[Tensor] = []  # one [k, dim] per level, k <= codebook_size

    @torch.no_grad()
    def fit(self, vectors: Rows) -> ResidualKMeans:
        generator = torch.Generator().manual_seed(self._seed)
        residuals = sample_rows(vectors, limit=self._sample_size, generator=generator)  # [n, dim]
        self._standardization = Standardization.of(residuals)
        self._standardization.apply_(residuals)
        floor = SAME_PLACE * residuals.shape[1]
        self._codebooks = []
        for _ in range(self.levels):
            codebook = kmeans(
                residuals,
                self.codebook_size,
                generator=generator,
                iterations=self._iterations,
                floor=floor,
            )
            codes, _ = nearest(residuals, codebook)  # [n]
            for rows in chunk_slices(*residuals.shape):
                residuals[rows] -= codebook[codes[rows]]
            self._codebooks.append(codebook)
        return self

    @torch.no_grad()
    def encode(self, vectors: Rows) -> np.ndarray:
        standardization = self._fitted()
        require_shape(vectors, width=len(standardization.mean), what="vectors")
        codes = np.empty((len(vectors), self.levels), dtype=np.int64)
        for rows in chunk_slices(*vectors.shape):
            residuals = standardization.apply_(to_float32(vectors[rows]))  # [n, dim]
            for level, codebook in enumerate(self._codebooks):
                level_codes, _ = nearest(residuals, codebook)
                residuals -= codebook[level_codes]
                codes[rows, level] = level_codes.numpy()
        return codes

    @torch.no_grad()
    def reconstruct(self, codes: np.ndarray) -> np.ndarray:
        standardization = self._fitted()
        require_shape(codes, width=self.levels, what="codes")
        vectors = torch.zeros(len(codes), len(standardization.mean))  # [n, dim]
        for level, codebook in enumerate(self._codebooks):
            level_codes = torch.from_numpy(np.array(codes[:, level], dtype=np.int64))
            if len(codes) and not 0 <= level_codes.min() <= level_codes.max() < len(codebook):
                raise ValueError(f"level {level}: codes must lie in 0..{len(codebook) - 1}, the codes in use")
            vectors += codebook[level_codes]
        return standardization.invert(vectors).numpy()

    def state(self) -> dict[str, np.ndarray]:
        standardization = self._fitted()
        codebooks = {f"codebook.{level}": book.numpy() for level, book in enumerate(self._codebooks)}
        return {"mean": standardization.mean.numpy(), "scale": standardization.scale.numpy(), **codebooks}

    def load(self, state: Mapping[str, np.ndarray]) -> ResidualKMeans:
        expected = {"mean", "scale", *(f"codebook.{level}" for level in range(self.levels))}
        if set(state) != expected:
            raise ValueError(f"state has the arrays {sorted(state)}, but levels={self.levels} needs {sorted(expected)}")
        self._standardization = Standardization.load(state)
        dim = len(self._standardization.mean)
        self._codebooks = [to_float32(finite(state, f"codebook.{level}", None, dim)) for level in range(self.levels)]
        if any(len(codebook) > self.codebook_size for codebook in self._codebooks):
            raise ValueError(f"state has more than codebook_size={self.codebook_size} codes on a level")
        return self

    def _fitted(self) -> Standardization:
        if self._standardization is None:
            raise RuntimeError("this ResidualKMeans has no codebooks yet: call fit() or load() first")
        return self._standardization
