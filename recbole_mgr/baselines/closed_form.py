"""What a model without gradients is to RecBole: settings are tried on validation where others train epochs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor, nn

from recbole_mgr.generation.item_memory import Sequences
from recbole_mgr.integration.dataset import CheckedDataset
from recbole_mgr.integration.model_files import ReadsFeatures


class ClosedFormRecommender(ReadsFeatures, SequentialRecommender):
    """A recommender that is made of the training sequences in one go and scores every item.

    Subclasses say how (:meth:`fit`) and what they score (:meth:`scores`).

    Args:
        config: RecBole's Config.
        dataset: the training part, with ``training_sequences``; without them the model cannot be fitted, but loaded.

    Attributes:
        choices: settings that may be lists; each value is tried, see :func:`next_choice`.
    """

    choices: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        """Refuse settings that contradict each other; raises ValueError naming key, value and remedy."""
        for key in cls.choices:
            values = _values(settings[key])
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: {settings[key]} tries a value twice; give each once")

    def __init__(self, config, dataset: CheckedDataset) -> None:
        super().__init__(config, dataset)
        self.training_sequences: Sequences | None = getattr(dataset, "training_sequences", None)
        self.grid = {key: _values(config[key]) for key in self.choices}
        self.chosen: dict[str, float] = {}
        self.unused = nn.Parameter(torch.zeros(1), requires_grad=False)  # RecBole's optimizer wants one

    def fit(self, sequences: Sequences, chosen: dict[str, float]) -> None:
        """Make the model of some sequences.

        Args:
            sequences: the training items, or training and validation items, of every internal user id.
            chosen: a value for each of :attr:`choices`.
        """
        raise NotImplementedError

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        """Scores [B, N + 1] of every item for histories [B, L], oldest first and right-padded, and lengths [B]."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What :meth:`fit` made, as tensors and plain data."""
        raise NotImplementedError

    def load_state(self, state: dict[str, Any]) -> None:
        """Counterpart of :meth:`state`."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """What a table says below about the row."""
        notes = []
        if searched := [key for key, values in self.grid.items() if len(values) > 1]:
            notes.append("chosen on validation: " + ", ".join(f"{key} {self.chosen[key]:g}" for key in searched))
        return notes

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Nothing is learned by gradients; RecBole's trainer is not asked for this."""
        return torch.zeros(1, device=self.device)

    def predict(self, interaction: Interaction) -> Tensor:
        """Score [B] of each row's candidate item."""
        return self._scores_of(interaction).gather(1, interaction[self.ITEM_ID].unsqueeze(1)).squeeze(1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of every item, [B * (N + 1)] as RecBole wants it; PAD at -inf."""
        return self._scores_of(interaction).view(-1)

    def other_parameter(self) -> dict[str, Any]:
        """RecBole stores this in checkpoints."""
        return {"chosen": self.chosen, "state": self.state()} if self._is_fitted else {}

    def load_other_parameter(self, para: dict[str, Any] | None) -> None:
        if para:
            self.chosen = para["chosen"]
            self.load_state(para["state"])

    @property
    def _is_fitted(self) -> bool:
        raise NotImplementedError

    @torch.no_grad()
    def _scores_of(self, interaction: Interaction) -> Tensor:
        history = interaction[self.ITEM_SEQ]
        if self._is_fitted:
            scores = self.scores(history, interaction[self.ITEM_SEQ_LEN])
        else:  # RecBole measures a model's cost before it is trained
            scores = torch.zeros(len(history), self.n_items, device=history.device)
        scores[:, 0] = -torch.inf
        return scores


def next_choice(grid: dict[str, list[float]], scores: list[float]) -> dict[str, float] | None:
    """What to try next: one setting after the other, the best value of each kept.

    The first trial has every setting's first value. Then the other values of the first setting are tried, with the best
    of what was tried before; then those of the second, and so on.

    Args:
        grid: the values of each setting.
        scores: of the trials so far, in their order; higher is better.

    Returns:
        A value for each setting, or None where all was tried: 1 + sum(values - 1) trials.
    """
    best = {key: values[0] for key, values in grid.items()}
    if not scores:
        return best
    best_score, done = scores[0], 1
    for key, values in grid.items():
        others = best
        for value in values[1:]:
            trial = {**others, key: value}
            if done == len(scores):
                return trial
            if scores[done] > best_score:
                best, best_score = trial, scores[done]
            done += 1
    return None


def _values(setting: Any) -> list[Any]:
    return setting if isinstance(setting, list) else [setting]
