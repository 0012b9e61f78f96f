"""Feature files: form, dimensions, norms, and which items have no vector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_mgr.checking.verdict import ERROR, NOTE, WARNING, Part, Problem
from recbole_mgr.data.features import read_feature_file

_CHUNK_VALUES = 2**22


class Vectors(NamedTuple):
    """Facts and problems of a modality; whether a model can read it; its shape; norms float32 [n]."""

    part: Part
    usable: bool
    grid: bool = False
    norms: np.ndarray = np.empty(0, dtype=np.float32)


def find_modalities(folder: Path, name: str) -> list[str]:
    """Modalities that have a feature file of either form."""
    found = {path.name[len(name) + 1 : -len(".npy")] for path in folder.glob(f"{name}.*.npy")}
    for path in folder.glob(f"{name}.*"):
        modality = path.name[len(name) + 1 :]
        if path.is_file() and "." not in modality:
            with open(path, encoding="utf-8", errors="replace") as file:
                if file.readline(1000).startswith(f"{modality}_item_id:"):
                    found.add(modality)
    return sorted(found, key=lambda modality: (modality != "text", modality))  # the order of the default settings


def check_vectors(folder: Path, name: str, modality: str, interaction_items: set[str]) -> Vectors:
    """Check a modality's feature file.

    Args:
        folder, name, modality: which file.
        interaction_items: items of ``.inter``.
    """
    where = f"{name}.{modality}"
    try:
        item_tokens, vectors = _read(folder, name, modality)
    except ValueError as error:
        return Vectors(
            Part({}, [Problem(ERROR, where, str(error), "encode the modality again or correct its file")]), False
        )
    facts: dict[str, Any] = {"shape": " x ".join(map(str, vectors.shape)), "dtype": str(vectors.dtype)}
    problems: list[Problem] = []

    def found(count: int, level: str, what: str, remedy: str) -> None:
        if count:
            problems.append(Problem(level, where, f"{count:,} {what}", remedy))

    missing = len(interaction_items - set(item_tokens))
    facts["items of .inter without vector"] = missing
    facts["vectors of other items"] = len(item_tokens) - (len(interaction_items) - missing)
    usable = missing < len(interaction_items)
    if not usable:
        what = f"items of .inter, all of them, have no vector (the file's first id is {item_tokens[0]!r})"
        found(missing, ERROR, what, "write the ids as in .inter")
    else:
        found(missing, NOTE, "items of .inter have no vector", "missing_modality says what becomes of them")
    norms, constant, copies, flat = _row_statistics(vectors)
    zero = int((norms == 0).sum())
    facts["norm"] = {"min": float(norms.min()), "median": float(np.median(norms)), "max": float(norms.max())}
    facts |= {
        "zero rows": zero,
        "constant rows": constant,
        "rows equal to another": copies,
        "constant dimensions": flat,
    }
    remedy = "leave such items out of the file, so that missing_modality applies"
    found(zero, WARNING, "vectors are zero", remedy)
    found(constant - zero, WARNING, "vectors have one value in all places", remedy)
    level = WARNING if copies > len(vectors) / 10 else NOTE
    found(
        copies,
        level,
        "vectors equal that of another item",
        "such items share their codes and differ by a last digit only",
    )
    found(flat, NOTE, "dimensions are the same for all items", "they say nothing; nothing needs to be done")
    return Vectors(Part(facts, problems), usable, vectors.ndim == 3, norms)


def _read(folder: Path, name: str, modality: str) -> tuple[list[str], np.ndarray]:
    """As a model does; also files of grid vectors [n, T, dim], which only some models read."""
    path, ids = folder / f"{name}.{modality}.npy", folder / f"{name}.{modality}.ids"
    if path.is_file() and ids.is_file():
        try:
            vectors = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, OSError, EOFError):
            vectors = np.empty(0)
        if vectors.ndim == 3 and vectors.dtype in (np.float16, np.float32):
            item_tokens = ids.read_text(encoding="utf-8").splitlines()
            if len(item_tokens) != len(vectors) or len(set(item_tokens)) < len(item_tokens) or 0 in vectors.shape:
                raise ValueError(
                    f"{ids}: {len(item_tokens)} ids for {len(vectors)} rows; each row needs one of its own"
                )
            return item_tokens, vectors
    _, item_tokens, vectors = read_feature_file(folder, name, modality)
    return item_tokens, vectors


def _row_statistics(vectors: np.ndarray) -> tuple[np.ndarray, int, int, int]:
    """Norms float32 [n]; rows of one value; rows equal to an earlier one; dimensions of one value."""
    norms, hashes, constant = [], [], 0
    low = high = None
    for part in _parts(vectors):  # [rows, values]
        norms.append(np.linalg.norm(part, axis=1))
        hashes.append(np.fromiter((hash(row.tobytes()) for row in part), dtype=np.int64, count=len(part)))
        constant += int((part.min(axis=1) == part.max(axis=1)).sum()) if part.shape[1] > 1 else 0
        low = part.min(axis=0) if low is None else np.minimum(low, part.min(axis=0))
        high = part.max(axis=0) if high is None else np.maximum(high, part.max(axis=0))
    distinct = len(np.unique(np.concatenate(hashes)))
    flat = int((low == high).sum()) if len(vectors) > 1 else 0
    return np.concatenate(norms), constant, len(vectors) - distinct, flat


def _parts(vectors: np.ndarray) -> Iterator[np.ndarray]:
    width = int(np.prod(vectors.shape[1:]))
    step = max(1, _CHUNK_VALUES // width)
    for start in range(0, len(vectors), step):
        yield np.array(vectors[start : start + step], dtype=np.float32).reshape(-1, width)
