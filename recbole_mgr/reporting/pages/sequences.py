"""Whom a comparison was tested on: each user's history, target, and what the training part knows of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mgr.data.interactions import Interactions
from recbole_mgr.data.item_file import read_all_item_texts
from recbole_mgr.serving.run_directory import HISTORIES_FILE, read_histories
from recbole_mgr.serving.run_files import ITEMS_FILE

_HELD_OUT = 2  # of each user: validation and test target


class TestedUsers(NamedTuple):
    """U tested users, in the order of a result.

    Attributes:
        histories: U arrays of item numbers, oldest first, the target not among them.
        targets: int64 [U], item numbers.
        training_counts: int64 [N], interactions of each item in the training part.
        seen_transitions: set of (item, next item) in the training part, as item * N + next item.
    """

    histories: list[np.ndarray]
    targets: np.ndarray
    training_counts: np.ndarray
    seen_transitions: np.ndarray


def sequences_of_data(data: Interactions, number_of: Mapping[str, int]) -> dict[str, np.ndarray]:
    """User token -> item numbers in time order."""
    numbers = np.array([number_of[token] for token in data.item_tokens], dtype=np.int64)[data.items]
    starts = np.searchsorted(data.users, np.arange(len(data.user_tokens) + 1))
    return {user: numbers[starts[row] : starts[row + 1]] for row, user in enumerate(data.user_tokens)}


def sequences_of_run(run_dir: Path, users: Sequence[str], number_of: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The same from a run directory; empty where it keeps no histories."""
    tokens = read_all_item_texts(run_dir / ITEMS_FILE).tokens
    histories = read_histories(run_dir / HISTORIES_FILE, len(tokens))
    if histories is None:
        return {}
    numbers = np.array([-1, *(number_of[token] for token in tokens)], dtype=np.int64)
    found = {user: histories.of_user(user) for user in users}
    return {user: numbers[item_ids] for user, item_ids in found.items() if item_ids is not None}


def tested_users(
    sequences: Mapping[str, np.ndarray], users: Sequence[str], targets: Sequence[int], num_items: int
) -> TestedUsers | None:
    """What is known of the users of a leave-one-out test.

    Args:
        sequences: user -> all item numbers in time order.
        users, targets: U users of a result, and the numbers of their targets.
        num_items: N.

    Returns:
        None where the targets are not the users' last items: another split, or other data.
    """
    own = [sequences.get(user) for user in users]
    if any(sequence is None or len(sequence) < 2 for sequence in own):
        return None
    targets = np.asarray(targets, dtype=np.int64)
    if not np.array_equal(targets, [sequence[-1] for sequence in own]):
        return None
    training = [sequence[:-_HELD_OUT] for sequence in sequences.values() if len(sequence) > _HELD_OUT]
    flat = np.concatenate(training) if training else np.empty(0, dtype=np.int64)
    pairs = [sequence[:-1] * num_items + sequence[1:] for sequence in training if len(sequence) > 1]
    return TestedUsers(
        histories=[sequence[:-1] for sequence in own],
        targets=targets,
        training_counts=np.bincount(flat, minlength=num_items),
        seen_transitions=np.unique(np.concatenate(pairs)) if pairs else np.empty(0, dtype=np.int64),
    )


def groups_of(tested: TestedUsers) -> dict[str, dict[str, np.ndarray]]:
    """Question -> answer -> bool [U], which users it holds for; answers that hold for nobody are left out."""
    num_items = len(tested.training_counts)
    last = np.array([history[-1] for history in tested.histories], dtype=np.int64)
    lengths = np.array([len(history) for history in tested.histories])
    repeated = np.array(
        [target in history for history, target in zip(tested.histories, tested.targets.tolist(), strict=True)]
    )
    popularity = tested.training_counts[tested.targets]
    seen = np.isin(last * num_items + tested.targets, tested.seen_transitions)
    groups = {
        "Target": {"repeats an item of the history": repeated, "new to the user": ~repeated},
        "Step from the last item to the target": {"seen in training": seen, "never seen in training": ~seen},
        "Interactions of the target in training": _bands(popularity, zero="none (a cold item)"),
        "Length of the history": _bands(lengths),
    }
    return {
        question: {name: rows for name, rows in answers.items() if rows.any()} for question, answers in groups.items()
    }


def _bands(values: np.ndarray, *, zero: str | None = None) -> dict[str, np.ndarray]:
    """Up to five bands that hold about equally many; whole numbers, none in two bands; 0 alone where it is named."""
    answers = {zero: values == 0} if zero else {}
    rest = values[values > 0] if zero else values
    if not len(rest):
        return answers
    low = 0
    for edge in np.unique(np.quantile(rest, np.linspace(0, 1, 6)[1:], method="lower")).tolist():
        inside = rest[(rest > low) & (rest <= edge)]
        first, last = int(inside.min()), int(inside.max())
        name = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        answers[name] = (values >= first) & (values <= last)
        low = last
    return answers
