"""One process's share of an encoding: find what is not encoded yet, encode it in batches, keep it in chunks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from recbole_mgr.data.item_file import Absent, Contents
from recbole_mgr.data.pictures import read_picture
from recbole_mgr.encoding.encoder import Encoder
from recbole_mgr.encoding.store import KEY, VectorStore, content_key

CHUNK_BYTES = 2**26
CHUNK_SECONDS = 60.0  # what a killed run loses at most, however slow the encoder
_THREADS = 8  # that read and decode pictures beside the encoder


class EncodedShard(NamedTuple):
    """Keys of a share's items in the store, S16 [n], empty for those in ``absent``; how many vectors were made now."""

    keys: np.ndarray
    absent: list[Absent]
    encoded: int


def encode_shard(
    encoder: Encoder, contents: Contents, store: VectorStore, *, batch_size: int, show_progress: bool
) -> EncodedShard:
    """Encode the contents that the store does not have yet.

    Args:
        encoder: makes a vector of each content by itself.
        contents: n texts or picture files.
        store: of this encoder's vectors; gets the new ones.
        batch_size: contents encoded at once.
        show_progress: draw a progress bar.

    Raises:
        ValueError: If a vector is not finite, or a batch does not fit into the GPU's memory.
    """
    broken: dict[bytes, str] = {}  # key of a content -> what is wrong with it
    with ThreadPoolExecutor(_THREADS) as pool:
        keys = _content_keys(pool, contents.contents)  # [n]
        todo = _to_encode(encoder, contents.contents, keys, store)
        batches = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
        chunk = _Chunk(store)
        with tqdm(total=len(todo), unit=f" {encoder.reads}s", disable=not show_progress) as progress:
            for rows, loaded in _loaded(pool, encoder, contents.contents, batches):
                broken |= {keys[row]: str(bad) for row, bad in zip(rows, loaded, strict=True) if _is_bad(bad)}
                good = [(row, content) for row, content in zip(rows, loaded, strict=True) if not _is_bad(content)]
                if good:
                    good_rows, ready = zip(*good, strict=True)
                    tokens = [contents.item_tokens[row] for row in good_rows]
                    chunk.add(keys[list(good_rows)], _encode(encoder, ready, tokens))
                progress.update(len(rows))
        chunk.write()
    absent = []
    for row, key in enumerate(keys):
        if not key or key in broken:
            named = Path(contents.contents[row]).name
            absent.append(Absent(contents.item_tokens[row], named, broken[key] if key else "file is missing"))
            keys[row] = b""
    return EncodedShard(keys, absent, chunk.total)


def _content_keys(pool: Executor, contents: Sequence[str | Path]) -> np.ndarray:
    keys = np.zeros(len(contents), dtype=KEY)
    for start in range(0, len(contents), 4096):  # map would queue everything at once
        part = contents[start : start + 4096]
        keys[start : start + len(part)] = list(pool.map(_key, part))
    return keys


def _key(content: str | Path) -> bytes:
    if isinstance(content, str):
        return content_key(content.encode())
    try:  # a device or a pipe, which would be read for ever, is no file
        return content_key(content.read_bytes()) if content.is_file() else b""
    except OSError:
        return b""


def _to_encode(encoder: Encoder, contents: Sequence[Any], keys: np.ndarray, store: VectorStore) -> np.ndarray:
    """Rows of the contents to encode, int64, one for each key that the store lacks."""
    distinct, rows = np.unique(keys, return_index=True)
    rows = rows[(distinct != b"") & store.absent(distinct)]
    if encoder.reads == "text":  # texts of one length need no padding; the longest first, to fail early
        return np.array(sorted(rows, key=lambda row: -len(contents[row])), dtype=np.int64)
    return np.sort(rows)


def _loaded(
    pool: Executor, encoder: Encoder, contents: Sequence[Any], batches: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, list[Any]]]:
    """Each batch of rows with what the encoder takes, read in threads two batches ahead."""
    waiting: deque = deque()
    for rows in batches:
        waiting.append((rows, [pool.submit(_ready, encoder, contents[row]) for row in rows]))
        if len(waiting) > 2:
            rows, futures = waiting.popleft()
            yield rows, [future.result() for future in futures]
    for rows, futures in waiting:
        yield rows, [future.result() for future in futures]


def _ready(encoder: Encoder, content: str | Path) -> Any:
    """What the encoder takes, or the ValueError that says why it is broken."""
    if isinstance(content, str):
        return content
    try:
        picture = read_picture(content)
    except ValueError as error:
        return error
    return encoder.prepare(picture)


def _is_bad(content: Any) -> bool:
    return isinstance(content, ValueError)


def _encode(encoder: Encoder, contents: Sequence[Any], item_tokens: Sequence[str]) -> np.ndarray:
    try:
        vectors = encoder.encode(contents)  # [B, dim] or [B, T, dim]
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(
            f"--batch_size: {len(contents)} do not fit into the GPU's memory; take a smaller one"
        ) from error
    finite = np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"the vector of item {item_tokens[int(finite.argmin())]!r} is not finite in float16; "
            "take --precision bf16 or fp32, and --normalize where it was switched off"
        )
    return vectors


class _Chunk:
    """Vectors not yet in the store; goes there when it is large or old enough."""

    def __init__(self, store: VectorStore) -> None:
        self.total = 0
        self._store = store
        self._clear()

    def _clear(self) -> None:
        self._keys: list[np.ndarray] = []
        self._vectors: list[np.ndarray] = []
        self._bytes, self._since = 0, time.monotonic()

    def add(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        self._keys.append(keys)
        self._vectors.append(vectors)
        self.total += len(keys)
        self._bytes += vectors.nbytes
        if self._bytes >= CHUNK_BYTES or time.monotonic() - self._since >= CHUNK_SECONDS:
            self.write()

    def write(self) -> None:
        if self._keys:
            self._store.add(np.concatenate(self._keys), np.concatenate(self._vectors))
            self._clear()
