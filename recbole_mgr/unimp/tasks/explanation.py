"""Explanation: the words in which a user says what they think of an item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_mgr.integration.task_results import Estimate, TaskResult
from recbole_mgr.integration.validation import require
from recbole_mgr.unimp.personal_data import PersonalData, UserSequence
from recbole_mgr.unimp.tasks.bert_score import BertScore
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply
from recbole_mgr.unimp.tasks.explanation_baselines import ExplanationBaselines
from recbole_mgr.unimp.tasks.task import AnsweringModel, ItemQuestionTask
from recbole_mgr.unimp.tasks.text_metrics import bleu, distinct, feature_match, grounded, rouge_l, variety

NO_REVIEWS = "task explanation: the data set has no .review file; leave the task out of tasks"
_TOKENS_PER_WORD = 2
_EXAMPLES = 3


class ExplanationTask(ItemQuestionTask):
    """What will the user say of this item? A rating, where the data have ratings, then the start of their review.

    The chunks of the history carry the ratings and reviews of their items. Texts are the first ``explanation_words``
    words of reviews, in training, in the references and in the baselines alike.

    Raises:
        ValueError: If the data have no reviews.
    """

    name = "explanation"
    instruction = "What will the user say?"
    stage = 4
    needs = frozenset({"ratings", "reviews"})

    @classmethod
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        folder = settings["bert_score"]
        is_model = not folder or (Path(folder) / "config.json").is_file()
        require(is_model, settings, "bert_score", "a folder made by save_pretrained, with a config.json")

    @classmethod
    def require_files(cls, settings: Mapping[str, Any]) -> None:
        if not (Path(settings["data_path"]) / f"{settings['dataset']}.review").is_file():
            raise ValueError(NO_REVIEWS)

    def __init__(self, data: PersonalData, settings: Mapping[str, Any]) -> None:
        super().__init__(data, settings)
        if not data.has_reviews:
            raise ValueError(NO_REVIEWS)
        self._most_text_tokens = _TOKENS_PER_WORD * settings["explanation_words"]

    @property
    def max_answer_tokens(self) -> int:
        return 2 + self._most_text_tokens

    def case_at(self, sequence: UserSequence, position: int, generator: np.random.Generator) -> Case | None:
        case = super().case_at(sequence, position, generator)
        return case if case is not None and len(self.data.review_token_ids(case.target_interaction)) else None

    def history_answer(self, case: Case, index: int) -> np.ndarray:
        return self._rating_and_review(case.history_interactions[index])

    def answer(self, case: Case) -> np.ndarray:
        return self._rating_and_review(case.target_interaction)

    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        case = self.case_of_question(question)
        return Reply(self.row(case, answer=False), lines=self.write(model, [case]))

    def write(self, model: AnsweringModel, cases: Sequence[Case]) -> list[str]:
        """The model's texts for n cases."""
        tokenizer = self.data.tokenizer
        ordinary = np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)
        allowed = torch.cat(
            [torch.from_numpy(ordinary), self.vocabulary.rating_ids, torch.tensor([self.vocabulary.end_id])]
        ).to(model.device)
        texts = []
        for batch in self.prompts(model, cases):
            answers = model.generate_answers(batch, allowed_token_ids=allowed, max_new_tokens=self.max_answer_tokens)
            texts += [self.text(answer) for answer in answers]
        return texts

    def text(self, answer: Sequence[int]) -> str:
        """The words of an answer's token ids, without its rating and end."""
        words = [token_id for token_id in answer if token_id < self.vocabulary.base_size]
        return self.data.tokenizer.decode(words, skip_special_tokens=True).strip()

    def evaluate(self, model: AnsweringModel, cases: Sequence[Case], run_dir: Path) -> TaskResult:
        references = [self.data.review_text(case.target_interaction) for case in cases]
        baselines = ExplanationBaselines(self.data)
        bert_score = BertScore(Path(self.settings["bert_score"])) if self.settings["bert_score"] else None
        items = [case.target for case in cases]
        features = [baselines.features(case, reference) for case, reference in zip(cases, references, strict=True)]
        true = [baselines.features_of(item) for item in items]

        def judged(texts: list[str]) -> dict[str, Estimate]:
            by_meaning = {"bert_score": bert_score(texts, references)} if bert_score else {}
            return {
                "bleu": bleu(texts, references),
                "rouge_l": rouge_l(texts, references),
                **by_meaning,
                "feature_match": feature_match(texts, features),
                "grounded": grounded(texts, baselines.feature_words, true),
                "distinct_2": distinct(texts),
                "variety": variety(texts, items),
            }

        texts = self.write(model, cases)
        examples = zip(texts[:_EXAMPLES], references, strict=False)
        return TaskResult(
            task=self.name,
            cases=len(cases),
            metrics=judged(texts),
            baselines={
                "most frequent review": judged([baselines.most_frequent] * len(cases)),
                "another user's review": judged([baselines.of_another(case) for case in cases]),
            },
            notes=[
                "Feature match: the share of the true review's feature words that the text has; feature words stand in "
                "the item's attributes or training reviews, and in those of at most half the items.",
                "Grounded: the share of the text's feature words that are its item's; the others are made up. Variety: "
                "how many words the texts for two users of an item do not share, of all that they have, with "
                "intervals over items.",
                "Another user's review: of the same item, else of its category; drawn from the training part.",
                *(f"Example: {text!r} where the user wrote {reference!r}." for text, reference in examples),
            ],
        )

    def _rating_and_review(self, interaction: int) -> np.ndarray:
        review = self.data.review_token_ids(interaction)[: self._most_text_tokens]
        return np.concatenate([self.rating_token_ids(interaction), review])
