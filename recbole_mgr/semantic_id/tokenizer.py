"""Codes of items that were not there when the quantisers were fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from recbole_mgr.data.arrays import finite
from recbole_mgr.semantic_id.build import FUSED, SemanticIdSettings
from recbole_mgr.semantic_id.fusion import early_fusion
from recbole_mgr.semantic_id.quantizer import Quantizer


class ItemTokenizer:
    """What turned a catalogue's features into codes, kept for items to come.

    Args:
        settings: how the catalogue was quantised.
        quantizers: modality -> fitted quantiser; under early fusion one for "fused".
        fill_vectors: modality -> [dim], in the features' dtype: what an item without a vector gets. Their order is
            that of fusion.
    """

    def __init__(
        self,
        *,
        settings: SemanticIdSettings,
        quantizers: Mapping[str, Quantizer],
        fill_vectors: Mapping[str, np.ndarray],
    ) -> None:
        self.settings = settings
        self.quantizers = dict(quantizers)
        self.fill_vectors = dict(fill_vectors)

    @property
    def modalities(self) -> list[str]:
        """The modalities whose vectors are read, before any fusion."""
        return list(self.fill_vectors)

    def check(self, features: Mapping[str, np.ndarray]) -> None:
        """Check names and shapes of features [n, dim].

        Raises:
            ValueError: If a modality is unknown, none is given, or a shape does not fit.
        """
        unknown = sorted(set(features) - set(self.fill_vectors))
        if unknown or not features:
            raise ValueError(f"features: the modalities are {self.modalities}, not {unknown or 'none at all'}")
        num_items = len(next(iter(features.values())))
        for modality, vectors in features.items():
            expected = (num_items, len(self.fill_vectors[modality]))
            if vectors.shape != expected:
                raise ValueError(
                    f"features: modality {modality!r} has shape {vectors.shape}, expected {expected}: a row for each "
                    "new item, encoded as the catalogue's items were"
                )

    def complete(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Vectors as the quantisers want them: checked, missing ones filled in, fused where fusion is early.

        Args:
            features: modality -> float [n, dim]; a row of NaN only, or a modality left out, is a missing vector.

        Returns:
            Modality -> [n, dim], finite.

        Raises:
            ValueError: As `check`, or if a vector is not finite.
        """
        self.check(features)
        num_items = len(next(iter(features.values())))
        vectors = {
            modality: _filled(modality, features.get(modality), fill_vector, num_items)
            for modality, fill_vector in self.fill_vectors.items()
        }
        if self.settings.fusion == "early":
            return {FUSED: early_fusion(vectors, self.settings.early_fusion)}
        return vectors

    def encode(self, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Modality -> codes int64 [n, levels] of vectors that `complete` returned."""
        return {modality: self.quantizers[modality].encode(matrix) for modality, matrix in vectors.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything learned, as plain arrays for ``np.savez``."""
        learned = {
            f"quantizer/{modality}/{name}": array
            for modality, quantizer in self.quantizers.items()
            for name, array in quantizer.state().items()
        }
        return learned | {f"stand_in/{modality}": vector for modality, vector in self.fill_vectors.items()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], settings: SemanticIdSettings, *, sizes: Mapping[str, int]
    ) -> ItemTokenizer:
        """Counterpart of `arrays`.

        Args:
            arrays: what `arrays` returned.
            settings: how the catalogue was quantised.
            sizes: modality -> codes per level, as the catalogue's table has them.

        Raises:
            ValueError: If arrays are missing or do not fit the settings.
        """
        quantizers = {}
        for modality, size in sizes.items():
            prefix = f"quantizer/{modality}/"
            state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            sized = dataclasses.replace(settings, codebook_size=size)
            quantizers[modality] = sized.make_quantizer(modality=modality, num_items=1).load(state)
        fill_vectors = {
            name.removeprefix("stand_in/"): finite(arrays, name, None)
            for name in arrays
            if name.startswith("stand_in/")
        }
        tokenizer = cls(settings=settings, quantizers=quantizers, fill_vectors=fill_vectors)
        # an item without vectors of its own has codes only where all parts fit each other
        empty_item = {modality: vector[None] for modality, vector in fill_vectors.items()}
        if set(tokenizer.encode(tokenizer.complete(empty_item))) != set(quantizers):
            raise ValueError(f"fill vectors of {sorted(fill_vectors)}, but quantisers of {sorted(quantizers)}")
        return tokenizer


def missing_rows(vectors: np.ndarray) -> np.ndarray:
    """Which rows of [n, dim] hold NaN only, bool [n]."""
    return np.isnan(vectors).all(axis=1)


def _filled(modality: str, vectors: np.ndarray | None, fill_vector: np.ndarray, num_items: int) -> np.ndarray:
    if vectors is None:
        return np.tile(fill_vector, (num_items, 1))
    with np.errstate(over="ignore"):
        filled = vectors.astype(fill_vector.dtype)  # rounded as the catalogue's were, so that equal vectors meet
    filled[missing_rows(vectors)] = fill_vector
    bad = np.flatnonzero(~np.isfinite(filled).all(axis=1))
    if len(bad):
        raise ValueError(
            f"features: modality {modality!r}, row {bad[0]}: the vector is not finite in {fill_vector.dtype}; encode "
            "the item again, or fill the row with NaN to mark it as missing"
        )
    return filled
