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
    keys = _packed(codes)
    order = np.lexsort(keys[::-1])
    changes = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)  # [N - 1]
    groups = np.empty(len(codes), dtype=np.int64)
    groups[order] = np.concatenate([np.zeros(min(1, len(codes)), dtype=np.int64), np.cumsum(changes)])
    return groups


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
    groups = group_ids(codes)
    colliding = np.flatnonzero(np.bincount(groups)[groups] > 1)  # few, of which alone the tokens are compared
    by_token = colliding[token_order([item_tokens[item] for item in colliding.tolist()])]
    order = by_token[np.argsort(groups[by_token], kind="stable")]
    in_order = groups[order]  # ascending
    ranks = np.zeros(len(codes), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.searchsorted(in_order, in_order)  # the first place of each item's group
    return ranks


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
