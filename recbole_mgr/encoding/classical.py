"""Item vectors from titles and pictures without any download.

Classical stand-ins for language and vision models: good enough to run, test and teach with on any
machine, and deterministic. Bring CLIP, T5 or other vectors through the same files when you have them.

Source: latent semantic analysis (Deerwester et al., 1990) for text; colour statistics on a grid and
histograms of oriented gradients (Dalal and Triggs, 2005) for pictures. Deviation: gradient cells are
normalised over the whole picture instead of over overlapping blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from recbole_mgr.data.feature_file import Rows
from recbole_mgr.data.pictures import read_picture
from recbole_mgr.encoding.encoder import Encoder

PICTURE_SIDE = 64  # pixels; every picture is scaled to a square of this side
COLOUR_GRID = 4
GRADIENT_GRID = 8
ORIENTATIONS = 8
HUE_BINS, SATURATION_BINS, VALUE_BINS = 12, 3, 3
BLOCKS = (  # values of a picture's colour histogram, colour moments and gradient orientations
    HUE_BINS * SATURATION_BINS * VALUE_BINS,
    2 * 3 * COLOUR_GRID**2,
    ORIENTATIONS * GRADIENT_GRID**2,
)
MAX_TERMS = 50_000


class EncodedImages(NamedTuple):
    """vectors: float32 [n, dim], zero where absent; present: bool [n], False where the path was None."""

    vectors: np.ndarray
    present: np.ndarray


def encode_text(texts: Sequence[str], *, dim: int = 64, seed: int = 0) -> np.ndarray:
    """Encode texts as TF-IDF of words and character n-grams, reduced by a truncated SVD.

    Args:
        texts: n strings, none of them blank.
        dim: length of a vector, at least 1. Columns beyond the rank of the data are zero.
        seed: seed of the randomised SVD.

    Returns:
        float32 [n, dim], rows of length 1. A row is zero only if nothing of its text is shared with
        the kept directions, which needs more than `dim` texts.

    Raises:
        ValueError: if there is no text, **or** a text is blank, **or** dim < 1.
    """
    _check_dim(dim)
    if len(texts) == 0:
        raise ValueError("texts is empty: there is nothing to encode")
    for row, text in enumerate(texts):
        if not text.strip():
            raise ValueError(f"texts[{row}] is blank: leave the item out, so that it counts as missing")
    words = TfidfVectorizer(sublinear_tf=True, max_features=MAX_TERMS, token_pattern=r"\S+")
    # Character n-grams tie inflected and compound words together that whole words keep apart.
    characters = TfidfVectorizer(sublinear_tf=True, max_features=MAX_TERMS, analyzer="char_wb", ngram_range=(3, 4))
    cleaned = [" ".join(re.findall(r"\w+", text)) or text for text in texts]
    terms = sparse.hstack([words.fit_transform(cleaned), characters.fit_transform(cleaned)]).tocsr()
    return _reduce(terms, dim, seed)  # [n, dim]


def encode_images(paths: Sequence[str | Path | None], *, dim: int = 64, seed: int = 0) -> EncodedImages:
    """Encode pictures by colour and by gradient orientation, reduced by a principal component analysis.

    Args:
        paths: n picture files; None marks an item without a picture.
        dim: length of a vector, at least 1. Columns beyond the rank of the data are zero.
        seed: seed of the randomised SVD.

    Returns:
        EncodedImages; rows of pictures have length 1. A picture that equals the mean of all pictures
        (a lone picture, or copies of one) has nothing to tell it apart and a zero row.

    Raises:
        ValueError: if a file cannot be read as a picture, **or** every path is None, **or** dim < 1.
    """
    _check_dim(dim)
    present = np.array([path is not None for path in paths], dtype=bool)  # [n]
    if not present.any():
        raise ValueError("paths holds no picture: there is nothing to encode")
    descriptions = [_describe(_scaled(read_picture(path))) for path in paths if path is not None]
    vectors = np.zeros((len(present), dim), dtype=np.float32)
    vectors[present] = _reduce_descriptions(np.stack(descriptions), dim, seed)
    return EncodedImages(vectors=vectors, present=present)


class ClassicalText(Encoder):
    """`encode_text` as an encoder of a whole catalogue: its directions are those of all texts together."""

    reads = "text"
    libraries = ("numpy", "scikit-learn")
    per_item = False

    def __init__(self, *, dim: int) -> None:
        _check_dim(dim)
        self._dim = dim
        self.identity = {"encoder": "classical", "method": "TF-IDF and SVD", "dim": dim}

    def encode(self, contents: Sequence[str]) -> np.ndarray:
        return encode_text(contents, dim=self._dim)  # [n, dim]


class ClassicalPictures(Encoder):
    """`encode_images` as an encoder: pictures are described one by one and reduced together."""

    reads = "image"
    libraries = ("numpy", "scikit-learn", "pillow")
    identity = {"encoder": "classical", "method": "colours and gradients"}

    def __init__(self, *, dim: int) -> None:
        _check_dim(dim)
        self._dim = dim

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.identity, "dim": self._dim}

    def prepare(self, picture: Image.Image) -> Image.Image:
        return _scaled(picture)

    def encode(self, contents: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([_describe(picture) for picture in contents])  # float32 [B, sum(BLOCKS)]

    def finish(self, vectors: Rows) -> np.ndarray:
        return _reduce_descriptions(vectors[:], self._dim, seed=0)  # [n, dim]


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise ValueError(f"dim is {dim}: a vector needs at least 1 component")


def _reduce(features: np.ndarray | sparse.csr_matrix, dim: int, seed: int) -> np.ndarray:
    """Project rows on their first `dim` singular directions and give them length 1: float32 [n, dim]."""
    rank = min(dim, *features.shape)
    left, singular, _ = randomized_svd(features, n_components=rank, random_state=seed)
    scores = left * singular  # [n, rank]
    lengths = np.linalg.norm(scores, axis=1, keepdims=True)  # [n, 1]
    # Below this a row is rounding noise, which normalising would blow up into a direction.
    real = lengths > 1e-6 * max(float(lengths.max()), 1e-6)
    reduced = np.zeros((features.shape[0], dim), dtype=np.float32)
    np.divide(scores, lengths, out=reduced[:, :rank], where=real, casting="same_kind")
    return reduced


def _standardise(block: np.ndarray) -> np.ndarray:
    """Centre a block's columns and give the block, as a whole, variance 1 [n, width].

    Scaling column by column would turn nearly empty histogram bins into the loudest features.
    """
    centred = block - block.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=1).mean())
    return centred / spread if spread > 1e-9 else np.zeros_like(centred)


def _scaled(picture: Image.Image) -> Image.Image:
    return picture.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BILINEAR)


def _describe(picture: Image.Image) -> np.ndarray:
    """Describe a picture by colour histogram, colour moments on a grid, and gradient orientations, one after
    another: float32 [sum(BLOCKS)]."""
    pixels = np.asarray(picture, dtype=np.float64) / 255  # [side, side, 3]
    blocks = _colour_histogram(picture), _colour_moments(pixels), _gradient_orientations(pixels.mean(axis=2))
    return np.concatenate(blocks).astype(np.float32)


def _reduce_descriptions(descriptions: np.ndarray, dim: int, seed: int) -> np.ndarray:
    blocks = np.split(descriptions.astype(np.float64), np.cumsum(BLOCKS)[:-1], axis=1)
    return _reduce(np.hstack([_standardise(block) for block in blocks]), dim, seed)  # [n, dim]


def _colour_histogram(picture: Image.Image) -> np.ndarray:
    hsv = np.asarray(picture.convert("HSV"), dtype=np.int64)  # [side, side, 3]
    bins = np.array([HUE_BINS, SATURATION_BINS, VALUE_BINS])
    hue, saturation, value = np.moveaxis(hsv * bins // 256, 2, 0)
    cells = (hue * SATURATION_BINS + saturation) * VALUE_BINS + value  # [side, side]
    counts = np.bincount(cells.ravel(), minlength=int(bins.prod()))
    # The square root makes the distance between histograms the Hellinger distance.
    return np.sqrt(counts / cells.size)


def _colour_moments(pixels: np.ndarray) -> np.ndarray:
    size = PICTURE_SIDE // COLOUR_GRID
    cells = pixels.reshape(COLOUR_GRID, size, COLOUR_GRID, size, 3)
    return np.concatenate([cells.mean(axis=(1, 3)), cells.std(axis=(1, 3))]).ravel()


def _gradient_orientations(grey: np.ndarray) -> np.ndarray:
    down, right = np.gradient(grey)  # [side, side] each
    strength = np.hypot(down, right)
    # Folding onto half a turn: a dark line on light and a light line on dark are the same edge.
    position = np.arctan2(down, right) % np.pi / np.pi * ORIENTATIONS
    lower = np.floor(position)
    share = position - lower
    along = np.arange(PICTURE_SIDE) * GRADIENT_GRID // PICTURE_SIDE
    cells = along[:, None] * GRADIENT_GRID + along  # [side, side]
    histogram = np.zeros(GRADIENT_GRID**2 * ORIENTATIONS)
    for orientation, weight in ((lower, 1 - share), (lower + 1, share)):
        bins = cells * ORIENTATIONS + (orientation % ORIENTATIONS).astype(np.int64)
        histogram += np.bincount(bins.ravel(), (strength * weight).ravel(), minlength=histogram.size)
    return np.sqrt(histogram / max(histogram.sum(), 1e-9))
