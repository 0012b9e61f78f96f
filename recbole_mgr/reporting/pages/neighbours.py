"""The items nearest to each item: by vectors of a modality, and by semantic ID."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from recbole_mgr.data.features import FeatureFile

_BLOCK_VALUES = 1 << 25  # of a block of similarities: 128 MB
_WINDOW = 2  # neighbours by ID are looked for so many times as far as are asked for


class Nearest(NamedTuple):
    """Of N items: ``numbers`` int64 [N, k], nearest first, -1 where there is none, and ``values`` float32 [N, k]."""

    numbers: np.ndarray
    values: np.ndarray


def nearest_by_vectors(file: FeatureFile, tokens: Sequence[str], k: int) -> Nearest:
    """Nearest items by cosine.

    Args:
        file: vectors of a modality.
        tokens: N items; those without a vector have and are no neighbours.
        k: neighbours of each.
    """
    row_of = {token: row for row, token in enumerate(file.item_tokens)}
    places = np.array([place for place, token in enumerate(tokens) if token in row_of], dtype=np.int64)  # [n]
    numbers = np.full((len(tokens), k), -1, dtype=np.int64)
    values = np.zeros((len(tokens), k), dtype=np.float32)
    if len(places) < 2:
        return Nearest(numbers, values)
    rows = np.array([row_of[tokens[place]] for place in places])
    vectors = torch.from_numpy(np.array(file.vectors[rows], dtype=np.float32))  # [n, dim]
    vectors = torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)  # what all have in common says nothing
    found = min(k, len(places) - 1)
    step = max(1, _BLOCK_VALUES // len(places))
    for start in range(0, len(places), step):
        similarity = vectors[start : start + step] @ vectors.T  # [step, n]
        inside = torch.arange(len(similarity))
        similarity[inside, start + inside] = -torch.inf
        best = similarity.topk(found, dim=1)
        numbers[places[start : start + step], :found] = places[best.indices.numpy()]
        values[places[start : start + step], :found] = best.values.numpy()
    return Nearest(numbers, values)


def nearest_by_codes(codes: np.ndarray, k: int) -> Nearest:
    """Nearest items by semantic ID: those that share the longest prefix; ``values`` is its length in digits.

    In the order of the IDs the items that share a prefix stand side by side.

    Args:
        codes: int64 [N, D].
        k: neighbours of each.
    """
    count, digits = codes.shape
    order = np.lexsort(codes.T[::-1])  # [N]
    ordered = codes[order]
    offsets = [offset for distance in range(1, _WINDOW * k + 1) for offset in (-distance, distance)]
    places = np.arange(count)[:, None] + np.array(offsets)  # [N, candidates]
    valid = (places >= 0) & (places < count)
    equal = ordered[places.clip(0, count - 1)] == ordered[:, None]  # [N, candidates, D]
    shared = np.where(valid, equal.cumprod(axis=2).sum(axis=2), -1)  # [N, candidates]
    best = np.argsort(-shared, axis=1, kind="stable")[:, :k]
    lengths = np.take_along_axis(shared, best, axis=1)  # [N, k]
    found = np.take_along_axis(places.clip(0, count - 1), best, axis=1)
    numbers = np.full((count, k), -1, dtype=np.int64)
    values = np.zeros((count, k), dtype=np.float32)
    numbers[order, : best.shape[1]] = np.where(lengths > 0, order[found], -1)
    values[order, : best.shape[1]] = np.where(lengths > 0, lengths, 0)
    return Nearest(numbers, values)


def look_alikes(nearest: Nearest, at_least: float, limit: int) -> list[tuple[int, int, float]]:
    """Pairs of items whose cosine is at least so high, each once, the most alike first: (one, other, cosine)."""
    alike: dict[tuple[int, int], float] = {}
    for row, column in zip(*np.nonzero((nearest.values >= at_least) & (nearest.numbers >= 0)), strict=True):
        other = int(nearest.numbers[row, column])
        alike[min(int(row), other), max(int(row), other)] = float(nearest.values[row, column])
    return sorted(((*pair, value) for pair, value in alike.items()), key=lambda pair: (-pair[2], pair[:2]))[:limit]
