"""What every task of UniMP shares: who is asked about what, and how that is laid out as one row of tokens.

A row is the same in training and in use. Each item of the history is a chunk ``<image> text <answer> answer end``;
then the task asks: ``instruction <answer> target end``, of which a prompt leaves out all after ``<answer>``.

Source: Wei et al., UniMP (ICLR 2024, arXiv 2403.10667). Deviations: the reference code shows history answers in
training only and drops them at test; here both have them.
"""

from __future__ import annotations

import itertools
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.integration.task_results import TaskResult
from recbole_mgr.unimp.catalogue import tokenize
from recbole_mgr.unimp.personal_data import PersonalData, UserSequence
from recbole_mgr.unimp.rows import SEES_ALL, Row, RowBatch, RowBuilder
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply, case_of, in_parts, without_oldest

_NOTHING = np.empty(0, dtype=np.int64)


class AnsweringModel(Protocol):
    """What the tasks ask of a network; `UniMP` is one."""

    ranking_task: Task | None
    rating_line: Any  # the `RatingLine` of the preference task, which builds on this module; or None
    device: torch.device
    ITEM_SEQ: str
    ITEM_SEQ_LEN: str

    def score_items(self, interaction: Interaction, item_ids: Tensor) -> Tensor:
        """How likely items follow the histories ITEM_SEQ, int64 [B, M] -> float [B, M]."""

    def collate_prompts(self, rows: Sequence[Row]) -> RowBatch:
        """Prompts as a batch on the model's device."""

    def answer_logits(self, prompts: RowBatch, token_ids: Tensor) -> Tensor:
        """Logits [B, n] of the tokens [n] as the first of each answer."""

    def generate_answers(self, prompts: RowBatch, **options: Any) -> list[list[int]]:
        """Answers of B prompts as token ids."""


class Task(ABC):
    """One of the things UniMP is asked to do. All that is particular to a task stands in its class.

    Args:
        data: items, vocabulary, tokenizer, and users' sequences (of a loaded run: none, which serves prompts).
        settings: ``history_items`` (items of a row's history), ``max_tokens`` (of a row), ``context_targets``,
            ``ask_after``, ``task_cases`` (cases of validation and test, None for all), and the task's own.

    Raises:
        ValueError: Naming the task and what the data lack for it.
    """

    name: ClassVar[str]
    short_name: ClassVar[str | None] = None  # which the settings and the command line take, too
    instruction: ClassVar[str]
    stage: ClassVar[int]  # when it joins under ``task_sampling: staged``, from 1 on
    needs: ClassVar[frozenset[str]] = frozenset()  # of ratings, reviews and pictures, read only where a task needs them
    asks_for: ClassVar[Literal["query", "item", "candidates"] | None] = None  # what a question has beside a history
    # Who tests it: RecBole (its metrics are the model's own), RecBole's ranking and then the task, or the task alone.
    tested_as: ClassVar[Literal["recommendation", "ranking", "answers"]]
    loss_weight: ClassVar[float] = 1.0

    def __init__(self, data: PersonalData, settings: Mapping[str, Any]) -> None:
        self.data, self.settings = data, settings
        self.catalogue, self.vocabulary = data.catalogue, data.vocabulary
        self.id_token_ids = self.vocabulary.item_token_ids(data.table.codes).numpy()  # [N+1, D]; row 0 is no item's
        self.instruction_ids = self.tokenize(self.instruction)  # [q]

    @classmethod  # noqa: B027  (most tasks refuse nothing)
    def check_settings(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings that this task cannot work with.

        Raises:
            ValueError: Naming key, value and remedy.
        """

    @classmethod  # noqa: B027  (most tasks read what every data set has)
    def require_files(cls, settings: Mapping[str, Any]) -> None:
        """Refuse a data set that lacks a file or a column of this task, before anything is trained.

        Raises:
            ValueError: Naming the task, what is lacking and the remedy.
        """

    @property
    @abstractmethod
    def max_answer_tokens(self) -> int:
        """Most tokens of an answer, its end included."""

    @abstractmethod
    def answer(self, case: Case) -> np.ndarray:
        """Token ids int64 of the true answer of a case, without its end."""

    @abstractmethod
    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        """Answer one person's question, which holds what the task asks for.

        Raises:
            ValueError: Naming what the question has that this run has not learned to answer.
        """

    def tune(self, model: AnsweringModel, cases: Sequence[Case]) -> None:  # noqa: B027  (most tasks choose nothing)
        """Choose by cases of the validation part what the answers rest on beside the trained weights."""

    def training_rows(self, epoch: int) -> list[Case]:
        """The questions of one epoch, for :meth:`row`.

        They depend on the training part, the data's seed and ``epoch`` only.
        """
        generator = np.random.default_rng([self.data.seed, zlib.crc32(self.name.encode()), epoch])
        return [case for user in self.data.sequences("train") for case in self.draw_cases(user, generator)]

    def cases(self, part: str) -> list[Case]:
        """The questions of a part, the same in every run: about each user's last item, at most ``task_cases``.

        Args:
            part: ``valid`` or ``test``.

        Raises:
            ValueError: If the part has no question for this task.
        """
        sequences, limit = self.data.sequences(part), self.settings["task_cases"]
        cases = []
        for index in np.random.default_rng(0).permutation(len(sequences)):
            sequence = sequences[index]
            # of a user's own, so that neither the number of cases nor other users change theirs
            generator = np.random.default_rng([zlib.crc32(f"{self.name} {part}".encode()), sequence.user_id])
            case = self.case_at(sequence, len(sequence.item_ids) - 1, generator)
            if case is not None:
                cases.append(replace(case, teaches_history=False))
            if limit is not None and len(cases) == limit:
                break
        if not cases:
            raise ValueError(
                f"task {self.name}: no user of the {part} part has what it asks for; leave it out of tasks"
            )
        return cases

    def case_at(self, sequence: UserSequence, position: int, generator: np.random.Generator) -> Case | None:
        """The question about a user's item at ``position``, from those before it; None where there is none to ask.

        Args:
            sequence: the user's items.
            position: of the target, from 0.
            generator: for tasks that draw something.
        """
        return case_of(sequence, first=position - self.settings["history_items"], target=position)

    def draw_cases(self, sequence: UserSequence, generator: np.random.Generator) -> list[Case]:
        """A user's questions for one epoch, about items drawn among those that can be asked about.

        There is one with ``ask_after: last``, and with ``every`` one for each window that the sequence has, so that
        long sequences teach all tasks as much as they teach recommendation.
        """
        windows = (len(sequence.item_ids) - 1) // self.settings["history_items"]
        wanted = 1 if self.settings["ask_after"] == "last" else max(1, windows)
        positions = 1 + generator.permutation(len(sequence.item_ids) - 1)
        cases = (self.case_at(sequence, int(position), generator) for position in positions)
        return list(itertools.islice((case for case in cases if case is not None), wanted))

    def row(self, case: Case, *, answer: bool) -> Row:
        """Lay out a case as tokens; the oldest items give way until ``max_tokens`` and the answer's room are kept.

        Args:
            case: with at least one item of history.
            answer: whether the true answer follows (a row to learn from) or is left open (a prompt).

        Raises:
            ValueError: If there is no history, or its last item alone is too long.
        """
        room = self.settings["max_tokens"] - (0 if answer else self.max_answer_tokens)
        for dropped in range(len(case.history)):
            row = self._lay_out(without_oldest(case, dropped), answer)
            if len(row.token_ids) <= room:
                return row
        if not len(case.history):
            raise ValueError(
                f"task {self.name}: user {case.user_id} has no item before the question; give at least one"
            )
        item = self.data.table.item_tokens[case.history[-1] - 1]
        raise ValueError(
            f"task {self.name}: item {item!r} and the question take {len(row.token_ids)} tokens, but {room} may stand "
            "there; raise max_tokens or shorten text_fields"
        )

    def history_answer(self, case: Case, index: int) -> np.ndarray:
        """Token ids of what the chunk of the history's item ``index`` answers: its ID, or what the task asks of it."""
        return self.id_token_ids[case.history[index]]

    def history_given(self, case: Case, index: int) -> np.ndarray:
        """Token ids that stand before this answer and are no targets: nothing, or the ID where it is not the answer."""
        return _NOTHING

    def teaches_context(self, case: Case) -> bool:
        """Whether the answers in the chunks of the history are targets (context reconstruction)."""
        return self.settings["context_targets"] and case.teaches_history

    def ask(self, builder: RowBuilder, case: Case) -> None:
        """Append the question, all before its ``<answer>``."""
        builder.text(self.instruction_ids, sees=SEES_ALL)

    def new_builder(self) -> RowBuilder:
        """An empty row in which tokens see what the settings say."""
        return RowBuilder(
            self.vocabulary,
            has_image=self.catalogue.has_image,
            image_attention=self.settings["image_attention"],
            closing_sees=self.settings["closing_sees"],
        )

    def show(self, builder: RowBuilder, item_id: int) -> int:
        """Append an item's ``<image>``, where it has a picture, and its text, which sees that picture.

        Returns:
            What the text sees.
        """
        image = builder.image(item_id)
        builder.text(self.catalogue.text_token_ids(item_id), sees=image)
        return image

    def ask_about(self, builder: RowBuilder, item_id: int) -> None:
        """Append a question about one item: its picture and text, and the instruction, which sees that picture alone.

        So its answer sees what the answers in the chunks of the history see.
        """
        builder.text(self.instruction_ids, sees=self.show(builder, item_id))

    def tokenize(self, text: str) -> np.ndarray:
        """Token ids int64 of a text."""
        return np.array(tokenize(self.data.tokenizer, [text])[0], dtype=np.int64)

    def _lay_out(self, case: Case, answer: bool) -> Row:
        builder = self.new_builder()
        for index, item_id in enumerate(case.history):
            self.show(builder, item_id)
            builder.answer(
                self.history_answer(case, index),
                target=self.teaches_context(case),
                given=self.history_given(case, index),
            )
        return self.close(builder, case, answer)

    def close(self, builder: RowBuilder, case: Case, answer: bool) -> Row:
        """Append the question, and its answer or the place for it."""
        self.ask(builder, case)
        if answer:
            builder.answer(self.answer(case), target=True)
        else:
            builder.open_answer()
        return builder.row()


class EvaluatedTask(Task):
    """A task whose answers are no ranked lists, so that it judges them itself, and not RecBole."""

    tested_as = "answers"

    def latest(self, values: np.ndarray) -> np.ndarray:
        """The last ``history_items`` of a history or of its interactions."""
        return values[-self.settings["history_items"] :]

    @abstractmethod
    def evaluate(self, model: AnsweringModel, cases: Sequence[Case], run_dir: Path) -> TaskResult:
        """Let the model answer the cases, and judge its answers and those of the task's baselines.

        Args:
            model: in evaluation mode.
            cases: at least one.
            run_dir: where files that people look at may be written.
        """

    def prompts(self, model: AnsweringModel, cases: Sequence[Case]) -> Iterator[RowBatch]:
        """The cases' prompts in batches on the model's device, padded on the left."""
        for part in in_parts(cases):
            yield model.collate_prompts([self.row(case, answer=False) for case in part])


class ItemQuestionTask(EvaluatedTask):
    """A question about one item. The chunks of the history show their items' IDs and answer with what the user said of
    them, a rating or a review; only that is learned."""

    asks_for = "item"

    def history_given(self, case: Case, index: int) -> np.ndarray:
        return self.id_token_ids[case.history[index]]

    def ask(self, builder: RowBuilder, case: Case) -> None:
        self.ask_about(builder, case.target)

    def case_of_question(self, question: Question) -> Case:
        """The case that a person asks about, whose answer nobody knows yet."""
        return Case(0, self.latest(question.history), question.item_id, self.latest(question.interactions))

    def rating_token_ids(self, interaction: int) -> np.ndarray:
        """The token of an interaction's rating, int64 [1], or [0] where there is no rating."""
        index = self.data.rating_index(np.array([interaction]))
        return self.vocabulary.rating_ids.numpy()[index[index >= 0]]
