"""The trainer of closed-form models: an epoch is one fit with one choice of settings, judged on validation."""

from __future__ import annotations

from typing import Any

from recbole.trainer import Trainer

from recbole_mgr.baselines.closed_form import next_choice
from recbole_mgr.integration.checkpoint import load_checkpoint
from recbole_mgr.integration.dataset import training_sequences
from recbole_mgr.integration.trainer import ComparableTrainer


class ClosedFormTrainer(ComparableTrainer, Trainer):
    """RecBole's training loop, with fits instead of epochs; resume, validation and checkpoints as for any model.

    With ``refit_on_validation`` the best choice is fitted once more at the end, on training and validation
    interactions, and that fit is tested. Other models do not see these interactions, so it is a row of its own.
    """

    splits_batches = False

    def __init__(self, config, model) -> None:
        super().__init__(config, model)
        self.epochs = 1 + sum(len(values) - 1 for values in model.grid.values())
        self.eval_step, self.stopping_step = 1, self.epochs
        self._tried: list[float] = []  # validation scores, in the order of the trials

    def fit(self, train_data, valid_data=None, *args, **kwargs):
        best = super().fit(train_data, valid_data, *args, **kwargs)
        if valid_data is not None:
            checkpoint = load_checkpoint(self.saved_model_file, map_location=self.device)
            self.model.load_other_parameter(checkpoint["other_parameter"])
        if self.config["refit_on_validation"]:
            if valid_data is None:
                raise ValueError("refit_on_validation: there is no validation part; leave it out")
            sequences = training_sequences(train_data._dataset, valid_data._dataset)
            self.model.fit(sequences, self.model.chosen)
            self._save_checkpoint(self.epochs - 1, verbose=False)
        for note in self.notes:
            self.logger.info(note)
        return best

    @property
    def notes(self) -> list[str]:
        notes = self.model.notes()
        if self.config["refit_on_validation"]:
            notes.append("fitted once more on training and validation interactions, which other rows do not see")
        return notes

    def _train_epoch(self, train_data, epoch_idx, *args, **kwargs) -> float:
        self._save_progress(train_data, epoch_idx)
        choice = next_choice(self.model.grid, self._tried)
        self.model.fit(self.model.training_sequences, choice)
        self.model.chosen = choice
        return 0.0

    def _valid_epoch(self, *args, **kwargs):
        score, result = super()._valid_epoch(*args, **kwargs)
        self._tried.append(float(score) if self.valid_metric_bigger else -float(score))
        return score, result

    def _extra_progress(self) -> dict[str, Any]:
        return {"tried": list(self._tried)}

    def _load_extra_progress(self, state: dict[str, Any]) -> None:
        self._tried = list(state["tried"])
