"""Item features: one vector per item and modality, read from the files beside the atomic ones.

Two forms (``dataset_atomic/README.md``): RecBole's text form ``<name>.<modality>`` and, for real catalogues, the
binary twin ``<name>.<modality>.npy`` + ``<name>.<modality>.ids``, which wins when both exist. Features never enter
RecBole's batches (they would be joined for the *target* item) and never a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from logging import getLogger
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat, read_lines
from recbole_mgr.data.vectors import OrderedRows, chunk_slices


class ItemFeatures(NamedTuple):
    """Vectors of one modality in the order of the data set's items.

    Attributes:
        vectors: [N, dim] float16/32, read from the file as rows are asked for; the fill vector where an item has none.
        present: [N] bool, which items have a vector.
        fill_vector: [dim], same dtype, what an item without a vector gets.
    """

    vectors: OrderedRows
    present: np.ndarray
    fill_vector: np.ndarray


class FeatureFile(NamedTuple):
    """A modality's file as it stands on disk: ``vectors`` [n, dim], or [n, T, dim] where grids were asked for too,
    belong to ``item_tokens`` (n strings)."""

    path: Path
    item_tokens: list[str]
    vectors: np.ndarray


def feature_path(folder: Path, name: str, modality: str) -> Path | None:
    """The file that holds a modality (the binary twin wins), or None."""
    for path in (folder / f"{name}.{modality}.npy", folder / f"{name}.{modality}"):
        if path.is_file():
            return path
    return None


def require_features(folder: Path, name: str, modality: str) -> Path:
    """The file that holds a modality; raises ValueError naming the remedies where there is none."""
    path = feature_path(folder, name, modality)
    if path is None:
        raise ValueError(
            f"modalities: {modality!r} has no features: neither {folder / f'{name}.{modality}.npy'} nor "
            f"{folder / f'{name}.{modality}'} exists. Make them ({_command(folder, name, modality)}), give semantic "
            f"IDs of your own (semantic_ids: <path>), or take {modality!r} out of modalities"
        )
    return path


def _command(folder: Path, name: str, modality: str) -> str:
    """What makes a modality's vectors."""
    place = as_arguments(folder, name)
    if modality == "collaborative":
        return f"recbole-mgr collaborative {place} --method ppmi_svd"
    reads = "" if modality in ("text", "image") else " --reads text|image"
    return f"recbole-mgr encode {place} --modality {modality}{reads}"


def feature_files(folder: Path, name: str, modality: str) -> dict[str, Path]:
    """The files that hold a modality, by their names: none where there is none."""
    path = feature_path(folder, name, modality)
    files = [] if path is None else [path, path.with_suffix(".ids")] if path.suffix == ".npy" else [path]
    return {file.name: file for file in files}


def read_feature_file(
    folder: Path, name: str, modality: str, format: AtomicFormat = DEFAULT_FORMAT, *, grids: bool = False
) -> FeatureFile:
    """Open and check the features of one modality.

    Args:
        folder, name, modality: which file.
        format: how the text form is written; the list of ids beside a binary twin is always UTF-8.
        grids: take T vectors of each item [n, T, dim] too, which a binary twin may hold.

    Raises:
        ValueError: Naming file, line or row and remedy: no file, wrong dtype or shape, ids that do not match the
            rows, are empty, repeated or with blanks around, ragged or non-numeric vectors, non-finite values.
    """
    path = require_features(folder, name, modality)
    file = _read_binary(path, grids=grids) if path.suffix == ".npy" else _read_text(path, modality, format)
    _check_ids(file)
    for rows in chunk_slices(len(file.vectors), file.vectors[:1].size):
        part = file.vectors[rows]
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        if not finite.all():
            row = rows.start + int(np.argmin(finite))
            raise ValueError(
                f"{file.path}: the vector of item {file.item_tokens[row]!r} (row {row + 1}) holds NaN or "
                "infinity; encode it again or leave the item out (missing_modality says what happens then)"
            )
    return file


def _check_ids(file: FeatureFile) -> None:
    tokens = file.item_tokens
    if "" not in tokens and list(map(str.strip, tokens)) == tokens and len(set(tokens)) == len(tokens):
        return
    seen: dict[str, int] = {}
    for row, token in enumerate(file.item_tokens):
        if not token:
            raise ValueError(f"{file.path}: row {row + 1} belongs to no item; give its id or leave the row out")
        if token != token.strip():
            raise ValueError(f"{file.path}: the id {token!r} of row {row + 1} has blanks around it; take them away")
        if token in seen:
            raise ValueError(
                f"{file.path}: item {token!r} stands in rows {seen[token] + 1} and {row + 1}; keep one of them"
            )
        seen[token] = row


def rows_of_items(file: FeatureFile, name: str, item_tokens: Sequence[str]) -> np.ndarray:
    """Rows of a file's vectors.

    Args:
        file: the feature file.
        name: of the data set.
        item_tokens: its N items.

    Returns:
        int64 [N], -1 for an item without a vector.

    Raises:
        ValueError: If no item has one, showing an id of each side.
    """
    row_of = {token: row for row, token in enumerate(file.item_tokens)}
    rows = np.array([row_of.get(token, -1) for token in item_tokens])
    if (rows < 0).all():
        raise ValueError(
            f"{file.path}: none of its {len(row_of)} item ids (first: {file.item_tokens[0]!r}) is an item of {name} "
            f"(first: {item_tokens[0]!r}); the ids must be written as in {name}.inter"
        )
    return rows


def load_features(
    folder: Path,
    name: str,
    modality: str,
    item_tokens: list[str],
    policy: str,
    format: AtomicFormat = DEFAULT_FORMAT,
) -> ItemFeatures:
    """Vectors of one modality for the items of a data set, in their order.

    Args:
        folder: folder of the atomic files.
        name: data set name.
        modality: suffix of the feature file.
        item_tokens: the data set's item tokens (PAD not among them).
        policy: what an item without a vector gets: ``mean`` of the others, ``zero``, or ``drop`` (such items
            were dropped before, see :func:`items_with_features`).
        format: how the file is written.

    Returns:
        ItemFeatures: aligned with ``item_tokens``.

    Raises:
        ValueError: As :func:`read_feature_file`; also if no item of the data set has a vector.
    """
    file = read_feature_file(folder, name, modality, format)
    rows = rows_of_items(file, name, item_tokens)  # [N]
    present = rows >= 0
    fill_vector = np.zeros(file.vectors.shape[1])
    if policy == "mean":
        known = OrderedRows(file.vectors, np.sort(rows[present]))  # sorted, to read the file from front to back
        fill_vector = sum(known[part].sum(axis=0, dtype=np.float64) for part in chunk_slices(*known.shape)) / len(known)
    fill_vector = fill_vector.astype(file.vectors.dtype)
    vectors = OrderedRows(file.vectors, rows, filler=fill_vector)
    unknown, missing = len(file.item_tokens) - int(present.sum()), int((~present).sum())
    getLogger().info(
        f"features {modality}: {file.path.name}, {vectors.shape[1]} values per item, {int(present.sum())} of "
        f"{len(item_tokens)} items have a vector (missing_modality: {policy} for {missing}), "
        f"{unknown} vectors of items outside the data set ignored"
    )
    return ItemFeatures(vectors, present, fill_vector)


def items_with_features(
    folder: Path, name: str, modalities: list[str], format: AtomicFormat = DEFAULT_FORMAT
) -> set[str]:
    """Item tokens that have a vector in every one of ``modalities`` (for ``missing_modality: drop``)."""
    return set.intersection(*(set(read_feature_file(folder, name, m, format).item_tokens) for m in modalities))


def _read_binary(path: Path, *, grids: bool) -> FeatureFile:
    ids_path = path.with_suffix(".ids")
    if not ids_path.is_file():
        raise ValueError(f"{ids_path} is missing: it must hold the item id of each row of {path.name}, one a line")
    try:
        vectors = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(f"{path}: not a readable .npy file of numbers ({error}); write it with numpy.save") from error
    shapes = "[items, dim] or [items, T, dim]" if grids else "[items, dim]"
    legal = vectors.ndim == 2 or (grids and vectors.ndim == 3)
    if not legal or vectors.dtype not in (np.float16, np.float32) or 0 in vectors.shape:
        raise ValueError(
            f"{path}: holds {vectors.dtype} of shape {vectors.shape}; expected float16 or float32 of shape {shapes}"
        )
    item_tokens = list(read_lines(ids_path))
    if len(item_tokens) != len(vectors):
        raise ValueError(
            f"{ids_path} has {len(item_tokens)} lines, {path.name} has {len(vectors)} rows; they must be equal"
        )
    return FeatureFile(path, item_tokens, vectors)


def _read_text(path: Path, modality: str, format: AtomicFormat) -> FeatureFile:
    expected = [f"{modality}_item_id:token", f"{modality}_vector:float_seq"]
    item_tokens, vectors = [], []
    lines = read_lines(path, format.encoding)
    header = next(lines, "").split(format.separator)
    if header != expected:
        raise ValueError(f"{path}, line 1: expected the header {expected}, found {[name[:80] for name in header[:4]]}")
    for number, line in enumerate(lines, start=2):
        token, _, text = line.partition(format.separator)
        try:
            vector = np.array(text.split(), dtype=np.float32)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: item {token!r}: {error}") from error
        if not token or not len(vector):
            raise ValueError(f"{path}, line {number}: expected an item id, a separator and numbers parted by blanks")
        if vectors and len(vector) != len(vectors[0]):
            raise ValueError(
                f"{path}, line {number}: item {token!r} has {len(vector)} values, line 2 has {len(vectors[0])}; "
                "all vectors of a modality have one length"
            )
        item_tokens.append(token)
        vectors.append(vector)
    if not vectors:
        raise ValueError(f"{path}: holds no vectors, only a header")
    return FeatureFile(path, item_tokens, np.stack(vectors))
