"""How alike pictures are, by colours and gradients: the judge of generated pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recbole_mgr.encoding.classical import BLOCKS, ClassicalPictures


class PictureLikeness:
    """Vectors whose inner product says how alike two pictures are, from -1 to 1.

    The vectors are the classical descriptions of :mod:`recbole_mgr.encoding.classical`, centred on a catalogue's mean
    and each block given the same weight: two pictures of the catalogue drawn at random are at about 0. What is judged
    has no say in the measure.

    Args:
        pixels: uint8 [n, size, size, 3], pictures of the catalogue, n >= 1. All pictures compared must have been
            scaled to one size, or sharpness alone would tell them apart.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self._encoder = ClassicalPictures(dim=1)
        described = self._describe(pixels)  # [n, sum(BLOCKS)]
        self._mean = described.mean(axis=0)
        blocks = np.split((described - self._mean) ** 2, np.cumsum(BLOCKS)[:-1], axis=1)
        spreads = [np.sqrt(block.sum(axis=1).mean()) for block in blocks]
        self._scale = np.repeat([1 / max(spread, 1e-6) for spread in spreads], BLOCKS).astype(np.float32)

    def vectors(self, pixels: np.ndarray) -> np.ndarray:
        """float32 [n, dim] of pictures uint8 [n, size, size, 3], rows of length 1 (0 for the catalogue's very mean)."""
        centred = (self._describe(pixels) - self._mean) * self._scale
        return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)

    def _describe(self, pixels: np.ndarray) -> np.ndarray:
        return self._encoder.encode([self._encoder.prepare(Image.fromarray(picture)) for picture in pixels])
