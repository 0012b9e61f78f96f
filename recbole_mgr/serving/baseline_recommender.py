"""Models in use that score every item, RecBole's and our closed-form ones: the best are the list.

A sequential model reads histories; a general one knows the users it was trained on and what they took in training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.serving.base_recommender import Asked, BaseRecommender, Catalogue, padded
from recbole_mgr.serving.baseline_directory import BaselineRun
from recbole_mgr.serving.messages import Request


class BaselineRecommender(BaseRecommender):
    """A trained run in use of one of RecBole's models, or of our closed-form ones.

    Args:
        run: as read from its folder; the network is on its device.
        run_dir: the folder, for messages.

    Attributes:
        reads_histories: whether it recommends for any history, and not only for users of its training.
    """

    def __init__(self, run: BaselineRun, *, run_dir: Path) -> None:
        catalogue = Catalogue(run.network, run.item_texts.tokens, run.item_texts)
        super().__init__(catalogue, run.histories, run_dir=run_dir, device=run.device)
        self._model, self._config = run.about["model"], run.config
        self.reads_histories = run.config["MODEL_TYPE"] == ModelType.SEQUENTIAL

    @property
    def about(self) -> dict[str, Any]:
        users = 0 if self._histories is None else len(self._histories)
        return {"model": self._model, "items": self.num_items, "users": users, "modalities": [], "digits": []}

    def _beam_size(self, asked: int | None, k: int) -> None:
        if asked is not None:
            raise ValueError(f"beam_size: {self._model} scores every item and has no beams; leave it out")

    def _allow(self, catalogue: Catalogue, item_ids: Tensor) -> Tensor:
        """bool [N + 1], which items may be recommended."""
        allowed = torch.zeros(len(catalogue.tokens) + 1, dtype=torch.bool)
        allowed[item_ids] = True
        return allowed.to(self._device)

    @torch.no_grad()
    def _rank(self, requests: list[Request], histories: list[np.ndarray], asked: Asked) -> RankedList:
        scores = self._scores(requests, histories, asked.catalogue)  # [B, N + 1]
        scores[:, 0] = -torch.inf  # the padding
        if asked.allowed is not None:
            scores.masked_fill_(~asked.allowed, -torch.inf)
        if asked.mask_history:
            scores.scatter_(1, padded(histories).to(self._device), -torch.inf)
        best = scores.topk(min(asked.k, scores.shape[1]), dim=1)
        return RankedList(best.indices.masked_fill(best.values == -torch.inf, 0), best.values)

    def _scores(self, requests: list[Request], histories: list[np.ndarray], catalogue: Catalogue) -> Tensor:
        interaction = self._interaction(requests, histories).to(self._device)
        num_items = len(catalogue.tokens) + 1
        try:
            try:
                scores = catalogue.network.full_sort_predict(interaction)
            except NotImplementedError:  # a model that scores pairs
                scores = catalogue.network.predict(self._with_every_item(interaction, num_items))
        except KeyError as error:
            raise ValueError(
                f"{self._run_dir}: {self._model} also reads {error} of each request, which "
                f"{'a history' if requests[0].history is not None else 'a run directory'} does not tell; ask for users "
                "by id, or recommend with another model of the table"
            ) from error
        return scores.view(len(requests), -1)[:, :num_items].float().clone()

    def _interaction(self, requests: list[Request], histories: list[np.ndarray]) -> Interaction:
        by_id = [request.history is None for request in requests]
        if not all(by_id) and not self.reads_histories:
            raise ValueError(
                f"{self._run_dir}: {self._model} has learned users and does not read histories; ask for users of the "
                "training data by id"
            )
        fields = {}
        if all(by_id):
            rows = [self._histories.row_of(request.name) for request in requests]
            fields[self._config["USER_ID_FIELD"]] = torch.tensor(rows) + 1
        if self.reads_histories:
            item, longest = self._config["ITEM_ID_FIELD"], self._config["MAX_ITEM_LIST_LENGTH"]
            recent = padded([history[-longest:] for history in histories])  # [B, l]
            fields[item + self._config["LIST_SUFFIX"]] = F.pad(recent, (0, longest - recent.shape[1]))  # [B, L]
            lengths = [min(len(history), longest) for history in histories]
            fields[self._config["ITEM_LIST_LENGTH_FIELD"]] = torch.tensor(lengths)
        return Interaction(fields)

    def _with_every_item(self, interaction: Interaction, num_items: int) -> Interaction:
        """A row for each pair of a request and an item, request by request."""
        count = len(interaction)
        pairs = interaction.repeat_interleave(num_items)
        item_ids = torch.arange(num_items, device=self._device).repeat(count)
        pairs.update(Interaction({self._config["ITEM_ID_FIELD"]: item_ids}))
        return pairs
