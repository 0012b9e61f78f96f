"""Which items are alike by content: the nearest items of each, by vectors or by codes, as a sparse matrix.

Row i of the matrix S holds the squared likeness of the items nearest to item i, divided by the row's sum: a guess of
what follows i made of content alone. Vectors are compared by their cosine, codes by the share of their leading codes
that agree. Of several modalities the likenesses are averaged before the nearest are chosen.

Shapes: N items (ids 1..N, 0 is padding), D digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import sparse

from recbole_mgr.data.vectors import Rows, chunk_slices, to_float32

_VALUES = 2**24  # likenesses held at once: 64 MiB

Likeness = Callable[[torch.Tensor], torch.Tensor]  # of some items with all: int64 [rows] -> [rows, N]


def by_vectors(*parts: Rows, present: np.ndarray | None = None) -> Likeness:
    """Cosine of vectors, [N, dim] in one part or several; an item that is not ``present`` (bool [N]) or whose vector is
    0 is like no other."""
    unit = torch.empty(sum(map(len, parts)), parts[0].shape[1])
    places = unit.split([len(part) for part in parts])
    for part, place in zip(parts, places, strict=True):
        for rows in chunk_slices(*part.shape):  # one float32 copy of all is what it takes, and no second
            place[rows] = torch.nn.functional.normalize(to_float32(part[rows]), dim=1)
    if present is not None:
        unit[torch.from_numpy(~present)] = 0.0
    return lambda rows: unit[rows] @ unit.T


def by_codes(codes: np.ndarray) -> Likeness:
    """Share of the leading codes that two items have in common; codes [N, D] of one modality."""
    levels = torch.from_numpy(np.asarray(codes)).T.contiguous()  # [D, N]

    def likeness(rows: torch.Tensor) -> torch.Tensor:
        same = torch.ones(len(rows), levels.shape[1], dtype=torch.bool)
        share = torch.zeros(same.shape)
        for level in levels:
            same &= level[rows, None] == level
            share += same
        return share / len(levels)

    return likeness


def nearest_items(
    modalities: Sequence[Likeness], num_items: int, neighbours: int = 30, *, is_new: np.ndarray | None = None
) -> sparse.csr_matrix:
    """The matrix S.

    Args:
        modalities: one likeness each, of N items.
        num_items: N.
        neighbours: items kept in a row, fewer where less are alike at all.
        is_new: bool [N], of a catalogue with new items: only their rows, of known items alike.

    Returns:
        float32 CSR [N + 1, N + 1]; row and column 0 are empty, each other row sums to 1 or has no entries.
    """
    wanted = torch.arange(num_items) if is_new is None else torch.from_numpy(is_new).nonzero().flatten()
    count = min(neighbours, num_items - (1 if is_new is None else len(wanted)))
    rows, columns, values = [], [], []
    for part in wanted.split(max(1, _VALUES // num_items)) if count > 0 else ():
        alike = sum(likeness(part) for likeness in modalities) / len(modalities)  # [rows, N]
        alike.clamp_(min=0.0)
        alike[torch.arange(len(part)), part] = 0.0
        if is_new is not None:
            alike[:, wanted] = 0.0
        best = alike.topk(count, dim=1)
        rows.append(np.repeat(part.numpy() + 1, count))
        columns.append(best.indices.flatten().numpy() + 1)
        squares = best.values.square()
        values.append((squares / squares.sum(1, keepdim=True).clamp(min=1e-12)).flatten().numpy())
    shape = (num_items + 1, num_items + 1)
    if not rows:
        return sparse.csr_matrix(shape, dtype=np.float32)
    matrix = sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)
