"""Items that share all their codes, and the digit that tells them apart.

Source: TIGER (Rajput et al. 2023) appends a further code to colliding IDs. Deviations: the digit exists only
when something collides, covers every item, and is as wide as the largest group instead of a fixed size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl


def token_order(item_tokens: Sequence[str]) -> np.ndarray:
    """Places of the items in the order of their tokens, int64 [N]."""
    return pl.Series(item_tokens, dtype=pl.String).arg_sort().to_numpy().astype(np.int64)


def group_ids(codes: np.ndarray) -> np.ndarray:
    """A number int64 [N] for each row of codes [N, D], 0..G-1, equal exactly where the rows are equal."""
    return _grouped(codes, np.arange(len(codes)))[1]


def group_sizes(codes: np.ndarray) -> np.ndarray:
    """How many rows of codes [N, D] are equal to each of the G distinct rows, int64 [G]."""
    return np.bincount(group_ids(codes))


def collision_ranks(codes: np.ndarray, item_tokens: Sequence[str]) -> np.ndarray:
    """The place of each item among the items with the same codes, in the order of their tokens.

    Args:
        codes: int [N, D].
        item_tokens: N tokens, all different; the order of the rows does not matter.

    Returns:
        int64 [N], 0 for an item alone with its codes; at most the size of the largest group - 1.
    """
    order, groups = _grouped(codes, token_order(item_tokens))
    in_order = groups[order]  # ascending
    starts = np.searchsorted(in_order, in_order)  # first place of each item's group
    ranks = np.empty(len(codes), dtype=np.int64)
    ranks[order] = np.arange(len(codes)) - starts
    return ranks


def _grouped(codes: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by codes (ties as in ``first``), int64 [N], and the group of each row, int64 [N]."""
    keys = _packed(codes)
    order = first[np.lexsort([key[first] for key in reversed(keys)])]  # lexsort is stable
    changes = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)  # [N - 1]
    groups = np.empty(len(codes), dtype=np.int64)
    groups[order] = np.concatenate([np.zeros(min(1, len(codes)), dtype=np.int64), np.cumsum(changes)])
    return order, groups


def _packed(codes: np.ndarray) -> list[np.ndarray]:
    """Columns int64 [N], fewer than digits, that sort and differ as the rows of codes do."""
    keys, bits = [np.zeros(len(codes), dtype=np.int64)], 0
    for column in codes.T:
        lowest, highest = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        width = (highest - lowest).bit_length()
        if bits + width > 63:
            keys.append(np.zeros(len(codes), dtype=np.int64))
            bits = 0
        keys[-1] = keys[-1] << width | (column - lowest)
        bits += width
    return keys
