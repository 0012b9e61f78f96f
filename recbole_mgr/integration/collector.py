"""Evaluation from ranked lists, through RecBole's metrics."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.evaluator import Collector

from recbole_mgr.distributed import processes
from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.integration.seen_items import SeenItems

# What RecBole's collector gathers row by row, and forgets after an evaluation.
_ROWS = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")
ROWS_SORTED_AT_A_TIME = 256  # of scores of all items
NOTHING_NEW = (
    "mask_history: every target repeats an item of its user's history, so with seen items kept out nothing is left to "
    "find; leave mask_history at False"
)


class Ranking(NamedTuple):
    """What an evaluation ranked, one row per target.

    Attributes:
        users: [n] internal user ids.
        targets: [n] internal item ids.
        item_ids: [n, max(topk)] ranked items, padded with 0.
        repeated: bool [n], whether the target stands in the user's history already; False where nobody knows.
    """

    users: np.ndarray
    targets: np.ndarray
    item_ids: np.ndarray
    repeated: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """[n] 1-based rank of each target, 0 where it is not in the list."""
        hit = self.item_ids == self.targets[:, None]
        return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def best_scores(scores: torch.Tensor, k: int, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """``torch.topk`` of scores [B, N] by their last dimension; on a GPU the lower place comes first of equal scores."""
    if scores.device.type == "cpu":
        return scores.topk(k, dim=dim)
    return lower_places_first(scores, k)


def lower_places_first(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k highest scores of each row of [B, N] and their places, [B, k] each, equal ones by their place."""
    values, places = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    is_tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    for rows in is_tied.nonzero().squeeze(1).split(ROWS_SORTED_AT_A_TIME):
        ordered = scores[rows].sort(dim=1, descending=True, stable=True)
        values[rows], places[rows] = (part[:, : values.shape[1]] for part in ordered)
    return values[:, :k], places[:, :k]


class RankedListCollector(Collector):
    """RecBole's collector, fed with ranked lists or, by models that score every item, with scores as RecBole does it.

    RecBole's top-k metrics read ``rec.topk`` (hit flags and number of positives) and ``rec.items``; both follow
    from a ranked list alone. The last evaluation's lists are kept for paired tests (:attr:`ranking`).
    """

    def __init__(self, config) -> None:
        super().__init__(config)
        self._user_field = config["USER_ID_FIELD"]
        self._rows: list[Ranking] = []
        self._seen_items: SeenItems | None = None
        self._new_targets_only = False

    def eval_batch_collect(self, scores_tensor, interaction, positive_u, positive_i) -> None:
        """Collect one batch.

        Args:
            scores_tensor: :class:`RankedList` of [B, max(topk)], or scores [B, N + 1].
            interaction: the batch.
            positive_u, positive_i: row and item id of each positive, [P] each.
        """
        positive_u, positive_i = positive_u.to(self.device), positive_i.to(self.device)
        num_rows = len(scores_tensor.item_ids if isinstance(scores_tensor, RankedList) else scores_tensor)
        targets_users = self._users(interaction, num_rows).to(self.device)[positive_u]
        repeated = torch.zeros_like(positive_i, dtype=torch.bool)
        if self._seen_items is not None:
            repeated = self._seen_items.contains(targets_users, positive_i)
        self._keep_ranking(scores_tensor, targets_users, positive_u, positive_i, repeated)
        if self._new_targets_only and repeated.any():
            scores_tensor, positive_u, positive_i = _without(scores_tensor, positive_u, positive_i, repeated)
            if not len(positive_i):
                return
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

    def _users(self, interaction, num_rows: int) -> torch.Tensor:
        users = interaction[self._user_field]
        # uniN batches repeat a user for each of their candidates
        return users if len(users) == num_rows else users.unique_consecutive()

    def seen_by_users_of(self, interaction, num_rows: int) -> torch.Tensor:
        """What the users of a batch of ``num_rows`` users have seen, int64 [B, X], right-padded with 0."""
        return self._seen_items.rows(self._users(interaction, num_rows)).to(self.device)

    def _keep_ranking(self, scores, users, positive_u, positive_i, repeated) -> None:
        if isinstance(scores, RankedList):
            item_ids = scores.item_ids
        else:
            values, places = best_scores(scores, max(self.topk))
            item_ids = places.masked_fill(values == -torch.inf, 0)
        rows = (users, positive_i, item_ids[positive_u], repeated)
        self._rows.append(Ranking(*(tensor.cpu().numpy() for tensor in rows)))

    def start_evaluation(self, seen_items: SeenItems | None, *, new_targets_only: bool) -> None:
        """Forget the lists of the last evaluation.

        Args:
            seen_items: what users have before their targets, where it is known.
            new_targets_only: whether metrics leave out users whose target repeats their history; the ranking keeps
                all users.
        """
        self._rows, self._seen_items, self._new_targets_only = [], seen_items, new_targets_only

    def get_data_struct(self):
        """What was collected, for RecBole's metrics.

        Raises:
            ValueError: If metrics leave out every user.
        """
        struct = self.collected()
        if self.leaves_out_all:
            raise ValueError(NOTHING_NEW)
        return struct

    def collected(self):
        """What was collected, for RecBole's metrics; what all processes collected, in the owner's."""
        if processes.count() > 1:
            self._gather()
        return super().get_data_struct()

    @property
    def leaves_out_all(self) -> bool:
        """Whether metrics leave out every user, because their target repeats their history; after `collected`."""
        return self._new_targets_only and bool(self._rows) and bool(self.ranking.repeated.all())

    def _gather(self) -> None:
        """Bring the rows of all processes to the owner, in the order of the batches."""
        data = self.data_struct
        own = {name: data[name].cpu() for name in _ROWS if name in data}
        for name in own:
            del data[name]
        collected, rankings = zip(*(processes.gather((own, self._rows)) or [({}, [])]), strict=True)
        self._rows = [row for rows in rankings for row in rows]
        for name in dict.fromkeys(name for part in collected for name in part):
            data.set(name, torch.cat([part[name] for part in collected if name in part]))

    @property
    def ranking(self) -> Ranking:
        """The lists of the evaluation since :meth:`start_evaluation`; of several processes the owner has them."""
        return Ranking(*(np.concatenate(column) for column in zip(*self._rows, strict=True)))


class CollectorOfBoth:
    """What RecBole's trainer collects in, twice: seen items are ranked, and are kept out.

    A batch is two `RankedList`, or scores, in which seen items are masked when they have been collected as they are.

    Args:
        collector: of the evaluations so far; it collects what is ranked as it is.
    """

    def __init__(self, collector: RankedListCollector) -> None:
        self.as_it_is, self.masked = collector, copy.copy(collector)
        self.masked.data_struct = copy.deepcopy(collector.data_struct)

    def start_evaluation(self, seen_items: SeenItems, **_: Any) -> None:
        """Forget the lists of the last evaluation."""
        self.as_it_is.start_evaluation(seen_items, new_targets_only=False)
        self.masked.start_evaluation(seen_items, new_targets_only=True)

    def eval_batch_collect(self, lists_or_scores, interaction, positive_u, positive_i) -> None:
        """Collect one batch; the arguments are those of :class:`RankedListCollector`, the first one as said above."""
        batch = interaction, positive_u, positive_i
        if isinstance(lists_or_scores, torch.Tensor):
            self.as_it_is.eval_batch_collect(lists_or_scores, *batch)
            seen = self.masked.seen_by_users_of(interaction, len(lists_or_scores))
            # 0 is the padding of what was seen, and is never ranked anyway
            self.masked.eval_batch_collect(lists_or_scores.scatter_(1, seen, -torch.inf), *batch)
        else:
            as_it_is, masked = lists_or_scores
            self.as_it_is.eval_batch_collect(as_it_is, *batch)
            self.masked.eval_batch_collect(masked, *batch)

    def model_collect(self, model: torch.nn.Module) -> None:
        """RecBole's, which keeps nothing."""

    def get_data_struct(self):
        """Of what is ranked as it is."""
        return self.as_it_is.get_data_struct()


def _without(scores, positive_u: torch.Tensor, positive_i: torch.Tensor, left_out: torch.Tensor):
    """A batch without the rows of some targets, one target a row.

    Args:
        scores: `RankedList` of [B, k], or scores [B, N + 1].
        positive_u, positive_i: row and item id of each target, [B] each.
        left_out: bool [B].
    """
    kept = positive_u[~left_out]
    rows = RankedList(*(part[kept] for part in scores)) if isinstance(scores, RankedList) else scores[kept]
    return rows, torch.arange(len(kept), device=kept.device), positive_i[~left_out]
