"""Which known items a new one is like by content, and what its score lacks beside theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from recbole_mgr.data.arrays import read_arrays
from recbole_mgr.data.vectors import Rows, chunk_slices
from recbole_mgr.files import replacing
from recbole_mgr.generation.likeness import by_vectors, nearest_items
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.model.memory import COLLABORATIVE
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.tokenizer import ItemTokenizer
from recbole_mgr.serving.beams import history_of

NEIGHBOURS = 5  # known items that a new one is taken for
_DRAWN, _SHARE = 1000, 0.1  # known items that are treated as new: at most so many, of so many in all
_HISTORIES, _BATCH, _PLACES = 512, 64, 10  # whose lists are looked at, a few at a time, and how far


class KnownContent:
    """Content vectors of a trained catalogue, kept for items to come.

    Args:
        read: returns modality -> [N, dim], none of them learned from interactions; asked once, when they are needed.
    """

    def __init__(self, read: Callable[[], Mapping[str, np.ndarray]]) -> None:
        self._read = read
        self._offset: float | None = None

    @cached_property
    def vectors(self) -> Mapping[str, np.ndarray]:
        """Modality -> [N, dim]."""
        return self._read()

    def likeness_of(self, new: Mapping[str, np.ndarray], joined: int = 0) -> sparse.csr_matrix | None:
        """Which known items new ones are like.

        Args:
            new: modality -> [n, dim], none missing; those that are no content are not looked at.
            joined: J, new items that are in the catalogue already, and like no other.

        Returns:
            CSR [N + J + n + 1, N + J + n + 1], see `nearest_items`; None where no modality is content.
        """
        parts = []
        for modality, known in self.vectors.items():
            parts.append(by_vectors(known, np.zeros((joined, known.shape[1])), new[modality]))
        num_new = len(next(iter(new.values())))
        num_items = len(next(iter(self.vectors.values()), ())) + joined + num_new
        is_new = np.arange(num_items) >= num_items - num_new
        return nearest_items(parts, num_items, NEIGHBOURS, is_new=is_new) if parts else None

    def offset(self, network: GenerativeRecommender) -> float:
        """What to add to the scores of new items so that they stand in lists as often as known ones: means of several
        items are seldom among the highest.

        It is measured on known items that are treated as if they were new. As they are drawn at random, their share of
        the places in lists should be that of the catalogue. The histories are single items, so that nobody's purchases
        are needed. What the codes know of the drawn items was learned from these items' own purchases, so new items
        lack this at least: it is never below 0.

        Args:
            network: of the trained catalogue; always the same.
        """
        if self._offset is None:
            self._offset = self._measured(network) if network.joins_scores and self.vectors else 0.0
        return self._offset

    def _measured(self, network: GenerativeRecommender) -> float:
        num_items = network.semantic_ids.num_items
        order = np.random.default_rng(0).permutation(num_items)
        drawn, others = np.split(order, [min(_DRAWN, max(1, round(_SHARE * num_items)))])
        if not len(others):
            return 0.0
        is_new = np.isin(np.arange(num_items), drawn)
        alike = [by_vectors(vectors) for vectors in self.vectors.values()]
        joined = network.joining(nearest_items(alike, num_items, NEIGHBOURS, is_new=is_new))
        parts = [network.trie.allow(torch.from_numpy(part + 1).to(network.trie.device)) for part in (others, drawn)]
        places = min(_PLACES, len(drawn))
        asked = [[item_id + 1] for item_id in others[:_HISTORIES]]
        gaps = []
        for start in range(0, len(asked), _BATCH):
            interaction = history_of(network, asked[start : start + _BATCH])
            asked_for = {"exclude": interaction[network.ITEM_SEQ], "joined": joined}
            known, new = (
                network.generate(interaction, places, allowed_items=part, **asked_for).scores for part in parts
            )
            gaps.append(known.flip(1) - new)  # the j-th best new item is in the list if its score grows by the j-th gap
        gaps = torch.cat(gaps).cpu().numpy()
        return max(0.0, float(np.quantile(gaps, len(drawn) / num_items, method="lower")))


def save_content(path: Path, vectors: Mapping[str, Rows]) -> None:
    """Write of modality -> [N, dim] those that are content, in float16 and of length 1, or 0."""
    units = {modality: _unit_rows(rows) for modality, rows in vectors.items() if modality != COLLABORATIVE}
    with replacing(path) as file:
        np.savez(file, **units)


def read_content(path: Path, tokenizer: ItemTokenizer, table: SemanticIdTable) -> dict[str, np.ndarray]:
    """Content vectors of a table's items by modality; where a run kept none, those that stand for the items' codes.

    Raises:
        ValueError: Naming the file and the remedy, if it is damaged or of other items.
    """
    modalities = [modality for modality in table.modalities if modality != COLLABORATIVE]

    def by_codes(modality: str, rows: slice) -> np.ndarray:
        return tokenizer.quantizers[modality].reconstruct(table.codes[rows, table.block(modality)].numpy())

    if not path.is_file():
        return {modality: by_codes(modality, slice(1, None)) for modality in modalities}
    remedy = "copy the run directory again"
    arrays = read_arrays(path, remedy=remedy, mapped=True)
    shapes = {modality: (table.num_items, by_codes(modality, slice(1, 2)).shape[1]) for modality in modalities}
    if {modality: array.shape for modality, array in arrays.items()} != shapes:
        raise ValueError(f"{path}: not the vectors of this run's items, of the shapes {shapes}; {remedy}")
    for modality, array in arrays.items():
        parts = (array[rows] for rows in chunk_slices(*array.shape))
        if array.dtype.kind != "f" or not all(np.isfinite(part).all() for part in parts):
            raise ValueError(f"{path}: the {modality} vectors are no finite numbers; {remedy}")
    return arrays


def _unit_rows(rows: Rows) -> np.ndarray:
    units = np.empty(rows.shape, dtype=np.float16)
    for part in chunk_slices(*rows.shape):
        values = rows[part].astype(np.float32)
        units[part] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return units
