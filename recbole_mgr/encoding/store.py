"""Vectors kept by content: what was encoded once is not encoded again.

A store is a folder of chunks, each an ``.npy`` file of records (key, vector) that appears whole or not at all. So it
is at once what an interrupted run resumes from, what parallel processes leave for the one that merges, and the cache
for a catalogue that has grown. It may be deleted at any time; then everything is encoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np

from recbole_mgr.files import replacing

KEY = np.dtype("S16")


def content_key(content: bytes) -> bytes:
    """Key of a text's or a file's bytes: 128 bits of their SHA-256."""
    return hashlib.sha256(content).digest()[:16]


class VectorStore:
    """Args:
    folder: of one encoder's vectors; made when the first chunk is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def add(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Keep vectors [n, ...] under n keys, as one chunk."""
        records = np.empty(len(keys), dtype=[("key", KEY), ("vector", vectors.dtype, vectors.shape[1:])])
        records["key"], records["vector"] = keys, vectors
        with replacing(self._folder / f"{uuid4().hex}.npy") as part:
            np.save(part, records, allow_pickle=False)

    def absent(self, keys: np.ndarray) -> np.ndarray:
        """Which of n keys have no vector yet: bool [n]."""
        chunks = self._chunks()
        return (
            ~np.isin(keys, np.concatenate([chunk["key"] for chunk in chunks])) if chunks else np.ones(len(keys), bool)
        )

    def rows(self, keys: np.ndarray) -> StoredRows:
        """Vectors of n keys, all of which are there, in their order; read from disk when asked for."""
        return StoredRows(self._chunks(), keys)

    def _chunks(self) -> list[np.ndarray]:
        chunks = []
        for path in sorted(self._folder.glob("[!.]*.npy")):
            try:
                chunk = np.load(path, mmap_mode="r", allow_pickle=False)
                chunks.append(chunk[["key", "vector"]])
            except Exception as error:  # a parser may raise anything on damaged bytes
                raise ValueError(
                    f"{path}: damaged ({error}); delete this file, its vectors are then made again"
                ) from error
        return chunks


class StoredRows:
    """Rows [n, ...] of a store's chunks.

    Args:
        chunks: records (key, vector).
        keys: S16 [n], each in one chunk at least.
    """

    def __init__(self, chunks: list[np.ndarray], keys: np.ndarray) -> None:
        self._chunks = [chunk["vector"] for chunk in chunks]
        known = np.concatenate([chunk["key"] for chunk in chunks])
        starts = np.cumsum([0, *(len(chunk) for chunk in chunks)])
        order = np.argsort(known)
        places = order[np.searchsorted(known, keys, sorter=order)]  # row of all chunks together, int64 [n]
        self._chunk = np.searchsorted(starts, places, side="right") - 1  # [n]
        self._row = places - starts[self._chunk]  # [n]
        self.shape = (len(keys), *self._chunks[0].shape[1:])

    def __getitem__(self, rows: slice) -> np.ndarray:
        chunk, row = self._chunk[rows], self._row[rows]
        result = np.empty((len(chunk), *self.shape[1:]), dtype=self._chunks[0].dtype)
        for number in np.unique(chunk):
            here = chunk == number
            result[here] = self._chunks[number][row[here]]
        return result
