"""Item selection: which of some candidates the user takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch.nn.utils.rnn import pad_sequence

from recbole_mgr.integration.task_results import Estimate, TaskResult, estimate
from recbole_mgr.unimp.personal_data import PersonalData, UserSequence
from recbole_mgr.unimp.rows import RowBuilder
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply, case_of, in_parts
from recbole_mgr.unimp.tasks.task import AnsweringModel, EvaluatedTask

_SHARE_OF_TWO = 0.4


@dataclass(frozen=True, eq=False, kw_only=True)
class SelectionCase(Case):
    """Candidates int64 [C] item ids, and which of them the user takes, bool [C]."""

    candidates: np.ndarray
    is_taken: np.ndarray


class SelectionTask(EvaluatedTask):
    """Which of these does the user take? One of ``selection_candidates`` items in 60 % of the cases, two in 40 %.

    What they take is the item asked about, or that and the one before it; the history ends before both. The others are
    drawn uniformly from the items that their sequence in this part lacks; in training that keeps out their training
    items alone, so that nothing is told of validation and test.

    ``selection_by`` says how the answer is found: ``marks`` generates the candidates' marks, as the paper does;
    ``likelihood`` (ours) takes the one candidate whose ID is the likeliest answer to the recommendation question: a
    mark is learned from a token or two a row, an ID from all that recommendation has to teach.

    Source: the shares are the reference code's, which offers three candidates.

    Raises:
        ValueError: If there are more candidates than items.
    """

    name = "selection"
    instruction = "Which are chosen?"
    stage = 3
    asks_for = "candidates"

    @classmethod
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        if settings["selection_by"] == "likelihood" and "recommendation" not in settings["tasks"]:
            raise ValueError("selection_by: likelihood needs recommendation among the tasks; add it, or take marks")

    def __init__(self, data: PersonalData, settings: Mapping[str, Any]) -> None:
        super().__init__(data, settings)
        count, items = settings["selection_candidates"], len(self.id_token_ids) - 1
        if count > items:
            raise ValueError(f"selection_candidates: {count} is more than the {items} items of the data set")

    @property
    def max_answer_tokens(self) -> int:
        return 3

    def case_at(self, sequence: UserSequence, position: int, generator: np.random.Generator) -> SelectionCase | None:
        items = sequence.item_ids
        two = generator.random() < _SHARE_OF_TWO and position >= 2 and items[position] != items[position - 1]
        first_taken = position - 1 if two else position
        case = case_of(sequence, first=first_taken - self.settings["history_items"], target=first_taken)
        others = self._others(items, self.settings["selection_candidates"] - 1 - two, generator)
        if case is None or others is None:
            return None
        candidates = np.concatenate([items[first_taken : position + 1], others])
        order = generator.permutation(len(candidates))
        shared = {field.name: getattr(case, field.name) for field in fields(case)}
        return SelectionCase(**shared, candidates=candidates[order], is_taken=order <= two)

    def ask(self, builder: RowBuilder, case: Case) -> None:
        marks = self.vocabulary.candidate_ids.numpy()
        if len(case.candidates) > len(marks):
            raise ValueError(
                f"task selection: {len(case.candidates)} candidates, but this run was trained to choose among at most "
                f"{len(marks)} (selection_candidates)"
            )
        for mark, item_id in zip(marks[: len(case.candidates)], case.candidates, strict=True):
            image = builder.image(item_id)
            builder.text(np.append(mark, self.catalogue.text_token_ids(item_id)), sees=image)
        super().ask(builder, case)

    def answer(self, case: Case) -> np.ndarray:
        return self.vocabulary.candidate_ids.numpy()[np.flatnonzero(case.is_taken)]

    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        wanted = self.settings["selection_candidates"]
        if len(question.candidates) != wanted:
            raise ValueError(f"candidates: this run has learned to choose from {wanted} items; give as many")
        case = SelectionCase(
            0,
            self.latest(question.history),
            0,
            self.latest(question.interactions),
            candidates=question.candidates,
            is_taken=np.zeros(wanted, dtype=bool),
        )
        (chosen,) = self.choose(model, [case])
        by_likelihood = self.goes_by_likelihood(model)
        row = model.ranking_task.prompt(question.history) if by_likelihood else self.row(case, answer=False)
        return Reply(row, item_ids=question.candidates[chosen])

    def evaluate(self, model: AnsweringModel, cases: Sequence[SelectionCase], run_dir: Path) -> TaskResult:
        by_marks = _set_metrics(self.choose_by_marks(model, cases), cases)
        by_likelihood = {"generated marks": by_marks} if self.goes_by_likelihood(model) else {}
        popularity = self.data.training_popularity()
        favourites = [np.arange(len(case.candidates)) == popularity[case.candidates].argmax() for case in cases]
        return TaskResult(
            task=self.name,
            cases=len(cases),
            metrics=_set_metrics(self.choose(model, cases), cases) if by_likelihood else by_marks,
            baselines={
                **by_likelihood,
                "at random (expected)": _random_metrics(cases),
                "most popular candidate": _set_metrics(favourites, cases),
            },
            notes=[
                "At random: one candidate in 60 % of the cases, two in 40 %.",
                "UniMP's row: " + ("the candidate with the likeliest ID." if by_likelihood else "generated marks."),
            ],
        )

    def choose(self, model: AnsweringModel, cases: Sequence[SelectionCase]) -> list[np.ndarray]:
        """Which candidates the model picks of each case, bool [C]."""
        by_likelihood = self.goes_by_likelihood(model)
        return self.choose_by_likelihood(model, cases) if by_likelihood else self.choose_by_marks(model, cases)

    def goes_by_likelihood(self, model: AnsweringModel) -> bool:
        """Whether this model is asked for IDs and not for marks."""
        if self.settings["selection_by"] == "marks":
            return False
        return model.ranking_task is not None and model.ranking_task.name == "recommendation"

    def choose_by_likelihood(self, model: AnsweringModel, cases: Sequence[SelectionCase]) -> list[np.ndarray]:
        """The candidate whose ID is the likeliest after the history, bool [C] for each case."""
        chosen = []
        for part in in_parts(cases):
            histories = [torch.from_numpy(case.history) for case in part]
            rows = {
                model.ITEM_SEQ: pad_sequence(histories, batch_first=True),  # [B, L]
                model.ITEM_SEQ_LEN: torch.tensor([len(history) for history in histories]),
            }
            candidates = torch.from_numpy(np.stack([case.candidates for case in part]))  # [B, C]
            with torch.no_grad():
                scores = model.score_items(Interaction(rows).to(model.device), candidates.to(model.device))  # [B, C]
            chosen += [np.arange(len(row)) == row.argmax() for row in scores.cpu().numpy()]
        return chosen

    def choose_by_marks(self, model: AnsweringModel, cases: Sequence[SelectionCase]) -> list[np.ndarray]:
        """The candidates whose marks are generated, bool [C] for each case; none where the answer ends at once."""
        marks = self.vocabulary.candidate_ids[: self.settings["selection_candidates"]]
        allowed = torch.cat([marks, torch.tensor([self.vocabulary.end_id])]).to(model.device)
        answers = []
        for batch in self.prompts(model, cases):
            answers += model.generate_answers(batch, allowed_token_ids=allowed, max_new_tokens=self.max_answer_tokens)
        return [
            np.isin(marks[: len(case.candidates)].numpy(), answer) for case, answer in zip(cases, answers, strict=True)
        ]

    def _others(self, taken: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray | None:
        """``count`` different items that are not taken, int64; None where there are not so many."""
        num_items = len(self.id_token_ids) - 1
        taken_ids = set(taken.tolist())
        if num_items - len(taken_ids) < count:
            return None
        others: dict[int, None] = {}
        while len(others) < count:
            item_id = int(generator.integers(1, num_items + 1))
            if item_id not in taken_ids:
                others[item_id] = None
        return np.array(list(others), dtype=np.int64)


def _set_metrics(chosen: Sequence[np.ndarray], cases: Sequence[SelectionCase]) -> dict[str, Estimate]:
    """Means over the cases; who chooses nothing has precision 0."""
    hits = np.array([(choice & case.is_taken).sum() for choice, case in zip(chosen, cases, strict=True)])
    sizes, truths = np.array([choice.sum() for choice in chosen]), _num_taken(cases)
    return _estimates(hits / np.maximum(sizes, 1), hits / truths, 2 * hits / (sizes + truths))


def _random_metrics(cases: Sequence[SelectionCase]) -> dict[str, Estimate]:
    """What is to be expected of choosing blindly, as many as the cases are made of."""
    truths, counts = _num_taken(cases), np.array([len(case.candidates) for case in cases])
    precision, recall, f1 = truths / counts, np.zeros(len(cases)), np.zeros(len(cases))
    for size, share in ((1, 1 - _SHARE_OF_TWO), (2, _SHARE_OF_TWO)):
        recall += share * size / counts
        f1 += share * 2 * (size * truths / counts) / (size + truths)
    return _estimates(precision, recall, f1)


def _num_taken(cases: Sequence[SelectionCase]) -> np.ndarray:
    return np.array([case.is_taken.sum() for case in cases])


def _estimates(precision: np.ndarray, recall: np.ndarray, f1: np.ndarray) -> dict[str, Estimate]:
    return {"precision": estimate(precision), "recall": estimate(recall), "f1": estimate(f1)}
