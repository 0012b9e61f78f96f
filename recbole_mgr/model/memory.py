"""The closed-form item-to-item memory as a prior of a generating model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from recbole_mgr.data.features import feature_path, load_features
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.generation.item_memory import Counts, FittedMemory, MemorySettings
from recbole_mgr.generation.likeness import by_codes, by_vectors, nearest_items
from recbole_mgr.generation.priors import DENSE_ITEMS, LISTED, DensePrior, Prior, ShortListPrior
from recbole_mgr.generation.ridge import largest_of_rows
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.integration.dataset import GenerativeDataset
from recbole_mgr.semantic_id.table import SemanticIdTable

OURS = {"content_weight": 10.0, "max_entries": 100}  # where a user says nothing else
COLLABORATIVE = "collaborative"  # vectors learned from interactions, which say nothing of content
_NO_CONTENT = "memory_options: content_weight needs a modality of content beside the collaborative one; set it to 0"


class MemoryPrior(nn.Module):
    """Which items follow those of a history, as ``log(max(score, 0) + floor)``.

    Its entries are buffers, so that they are kept with a network's weights.

    Args:
        num_items: N.
        settings: of the memory.
        floor: > 0, what an item gets that the memory knows nothing of.
        fitted: what was learned; None leaves room for it.
    """

    weights: Tensor
    targets: Tensor

    def __init__(
        self, num_items: int, settings: MemorySettings, floor: float, fitted: FittedMemory | None = None
    ) -> None:
        super().__init__()
        self.settings, self.floor = settings, floor
        weights = torch.zeros(num_items + 1, settings.max_entries)
        targets = torch.zeros(num_items + 1, settings.max_entries, dtype=torch.int32)
        if fitted is not None:
            entries = fitted.weights.shape[1]
            weights[:, :entries] = fitted.weights
            targets[:, :entries] = torch.arange(entries) if fitted.targets is None else fitted.targets
        self.register_buffer("weights", weights)  # [N + 1, R]
        self.register_buffer("targets", targets)  # [N + 1, R]

    @classmethod
    def learned_from(cls, dataset: GenerativeDataset, settings: MemorySettings, floor: float) -> MemoryPrior:
        """From the interactions of a training part, and the items' content where ``content_weight`` asks for it."""
        num_items = dataset.semantic_ids.num_items
        likeness = item_likeness(dataset) if settings.content_weight else None
        counts = Counts.of(dataset.training_sequences, num_items, settings)
        return cls(num_items, settings, floor, FittedMemory.fit(counts, settings, likeness))

    def prior(self, trie: PrefixTrie, history: Tensor, lengths: Tensor) -> Prior:
        """For histories [B, L] (0 = none) of ``lengths`` [B]."""
        if trie.num_items <= DENSE_ITEMS:
            return DensePrior(trie, self.scores(history, lengths))
        best = self._fitted.best(history, lengths, LISTED)
        scores = self._log(best.scores).masked_fill(best.item_ids == 0, self._log(best.scores.new_zeros(())).item())
        return ShortListPrior(trie, best.item_ids, scores, floor=float(self._log(torch.zeros(()))))

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        """Of every item, float [B, N + 1], for histories as in :meth:`prior`."""
        return self._log(self._fitted.scores(history, lengths))

    def with_new_items(self, likeness: sparse.csr_matrix) -> MemoryPrior:
        """A memory in which new items have what the known items most like them have: they follow, and are followed by,
        what those are on average, as strongly as those. What an item says of itself, mostly that nobody takes it twice,
        is not passed on, nor what is known of an item that counts as new. Of each item the largest entries stay.

        Args:
            likeness: CSR [N + 1, N + 1], of each new item to known ones, rows that sum to 1.
        """
        size, entries = self.weights.shape
        rows = np.repeat(np.arange(size), entries)
        weights, targets = (part.flatten().cpu().numpy() for part in (self.weights, self.targets))
        memory = sparse.csr_matrix((weights, (rows, targets)), (size, size))
        is_known = sparse.diags((likeness.getnnz(axis=1) == 0).astype(weights.dtype))
        memory = is_known @ memory @ is_known
        others = memory - sparse.diags(memory.diagonal())
        following = _as_strong_means(likeness, others.T.tocsr()).T  # new items follow
        memory = memory + following + _as_strong_means(likeness, others + following)  # and are followed
        memory.eliminate_zeros()
        fitted = FittedMemory(self.settings, *largest_of_rows(memory, entries))
        return MemoryPrior(size - 1, self.settings, self.floor, fitted).to(self.weights.device)

    @property
    def _fitted(self) -> FittedMemory:
        return FittedMemory(self.settings, self.weights, self.targets)

    def _log(self, scores: Tensor) -> Tensor:
        return (scores.clamp(min=0) + self.floor).log()


def require_content(settings: Mapping[str, Any]) -> None:
    """Refuse, before anything is read, a memory that asks for items alike by content where no modality has any."""
    wants_content = settings["memory"] and (OURS | settings["memory_options"])["content_weight"]
    if wants_content and set(settings["modalities"]) == {COLLABORATIVE}:
        raise ValueError(_NO_CONTENT)


def item_likeness(dataset: GenerativeDataset) -> sparse.csr_matrix:
    """Which items are alike by content: by the vectors of the run's modalities, or by codes where only these are there.

    Vectors that were learned from interactions are no content, and left out.
    """
    table: SemanticIdTable = dataset.semantic_ids
    folder, config = Path(dataset.config["data_path"]), dataset.config
    alike = []
    for modality in config["modalities"]:
        if modality == COLLABORATIVE:
            continue
        if feature_path(folder, dataset.dataset_name, modality):
            how = config["missing_modality"], AtomicFormat.of(config)
            found = load_features(folder, dataset.dataset_name, modality, dataset.item_tokens, *how)
            alike.append(by_vectors(found.vectors, present=found.present))
        elif modality in table.modalities:
            alike.append(by_codes(table.codes[1:, table.block(modality)].numpy()))
    if not alike:
        raise ValueError(_NO_CONTENT)
    return nearest_items(alike, table.num_items)


def _as_strong_means(likeness: sparse.csr_matrix, rows: sparse.csr_matrix) -> sparse.csr_matrix:
    """``likeness @ rows``, each as long as those that it is the mean of are on average: rows that agree in little have
    a short mean."""
    means = likeness @ rows
    lengths, wanted = (np.sqrt(part.power(2).sum(axis=1)).A1 for part in (means, rows))
    return sparse.diags(likeness @ wanted / np.maximum(lengths, 1e-12)) @ means
