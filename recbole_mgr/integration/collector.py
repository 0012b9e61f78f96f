"""Evaluation from ranked lists, through RecBole's metrics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from recbole.evaluator import Collector

from recbole_mgr.generation.beam_search import RankedList


class Ranking(NamedTuple):
    """What an evaluation ranked, one row per target.

    Attributes:
        users: [n] internal user ids.
        targets: [n] internal item ids.
        item_ids: [n, max(topk)] ranked items, padded with 0.
    """

    users: np.ndarray
    targets: np.ndarray
    item_ids: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """[n] 1-based rank of each target, 0 where it is not in the list."""
        hit = self.item_ids == self.targets[:, None]
        return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


class RankedListCollector(Collector):
    """RecBole's collector, fed with ranked lists or, for scoring models, with scores as ever.

    RecBole's top-k metrics read ``rec.topk`` (hit flags and number of positives) and ``rec.items``; both follow
    from a ranked list alone. The last evaluation's lists are kept for paired tests (:attr:`ranking`).
    """

    def __init__(self, config) -> None:
        super().__init__(config)
        self._user_field = config["USER_ID_FIELD"]
        self._rows: list[Ranking] = []

    def eval_batch_collect(self, scores_tensor, interaction, positive_u, positive_i) -> None:
        """Collect one batch.

        Args:
            scores_tensor: :class:`RankedList` of [B, max(topk)], or scores [B, N + 1].
            interaction: the batch.
            positive_u, positive_i: row and item id of each positive, [P] each.
        """
        positive_u, positive_i = positive_u.to(self.device), positive_i.to(self.device)
        if isinstance(scores_tensor, RankedList):
            item_ids = scores_tensor.item_ids
            hits = (item_ids[positive_u] == positive_i[:, None]).int()  # [P, k]
            flags = torch.zeros_like(item_ids, dtype=torch.int).index_add_(0, positive_u, hits)  # [B, k]
            positives = torch.bincount(positive_u, minlength=len(item_ids)).int()[:, None]
            if self.register.need("rec.items"):
                self.data_struct.update_tensor("rec.items", item_ids)
            if self.register.need("rec.topk"):
                self.data_struct.update_tensor("rec.topk", torch.cat([flags, positives], dim=1))
        else:
            super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
            best = scores_tensor.topk(max(self.topk), dim=-1)
            item_ids = best.indices.masked_fill(best.values == -torch.inf, 0)
        users = interaction[self._user_field].to(self.device)
        if len(users) != len(item_ids):  # uniN batches repeat a user for each of his candidates
            users = users.unique_consecutive()
        rows = (users[positive_u], positive_i, item_ids[positive_u])
        self._rows.append(Ranking(*(tensor.cpu().numpy() for tensor in rows)))

    def forget_ranking(self) -> None:
        """Start a new evaluation's lists."""
        self._rows = []

    @property
    def ranking(self) -> Ranking:
        """The lists of the evaluation since :meth:`forget_ranking`."""
        return Ranking(*(np.concatenate(column) for column in zip(*self._rows, strict=True)))
