"""Item vectors from titles and pictures without any download.

Classical stand-ins for language and vision models: good enough to run, test and teach with on any
machine, and deterministic. Use CLIP, T5 or other vectors through the same files when you have them.

Source: latent semantic analysis (Deerwester et al., 1990) for text; colour statistics on a grid and
histograms of oriented gradients (Dalal and Triggs, 2005) for pictures. Deviation: gradient cells are
normalised over the whole picture instead of over overlapping blocks.

What decides a vector (words and their weights, means and scales, singular directions) is learned from the catalogue
and kept, so that items to come are seen as the catalogue was: `learned` and `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

from recbole_mgr.data.arrays import finite
from recbole_mgr.data.feature_file import Rows
from recbole_mgr.data.pictures import read_picture
from recbole_mgr.data.words import words_of
from recbole_mgr.encoding.encoder import Encoder, EncoderRequest

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


def encode_text(texts: Sequence[str], *, dim: int = 64) -> np.ndarray:
    """Encode texts as TF-IDF of words and character n-grams, projected on the first directions of a truncated SVD.

    Args:
        texts: n strings, none of them blank.
        dim: length of a vector, at least 1. Columns beyond the rank of the data are zero.

    Returns:
        float32 [n, dim], rows of length 1. A row is zero only if nothing of its text is shared with
        the kept directions, which needs more than `dim` texts.

    Raises:
        ValueError: if there is no text, **or** a text is blank, **or** dim < 1.
    """
    return ClassicalText(dim=dim).encode(texts)


def encode_images(paths: Sequence[str | Path | None], *, dim: int = 64) -> EncodedImages:
    """Encode pictures by colour and by gradient orientation, projected on their first principal components.

    Args:
        paths: n picture files; None marks an item without a picture.
        dim: length of a vector, at least 1. Columns beyond the rank of the data are zero.

    Returns:
        EncodedImages; rows of pictures have length 1. A picture that equals the mean of all pictures
        (a lone picture, or copies of one) has nothing to tell it apart and a zero row.

    Raises:
        ValueError: if a file cannot be read as a picture, **or** every path is None, **or** dim < 1.
    """
    encoder = ClassicalPictures(dim=dim)
    present = np.array([path is not None for path in paths], dtype=bool)  # [n]
    if not present.any():
        raise ValueError("paths holds no picture: there is nothing to encode")
    pictures = [encoder.prepare(read_picture(path)) for path in paths if path is not None]
    vectors = np.zeros((len(present), dim), dtype=np.float32)
    vectors[present] = encoder.finish(encoder.encode(pictures))
    return EncodedImages(vectors=vectors, present=present)


class ClassicalText(Encoder):
    """`encode_text` as an encoder of a whole catalogue: its words and directions are those of all texts together."""

    reads = "text"
    libraries = ("numpy", "scikit-learn")
    per_item = False
    learns = True

    def __init__(self, *, dim: int) -> None:
        _check_dim(dim)
        self._dim = dim
        self._projection: Projection | None = None
        self._words = TfidfVectorizer(sublinear_tf=True, max_features=MAX_TERMS, token_pattern=r"\S+")
        # Character n-grams tie inflected and compound words together that whole words keep apart.
        self._characters = TfidfVectorizer(
            sublinear_tf=True, max_features=MAX_TERMS, analyzer="char_wb", ngram_range=(3, 4)
        )
        self.identity = {"encoder": "classical", "method": "TF-IDF and SVD", "dim": dim}

    @classmethod
    def of(cls, request: EncoderRequest) -> ClassicalText:
        return cls(dim=request.dim)

    def encode(self, contents: Sequence[str]) -> np.ndarray:
        """float32 [n, dim]; learns from the texts first, unless it has learned from others."""
        if len(contents) == 0:
            raise ValueError("texts is empty: there is nothing to encode")
        for row, text in enumerate(contents):
            if not text.strip():
                raise ValueError(f"texts[{row}] is blank: leave the item out, so that it counts as missing")
        cleaned = [" ".join(words_of(text)) or text for text in contents]
        if self._projection is None:
            terms = self._terms(cleaned, TfidfVectorizer.fit_transform)
            self._projection = Projection.of(terms, self._dim)
        else:
            terms = self._terms(cleaned, TfidfVectorizer.transform)
        return self._projection.apply(terms)

    def learned(self) -> dict[str, np.ndarray]:
        parts = {"words": self._words, "characters": self._characters}
        arrays = {f"{name} idf": vectorizer.idf_ for name, vectorizer in parts.items()}
        terms = {
            name: np.frombuffer("\n".join(vectorizer.get_feature_names_out()).encode(), dtype=np.uint8)
            for name, vectorizer in parts.items()
        }
        return terms | arrays | self._projection._asdict()

    def load(self, learned: Mapping[str, np.ndarray]) -> None:
        try:
            for name, vectorizer in (("words", self._words), ("characters", self._characters)):
                terms = learned[name].tobytes().decode().split("\n")
                vectorizer.vocabulary = {term: number for number, term in enumerate(terms)}
                vectorizer.idf_ = finite(learned, f"{name} idf", len(terms))
            rows = len(self._words.vocabulary) + len(self._characters.vocabulary)
            self._projection = Projection.loaded(learned, rows=rows, dim=self._dim)
        except (KeyError, ValueError) as error:
            raise ValueError(f"they are not what an encoder of texts learned ({error})") from error

    def _terms(self, texts: Sequence[str], how: Callable) -> sparse.csr_matrix:
        return sparse.hstack([how(self._words, texts), how(self._characters, texts)]).tocsr()  # [n, terms]


class ClassicalPictures(Encoder):
    """`encode_images` as an encoder: pictures are described one by one and projected together."""

    reads = "image"
    libraries = ("numpy", "scikit-learn", "pillow")
    learns = True
    identity = {"encoder": "classical", "method": "colours and gradients"}

    def __init__(self, *, dim: int) -> None:
        _check_dim(dim)
        self._dim = dim
        self._means = self._scales = np.empty(0)  # of the blocks: [sum(BLOCKS)] and [3]
        self._projection: Projection | None = None

    @classmethod
    def of(cls, request: EncoderRequest) -> ClassicalPictures:
        return cls(dim=request.dim)

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.identity, "dim": self._dim}

    def prepare(self, picture: Image.Image) -> Image.Image:
        return _scaled(picture)

    def encode(self, contents: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([_describe(picture) for picture in contents])  # float32 [B, sum(BLOCKS)]

    def finish(self, vectors: Rows) -> np.ndarray:
        """float32 [n, dim]; learns from the descriptions first, unless it has learned from others."""
        descriptions = vectors[:].astype(np.float64)
        if self._projection is None:
            self._means = descriptions.mean(axis=0)
            blocks = np.split(descriptions - self._means, np.cumsum(BLOCKS)[:-1], axis=1)
            # One scale for a block: column by column, nearly empty histogram bins would become the loudest features.
            spreads = [np.sqrt((block**2).sum(axis=1).mean()) for block in blocks]
            self._scales = np.array([1 / spread if spread > 1e-9 else 0.0 for spread in spreads])
            self._projection = Projection.of(self._standardised(descriptions), self._dim)
        return self._projection.apply(self._standardised(descriptions))

    def learned(self) -> dict[str, np.ndarray]:
        return {"means": self._means, "scales": self._scales} | self._projection._asdict()

    def load(self, learned: Mapping[str, np.ndarray]) -> None:
        try:
            self._means, self._scales = finite(learned, "means", sum(BLOCKS)), finite(learned, "scales", len(BLOCKS))
            self._projection = Projection.loaded(learned, rows=sum(BLOCKS), dim=self._dim)
        except (KeyError, ValueError) as error:
            raise ValueError(f"they are not what an encoder of pictures learned ({error})") from error

    def _standardised(self, descriptions: np.ndarray) -> np.ndarray:
        return (descriptions - self._means) * np.repeat(self._scales, BLOCKS)


class Projection(NamedTuple):
    """Rows seen along the first singular directions of a catalogue, each with length 1.

    Attributes:
        directions: float32 [features, rank].
        floor: float64 [], the length up to which a row is rounding noise, which normalising would blow up.
        width: int64 [], values of a vector; those beyond the rank are zero.
    """

    directions: np.ndarray
    floor: np.ndarray
    width: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray | sparse.csr_matrix, dim: int) -> Projection:
        """Learn the first ``dim`` directions of features [n, features]."""
        _, _, right = randomized_svd(features, n_components=min(dim, *features.shape), random_state=0)
        directions = right.T.astype(np.float32)
        longest = float(np.linalg.norm(features @ directions, axis=1).max())
        return cls(directions, np.array(1e-6 * max(longest, 1e-6)), np.array(dim))

    @classmethod
    def loaded(cls, learned: Mapping[str, np.ndarray], *, rows: int, dim: int) -> Projection:
        """Of `learned` arrays, checked; raises ValueError."""
        projection = cls(finite(learned, "directions", rows, None), finite(learned, "floor"), finite(learned, "width"))
        rank = projection.directions.shape[1]
        if rank > dim or projection.width != dim:
            raise ValueError(f"{rank} directions and {projection.width} values for {dim} values")
        return projection

    def apply(self, features: np.ndarray | sparse.csr_matrix) -> np.ndarray:
        """float32 [n, dim] of features [n, features]: each row by itself, so that equal rows give equal vectors."""
        scores = features @ self.directions.astype(np.float64)  # [n, rank]
        lengths = np.linalg.norm(scores, axis=1, keepdims=True)  # [n, 1]
        reduced = np.zeros((len(scores), int(self.width)), dtype=np.float32)
        np.divide(scores, lengths, out=reduced[:, : scores.shape[1]], where=lengths > self.floor, casting="same_kind")
        return reduced


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise ValueError(f"dim is {dim}: a vector needs at least 1 component")


def _scaled(picture: Image.Image) -> Image.Image:
    return picture.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BILINEAR)


def _describe(picture: Image.Image) -> np.ndarray:
    """Describe a picture by colour histogram, colour moments on a grid, and gradient orientations, one after
    another: float32 [sum(BLOCKS)]."""
    pixels = np.asarray(picture, dtype=np.float64) / 255  # [side, side, 3]
    blocks = _colour_histogram(picture), _colour_moments(pixels), _gradient_orientations(pixels.mean(axis=2))
    return np.concatenate(blocks).astype(np.float32)


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
