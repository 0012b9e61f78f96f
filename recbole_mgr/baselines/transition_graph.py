"""``TGH``: the last item's neighbours in the graph of transitions, in rings, ranked by likeness.

Source: TGH-1 of arXiv 2605.07125. An edge leads from an item to each that follows it directly in a training sequence.
The list takes 7 items of ring 1 (one step from the user's last item), 2 of ring 2 and 1 of ring 3; within a ring items
are ranked by their likeness to the last item, in ring 1 plus ``edge_weight`` times log(1 + count) over the largest such
value of the last item.

Deviations: the likeness is the mean cosine over the modalities given, here any vectors (the paper: Flan-T5-XL of the
texts), 0 without any; ties go to the more popular item; what a ring lacks is filled, after the rings' shares, by the
rest of the rings from the inside out, then by all other items by likeness. With 7, 2, 1 the first ten places are the
same items as in the paper.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recbole_mgr.baselines.closed_form import ClosedFormRecommender
from recbole_mgr.baselines.history_again import popularity_order
from recbole_mgr.data.features import load_features
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.generation.item_memory import Sequences
from recbole_mgr.integration.dataset import CheckedDataset, tokens_of


class TGH(ClosedFormRecommender):
    """Ranks by the last item of the history alone."""

    transitions: sparse.csr_matrix | None = None  # [N + 1, N + 1], counts of direct successions
    popularity: Tensor | None = None  # float32 [N + 1]

    def __init__(self, config, dataset: CheckedDataset) -> None:
        super().__init__(config, dataset)
        self.ring_sizes, self.edge_weight = config["ring_sizes"], config["edge_weight"]
        self.vectors = torch.zeros(self.n_items, 1, device=self.device)  # [N + 1, sum of dims], of all modalities
        if self.training_sequences and config["modalities"]:
            tokens, folder = tokens_of(dataset, dataset.iid_field), Path(config["data_path"])
            format = AtomicFormat.of(config)
            parts = []
            for modality in config["modalities"]:
                features = load_features(folder, dataset.dataset_name, modality, tokens, "zero", format)
                parts.append(torch.from_numpy(np.asarray(features.vectors[:], dtype=np.float32)))
            scale = len(parts) ** -0.5  # so that the product is the mean of the cosines
            unit = torch.cat([torch.nn.functional.normalize(part, dim=1) * scale for part in parts], dim=1)
            self.vectors = torch.nn.functional.pad(unit, (0, 0, 1, 0)).to(self.device)

    def fit(self, sequences: Sequences, chosen: dict[str, float]) -> None:
        item_ids, starts = sequences
        end = np.repeat(starts[1:], np.diff(starts))
        first = np.flatnonzero(np.arange(len(item_ids)) + 1 < end)
        pairs = (item_ids[first], item_ids[first + 1])
        self.transitions = sparse.csr_matrix((np.ones(len(first)), pairs), shape=(self.n_items, self.n_items))
        self.popularity = popularity_order(sequences, self.n_items).to(self.device)

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        last = history.gather(1, (lengths - 1).clamp(min=0).unsqueeze(1)).squeeze(1)  # [B]
        last, row_of = last.unique(return_inverse=True)
        return self._scores_after(last)[row_of]

    def _scores_after(self, last: Tensor) -> Tensor:
        """Scores after each of some items, float64 [n, N + 1]: by share of a ring, then by ring, then by likeness."""
        rings = len(self.ring_sizes)
        ring = self._rings(last.cpu().numpy()).to(self.device)  # [n, N + 1], 0-based; the number of rings: outside
        edges = torch.from_numpy(np.log1p(self.transitions[last.cpu().numpy()].toarray())).to(self.device)
        edges /= edges.amax(dim=1, keepdim=True).clamp(min=1e-9)
        likeness = (self.vectors[last] @ self.vectors.T).double() + self.edge_weight * edges  # only ring 1 has edges
        likeness = likeness / (4 + 4 * self.edge_weight) + 1e-9 * self.popularity  # within (-1/2, 1/2)
        level = (rings - ring).double()  # what is left of the rings, 1 to rings; 0 outside
        for number, size in enumerate(self.ring_sizes):
            inside = likeness.masked_fill(ring != number, -torch.inf)
            best = inside.topk(min(size, inside.shape[1]), dim=1)
            share = torch.where(best.values > -torch.inf, 2.0 * rings - number, level.gather(1, best.indices))
            level.scatter_(1, best.indices, share)
        return likeness + level

    def _rings(self, last: np.ndarray) -> Tensor:
        """How many steps each item is from some items, less one: int64 [n, N + 1]; beyond the last ring, its number."""
        depth = len(self.ring_sizes)
        ring = np.full((len(last), self.n_items), depth, dtype=np.int64)
        steps = sparse.csr_matrix((np.ones(len(last)), (np.arange(len(last)), last)), shape=ring.shape)
        for level in range(depth):
            steps = (steps @ self.transitions).sign()
            rows, item_ids = steps.nonzero()
            new = (ring[rows, item_ids] == depth) & (item_ids != last[rows])
            ring[rows[new], item_ids[new]] = level
        return torch.from_numpy(ring)

    def state(self) -> dict[str, Any]:
        return {"transitions": self.transitions, "popularity": self.popularity, "vectors": self.vectors}

    def load_state(self, state: dict[str, Any]) -> None:
        self.transitions = state["transitions"].tocsr()
        self.popularity = state["popularity"].to(self.device)
        if "vectors" in state or not self.training_sequences:  # old checkpoints lack them, and training has read them
            self.vectors = state["vectors"].to(self.device)

    @property
    def _is_fitted(self) -> bool:
        return self.transitions is not None
