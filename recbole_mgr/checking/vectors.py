"""Feature files: form, dimensions, norms, and which items have no vector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_mgr.checking.verdict import ERROR, NOTE, WARNING, Part, Problem, match_problems
from recbole_mgr.data.features import read_feature_file
from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.data.table import AtomicFormat

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


def check_vectors(folder: Path, name: str, modality: str, interaction_items: set[str], format: AtomicFormat) -> Vectors:
    """Check a modality's feature file.

    Args:
        folder, name, modality: which file.
        interaction_items: items of ``.inter``.
        format: how the atomic files are written.
    """
    where = f"{name}.{modality}"
    try:
        # grid vectors [n, T, dim] too, which only some models read
        _, item_tokens, vectors = read_feature_file(folder, name, modality, format, grids=True)
    except ValueError as error:
        remedy = (
            f"recbole-mgr encode {as_arguments(folder, name)} --modality {modality} --overwrite, or correct the file"
        )
        return Vectors(Part({}, [Problem(ERROR, where, str(error), remedy)]), False)
    facts: dict[str, Any] = {"shape": " x ".join(map(str, vectors.shape)), "dtype": str(vectors.dtype)}
    problems: list[Problem] = []

    def found(count: int, level: str, what: str, remedy: str) -> None:
        if count:
            problems.append(Problem(level, where, f"{count:,} {what}", remedy))

    missing = len(interaction_items - set(item_tokens))
    facts["items of .inter without vector"] = missing
    facts["vectors of other items"] = len(item_tokens) - (len(interaction_items) - missing)
    usable = missing < len(interaction_items)
    problems += match_problems(
        where,
        interaction_items,
        item_tokens,
        lacking="items of .inter have no vector",
        remedy="missing_modality says what becomes of them",
        level=NOTE,
    )
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
        "such items share their codes and differ by a last digit only; encode more of what tells them apart: "
        f"recbole-mgr encode {as_arguments(folder, name)} --modality {modality} --fields ...",
    )
    found(flat, NOTE, "dimensions are the same for all items", "they say nothing; nothing needs to be done")
    return Vectors(Part(facts, problems), usable, vectors.ndim == 3, norms)


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
