"""The floors of any table: the most popular items, and the user's own items again.

Where people take items again ``HistoryAgain`` is hard to beat, where they never do it is popularity. Equally popular
items come in the order of RecBole's internal ids, which is that of their first interactions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.baselines.closed_form import ClosedFormRecommender
from recbole_mgr.generation.item_memory import Sequences


class Popularity(ClosedFormRecommender):
    """The items with most training interactions, for every user alike.

    RecBole's Pop ranks as this does. As one of its general models it splits users with few interactions in another
    way, though, and then it cannot stand in one table with models of sequences.
    """

    popularity: Tensor | None = None  # float32 [N + 1], 0 for the least popular, below 1; no two items have the same

    def fit(self, sequences: Sequences, chosen: dict[str, float]) -> None:
        self.popularity = popularity_order(sequences, self.n_items).to(self.device)

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        return self.popularity.repeat(len(history), 1)

    def state(self) -> dict[str, Any]:
        return {"popularity": self.popularity}

    def load_state(self, state: dict[str, Any]) -> None:
        self.popularity = state["popularity"].to(self.device)

    @property
    def _is_fitted(self) -> bool:
        return self.popularity is not None


class HistoryAgain(Popularity):
    """The last MAX_ITEM_LIST_LENGTH items of the user, newest first, then popularity."""

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        places = torch.arange(1, history.shape[1] + 1, device=history.device).expand_as(history)  # newest last
        recency = places.masked_fill(history == 0, 0).to(torch.float32)
        newest = torch.zeros(len(history), self.n_items, device=history.device)
        newest.scatter_reduce_(1, history, recency, reduce="amax")  # an item taken twice counts as its newest
        return newest + self.popularity


def popularity_order(sequences: Sequences, num_rows: int) -> Tensor:
    """Popularity as a float32 score in [0, 1) without ties, [num_rows] by item id: more interactions first, then the
    lower id."""
    counts = np.bincount(sequences.item_ids, minlength=num_rows)
    order = np.lexsort((-np.arange(num_rows), counts))  # the least popular first
    place = np.empty(num_rows)
    place[order] = np.arange(num_rows)
    return torch.from_numpy((place / num_rows).astype(np.float32))
