"""Recommendation: the next item's semantic ID, generated after the history; RecBole evaluates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from recbole_mgr.unimp.personal_data import UserSequence
from recbole_mgr.unimp.rows import Row
from recbole_mgr.unimp.tasks.cases import Case, Question, Reply
from recbole_mgr.unimp.tasks.task import AnsweringModel, Task


class RecommendationTask(Task):
    """Which item comes next?

    With ``ask_after: every`` the question stands after every item of the history, so that a row teaches as many next
    items as it has. An epoch's rows ask about every item of a user but the first, a few of them twice, in windows that
    lie differently each epoch. An item that was just an answer is not named again in its own chunk, which would be a
    copy. With ``last`` a row asks once, as the paper's do, in one window a user and epoch.
    """

    name = "recommendation"
    short_name = "rec"
    instruction = "What comes next?"
    loss_weight = 2.0
    stage = 1
    tested_as = "recommendation"
    reads_target: ClassVar[bool] = False  # whether a prompt depends on the item that is going to be found

    @property
    def max_answer_tokens(self) -> int:
        return self.id_token_ids.shape[1] + 1

    def answer(self, case: Case) -> np.ndarray:
        return self.id_token_ids[case.target]

    def reply(self, model: AnsweringModel, question: Question) -> Reply:
        return Reply(self.prompt(question.history), is_ranking=True)

    def prompt(self, history: Sequence[int], target: int | None = None) -> Row:
        """A row that ends where the next item's ID is to be generated.

        Args:
            history: item ids, oldest first, at least one; the last ``history_items`` count.
            target: the item that is going to be found; only a search reads it, for its query.
        """
        items = self.latest(history)
        return self.row(Case(0, items, target or 0, np.full_like(items, -1)), answer=False)

    def query(self, target: int) -> np.ndarray | None:
        """Token ids of the words that the target is looked for with; None where none are."""

    def latest(self, history: Sequence[int]) -> np.ndarray:
        """The last ``history_items`` of a history, int64 [n]."""
        return np.asarray(history, dtype=np.int64)[-self.settings["history_items"] :]

    def draw_cases(self, sequence: UserSequence, generator: np.random.Generator) -> list[Case]:
        if self.settings["ask_after"] == "last":
            return super().draw_cases(sequence, generator)
        last, window = len(sequence.item_ids) - 1, self.settings["history_items"]
        offset = int(generator.integers(window)) if last > window else 0
        ends = {last, *range(last - offset, 0, -window)}  # of windows whose targets together are all but the first item
        cases = [self.case_at(sequence, end, generator) for end in sorted(ends)]
        return [case for case in cases if case is not None]

    def _lay_out(self, case: Case, answer: bool) -> Row:
        if self.settings["ask_after"] == "last":
            return super()._lay_out(case, answer)
        builder = self.new_builder()
        for index, item_id in enumerate(case.history):
            if index:
                before = case.history[:index], int(item_id), case.history_interactions[:index]
                self.ask(builder, Case(case.user_id, *before))
                builder.answer(self.id_token_ids[item_id], target=case.teaches_history)
            self.show(builder, item_id)
            if not index:
                builder.answer(self.id_token_ids[item_id], target=self.teaches_context(case))
        return self.close(builder, case, answer)
