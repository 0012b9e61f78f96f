"""Semantic IDs and weights for items that join a trained catalogue.

Every code of a new item is one the model knows: the quantisers' codebooks do not change. What is left is to tell
apart items whose codes are the same:

- A table with a dedup digit gives the new item the lowest number that is free among the items with its codes. Where
  that is more than the digit has, the digit is widened; a number beyond starts with the mean of the trained numbers'
  weights, so the model has no opinion on it.
- A table without one (nothing collided in training) keeps its number of digits: the new item takes, at its last
  level, the nearest code that is free.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recbole_mgr.semantic_id.collisions import group_ids, token_order
from recbole_mgr.semantic_id.quantizer import Quantizer
from recbole_mgr.semantic_id.table import SemanticIdTable


def extend_table(
    table: SemanticIdTable,
    blocks: Mapping[str, np.ndarray],
    item_tokens: Sequence[str],
    *,
    nearest_last_codes: Callable[[int], Iterable[int]],
) -> SemanticIdTable:
    """The table with new items behind the old ones, whose IDs stay as they are.

    Args:
        table: of the trained catalogue.
        blocks: modality -> int64 [n, levels], codes of the new items; every modality of the table.
        item_tokens: n tokens; the result does not depend on their order.
        nearest_last_codes: the codes that a new item, given by its row, may take at the last level, the nearest
            first; asked only where the table has no dedup digit.

    Returns:
        The extended table; only its dedup digit may be wider.

    Raises:
        ValueError: If no code is left for an item, or a token is in the table already.
    """
    old_codes = table.codes[1:].numpy()  # [N, D]
    new_codes = np.zeros((len(item_tokens), len(table.digits)), dtype=np.int64)  # [n, D]; transitions stay 0
    for modality, block in blocks.items():
        new_codes[:, table.block(modality)] = block
    is_code = np.array([digit.kind == "code" for digit in table.digits])
    has_dedup = table.digits[-1].kind == "dedup"
    last = len(is_code) - 1  # without a dedup digit: the last level of the last modality
    shared = np.flatnonzero(is_code) if has_dedup else np.flatnonzero(is_code)[:-1]
    groups = group_ids(np.concatenate([old_codes[:, shared], new_codes[:, shared]]))  # [N + n]
    old_groups, new_groups = np.split(groups, [len(old_codes)])

    taken: defaultdict[int, set[int]] = defaultdict(set)
    for row in np.flatnonzero(np.isin(old_groups, new_groups)):
        taken[old_groups[row]].add(int(old_codes[row, last]))
    for row in token_order(item_tokens):
        wanted = count() if has_dedup else _own_then_nearest(int(new_codes[row, last]), nearest_last_codes, row)
        others = taken[new_groups[row]]
        free = next((code for code in wanted if code not in others), None)
        if free is None:
            raise ValueError(
                f"item {item_tokens[row]!r}: all {len(others)} codes of its last level belong to other items and the "
                "run's semantic IDs have no dedup digit; leave the item out, or train again with it"
            )
        new_codes[row, last] = free
        others.add(free)

    digits = table.digits
    if has_dedup:
        digits = (*digits[:-1], digits[-1]._replace(size=max(digits[-1].size, int(new_codes[:, last].max()) + 1)))
    return SemanticIdTable(
        codes=torch.cat([table.codes, torch.from_numpy(new_codes)]),
        digits=digits,
        item_tokens=[*table.item_tokens, *item_tokens],
    )


def mean_of_alike(likeness: sparse.csr_matrix, known: np.ndarray) -> np.ndarray:
    """What new items get that have no vector of their own: means of those of known items, as long as these are.

    Args:
        likeness: CSR [n, K], of each new item to known ones, rows that sum to 1.
        known: float [K, dim].

    Returns:
        float [n, dim].
    """
    means = likeness @ known
    lengths = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    return means * (likeness @ np.linalg.norm(known, axis=1) / lengths)[:, None]


def last_codes_by_distance(
    quantizer: Quantizer, vector: np.ndarray, codes: np.ndarray, candidates: np.ndarray
) -> list[int]:
    """The last level's ``candidates`` [c] in the order of how well they reconstruct ``vector`` [dim] after the
    codes [levels] before it."""
    trials = np.tile(codes, (len(candidates), 1))  # [c, levels]
    trials[:, -1] = candidates
    distances = np.square(quantizer.reconstruct(trials) - vector.astype(np.float32)).sum(axis=1)  # [c]
    return candidates[np.argsort(distances, kind="stable")].tolist()


def widened_weights(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, dedup_size: int
) -> dict[str, Tensor]:
    """Trained weights in the shapes of a network with a wider dedup digit.

    The dedup digit is the last one, so its rows are the last of every tensor it enlarges.

    Args:
        weights: of the trained network.
        wanted: of the network that is to take them; larger in the first dimension only.
        dedup_size: number of codes the trained digit had.
    """
    widened = {}
    for name, tensor in weights.items():
        missing = len(wanted[name]) - len(tensor) if tensor.dim() else 0
        if missing:
            mean = tensor[-dedup_size:].mean(dim=0, keepdim=True)
            tensor = torch.cat([tensor, mean.expand(missing, *tensor.shape[1:])])
        widened[name] = tensor
    return widened


def _own_then_nearest(own: int, nearest_last_codes: Callable[[int], Iterable[int]], row: int) -> Iterator[int]:
    yield own
    yield from nearest_last_codes(row)
