"""What the tasks that ask for a user's opinion of an item share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recbole_mgr.unimp.rows import RowBuilder
from recbole_mgr.unimp.tasks.task import Case, EvaluatedTask

if TYPE_CHECKING:
    from recbole_mgr.unimp.personal_data import PersonalData


class OpinionTask(EvaluatedTask):
    """A question about one item. The chunks of the history show their items' IDs and answer with the user's opinions;
    only those are learned."""

    def history_given(self, case: Case, index: int) -> np.ndarray:
        return self.id_token_ids[case.history[index]]

    def ask(self, builder: RowBuilder, case: Case) -> None:
        self.ask_about(builder, case.target)


def rating_token_ids(data: PersonalData, interaction: int) -> np.ndarray:
    """The token of an interaction's rating, int64 [1], or [0] where there is no rating."""
    index = data.rating_index(np.array([interaction]))
    return data.vocabulary.rating_ids.numpy()[index[index >= 0]]
