"""What a task of UniMP is asked, and what it answers: cases of the data, a person's questions and their replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from recbole_mgr.unimp.personal_data import UserSequence
from recbole_mgr.unimp.rows import Row

_CASES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Case:
    """One question of a task.

    Attributes:
        user_id: whose history it is; 0 where the data do not know the user.
        history: [n] item ids, oldest first, n >= 1.
        target: id of the item asked about; 0 where nobody knows it yet.
        history_interactions: [n] row numbers of the interactions, which ratings and reviews belong to; -1 where there
            are none.
        target_interaction: the same of the target.
        teaches_history: whether the history's answers may be targets; not in cases of validation and test, so that
            their loss is that of unseen targets alone.
    """

    user_id: int
    history: np.ndarray
    target: int
    history_interactions: np.ndarray
    target_interaction: int = -1
    teaches_history: bool = True


class Question(NamedTuple):
    """What one person asks a task.

    Attributes:
        history: int64 [n] item ids, oldest first.
        interactions: int64 [n] row numbers that ratings and reviews belong to, -1 where there are none.
        query_token_ids: int64 [q], words to look for or to draw.
        item_id: of the item asked about.
        candidates: int64 [C] item ids to choose from.
        temperature: draw a picture by chance with it; None takes the likeliest.
    """

    history: np.ndarray
    interactions: np.ndarray
    query_token_ids: np.ndarray | None = None
    item_id: int = 0
    candidates: np.ndarray | None = None
    temperature: float | None = None


class Reply(NamedTuple):
    """What a task answers to a question.

    Attributes:
        row: the prompt.
        is_ranking: whether the answer is a ranked list of items, generated after the prompt by whom the reply is for.
        lines: the answer as text.
        item_ids: int64 [n], the answer as items.
        pixels: uint8 [size, size, 3], the answer as a picture.
    """

    row: Row
    is_ranking: bool = False
    lines: Sequence[str] = ()
    item_ids: np.ndarray | None = None
    pixels: np.ndarray | None = None


def in_parts(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    """Cases as batches for a model."""
    for start in range(0, len(cases), _CASES_AT_ONCE):
        yield cases[start : start + _CASES_AT_ONCE]


def case_of(sequence: UserSequence, *, first: int, target: int) -> Case | None:
    """The case about the item at ``target`` with those from ``first`` on before it; None without any before it."""
    first = max(first, 0)
    if target <= first:
        return None
    return Case(
        user_id=sequence.user_id,
        history=sequence.item_ids[first:target],
        target=int(sequence.item_ids[target]),
        history_interactions=sequence.interactions[first:target],
        target_interaction=int(sequence.interactions[target]),
    )


def without_oldest(case: Case, count: int) -> Case:
    """The case without the oldest ``count`` items of its history."""
    if not count:
        return case
    return replace(case, history=case.history[count:], history_interactions=case.history_interactions[count:])
