"""Item vectors from training sequences in seconds: positive pointwise mutual information, then a truncated SVD.

Which items stand near each other in the users' sequences, weighted by 1/distance, compared with what chance would
give. Source: the factorisation that skip-gram approximates (Levy and Goldberg, NeurIPS 2014), with their context power
and square root of the singular values (TACL 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

if TYPE_CHECKING:
    from recbole_mgr.generation.item_memory import Sequences  # imports torch, which the vectors do without


class PpmiSettings(NamedTuple):
    """How the vectors are made.

    Attributes:
        dim: values of a vector, >= 1, fewer than there are items.
        window: items of a sequence that are at most so far apart count, >= 1.
        context_power: power of the contexts' shares in (0, 1]; below 1 rare contexts count for less.
    """

    dim: int = 64
    window: int = 5
    context_power: float = 0.75


def ppmi_svd_vectors(sequences: Sequences, num_items: int, settings: PpmiSettings) -> np.ndarray:
    """Vectors of length 1.

    Args:
        sequences: training items, ids 1..N.
        num_items: N.
        settings: see `PpmiSettings`.

    Returns:
        float32 [N + 1, dim]; zero for the padding and for items that stand near no other.

    Raises:
        ValueError: If a setting is out of range or ``dim`` is not below the number of items.
    """
    dim, window, power = settings
    if window < 1 or not 0 < power <= 1:
        raise ValueError(f"window: {window} must be at least 1, context_power: {power} in (0, 1]")
    if not 1 <= dim < num_items:
        raise ValueError(f"dim: {dim} must be at least 1 and below the number of items, {num_items}; ask for fewer")
    weights = ppmi(sequences, num_items, window=window, context_power=power)
    start = np.random.default_rng(0).normal(size=weights.shape[0])  # the same vectors on every call
    left, values, _ = svds(weights, k=dim, v0=start)  # ascending
    vectors = left[:, ::-1] * np.sqrt(np.maximum(values[::-1], 0))
    vectors *= np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)] < 0, -1, 1)  # signs are free: fix them
    vectors[np.diff(weights.indptr) == 0] = 0.0
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-9).astype(np.float32)


def ppmi(sequences: Sequences, num_items: int, *, window: int, context_power: float) -> sparse.csr_matrix:
    """float64 CSR [N + 1, N + 1]: ``max(0, log(p(i, j) / (p(i) p(j)^power)))`` with the powers made to sum to 1."""
    item_ids, starts = sequences
    end = np.repeat(starts[1:], np.diff(starts))  # [n] of the user of each item
    shape = (num_items + 1, num_items + 1)
    counts = sparse.csr_matrix(shape)
    for distance in range(1, window + 1):
        first = np.flatnonzero(np.arange(len(item_ids)) + distance < end)
        pairs = (item_ids[first], item_ids[first + distance])
        counts = counts + sparse.csr_matrix((np.full(len(first), 1 / distance), pairs), shape=shape)
    counts = (counts + counts.T).tocoo()
    apart = counts.row != counts.col  # an item taken again says nothing of what it is near to
    rows, columns, weights = counts.row[apart], counts.col[apart], counts.data[apart]
    row_sums = np.bincount(rows, weights=weights, minlength=num_items + 1)
    shares = row_sums**context_power  # symmetric: row and column sums are equal
    shares /= max(shares.sum(), 1e-12)
    information = np.log(weights / (row_sums[rows] * shares[columns]))
    positive = information > 0
    return sparse.csr_matrix((information[positive], (rows[positive], columns[positive])), shape=shape)
