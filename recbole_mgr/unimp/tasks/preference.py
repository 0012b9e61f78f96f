"""Preference prediction: the rating a user will give an item, as the expectation over the rating tokens.

The expectation is that of the frequencies which focal loss has made flatter (`focal_posterior`). With ``rating_bias``
it corrects the biases of user and item (`RatingLine`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_mgr.data.table import AtomicFormat, read_header
from recbole_mgr.integration.task_results import Estimate, TaskResult, estimate
from recbole_mgr.unimp.focal_loss import focal_posterior
from recbole_mgr.unimp.personal_data import PersonalData, UserSequence
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply
from recbole_mgr.unimp.tasks.rating_baseline import best_on_validation
from recbole_mgr.unimp.tasks.task import AnsweringModel, ItemQuestionTask

NO_RATINGS = "task preference: the .inter file has no column rating:float; leave the task out of tasks"


class PreferenceTask(ItemQuestionTask):
    """How will the user rate this item? The chunks of the history carry the ratings of their items.

    Deviation: the reference code parses a generated rating and calls what it cannot parse a 3.

    Raises:
        ValueError: If the data have no ratings.
    """

    name = "preference"
    instruction = "Which rating?"
    stage = 5
    needs = frozenset({"ratings"})

    @classmethod
    def require_files(cls, settings: Mapping[str, Any]) -> None:
        path, format = Path(settings["data_path"]) / f"{settings['dataset']}.inter", AtomicFormat.of(settings)
        if read_header(path, format).get(format.rating) != "float":
            raise ValueError(NO_RATINGS)

    def __init__(self, data: PersonalData, settings: Mapping[str, Any]) -> None:
        super().__init__(data, settings)
        if not data.has_ratings:
            raise ValueError(NO_RATINGS)
        if len(data.rating_values) < 2:
            raise ValueError(
                f"task preference: all training ratings are {data.rating_values[0]:g}, so there is nothing to predict; "
                "leave the task out of tasks"
            )

    @property
    def max_answer_tokens(self) -> int:
        return 2

    def case_at(self, sequence: UserSequence, position: int, generator: np.random.Generator) -> Case | None:
        case = super().case_at(sequence, position, generator)
        return case if case is not None and not np.isnan(self.data.rating(case.target_interaction)) else None

    def history_answer(self, case: Case, index: int) -> np.ndarray:
        return self.rating_token_ids(case.history_interactions[index])

    def answer(self, case: Case) -> np.ndarray:
        return self.rating_token_ids(case.target_interaction)

    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        case = self.case_of_question(question)
        known = replace(case, history=question.history, history_interactions=question.interactions)
        (rating,) = self.predict(model, [case], [known])
        return Reply(self.row(case, answer=False), lines=[f"{rating:.2f}"])

    def tune(self, model: AnsweringModel, cases: Sequence[Case]) -> None:
        if model.rating_line is not None:
            baseline = model.rating_line.baseline(self.data)
            by_bias = np.array([baseline.predict(case) for case in cases])
            model.rating_line.fit(by_bias, self.expected(model, cases), self._truth(cases))

    def predict(self, model: AnsweringModel, cases: Sequence[Case], known: Sequence[Case] | None = None) -> np.ndarray:
        """Ratings float64 [n], on the scale of the data.

        Args:
            model: in evaluation mode.
            cases: what its prompts show.
            known: the same with whole histories, for the bias of users that the training does not know.
        """
        expected = self.expected(model, cases)
        if model.rating_line is None:
            return expected
        baseline = model.rating_line.baseline(self.data)
        by_bias = np.array([baseline.predict(case) for case in known or cases])
        scale = self.data.rating_values
        return np.clip(model.rating_line.predict(by_bias, expected), scale.min(), scale.max())

    def expected(self, model: AnsweringModel, cases: Sequence[Case]) -> np.ndarray:
        """Ratings float64 [n] that the network expects."""
        scale = torch.from_numpy(self.data.rating_values)
        expected = []
        with torch.no_grad():
            for batch in self.prompts(model, cases):
                logits = model.answer_logits(batch, self.vocabulary.rating_ids.to(model.device))  # [B, R]
                likely = focal_posterior(logits.double().softmax(-1), self.settings["focal_gamma"])  # [B, R]
                expected.append(likely.cpu() @ scale)
        return torch.cat(expected).numpy()

    def evaluate(self, model: AnsweringModel, cases: Sequence[Case], run_dir: Path) -> TaskResult:
        truth = self._truth(cases)
        baseline = best_on_validation(self.data, self.cases("valid"))
        return TaskResult(
            task=self.name,
            cases=len(cases),
            metrics=_errors(self.predict(model, cases), truth),
            baselines={
                "global mean": _errors(np.full(len(cases), baseline.mean), truth),
                "user and item bias": _errors(np.array([baseline.predict(case) for case in cases]), truth),
            },
            notes=[
                "Baselines are fitted to the training ratings; how much biases are shrunk is chosen on validation.",
                *([] if model.rating_line is None else [model.rating_line.note]),
            ],
            lower_is_better=("rmse", "mae"),
        )

    def _truth(self, cases: Sequence[Case]) -> np.ndarray:
        return self.data.rating(np.array([case.target_interaction for case in cases]))


def _errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, Estimate]:
    return {
        "rmse": estimate((predicted - truth) ** 2, np.sqrt),
        "mae": estimate(np.abs(predicted - truth)),
    }
