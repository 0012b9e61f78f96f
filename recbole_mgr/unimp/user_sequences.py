"""Which items each user took in the training, validation and test part, under both splits of UniMP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

PARTS = ("train", "valid", "test")
# Training seeds of one table share the test users, whatever their own seed; 42 is the reference code's.
_SPLIT_SEED = 42
_HELD_OUT = 0.1  # of the users, for validation and for test each


class UserSequence(NamedTuple):
    """Items of one user, oldest first.

    Attributes:
        user_id: internal id.
        item_ids: int64 [n], n >= 2; in the validation and test parts the last one is the target, the others history.
        interactions: int64 [n], row numbers of the data set's interactions; they tell repeated purchases apart.
    """

    user_id: int
    item_ids: np.ndarray
    interactions: np.ndarray


def leave_one_out(users: np.ndarray, item_ids: np.ndarray) -> dict[str, list[UserSequence]]:
    """Each user's last item tests, the one before validates: RecBole's leave-one-out, user for user.

    Of three interactions the second trains and the third tests, of two the second trains; a single one is left out,
    since nothing precedes it.

    Args:
        users, item_ids: int64 [n] each, interactions in time order.

    Returns:
        "train", "valid", "test" -> sequences by ascending user id; training sequences hold training items only.
    """
    parts: dict[str, list[UserSequence]] = {part: [] for part in PARTS}
    for whole in _sequences(users, item_ids):
        length = len(whole.item_ids)
        tests, validates = length >= 3, length >= 4
        parts["train"].append(_first(whole, length - tests - validates))
        if validates:
            parts["valid"].append(_first(whole, length - 1))
        if tests:
            parts["test"].append(whole)
    return parts


def by_user(users: np.ndarray, item_ids: np.ndarray, part_of_user: np.ndarray) -> dict[str, list[UserSequence]]:
    """Each user belongs to one part with all items (the paper's split: test users are new).

    Args:
        users, item_ids: int64 [n] each, interactions in time order.
        part_of_user: int64 [U+1], from `parts_of_users`.
    """
    parts: dict[str, list[UserSequence]] = {part: [] for part in PARTS}
    for whole in _sequences(users, item_ids):
        parts[PARTS[part_of_user[whole.user_id]]].append(whole)
    return parts


def parts_of_users(user_tokens: Sequence[str]) -> np.ndarray:
    """Draw 80 % of the users for training and 10 % each for validation and test.

    Args:
        user_tokens: U tokens; who is drawn does not depend on their order.

    Returns:
        int64 [U+1], by internal id (0 = PAD): 0 training, 1 validation, 2 test.

    Raises:
        ValueError: If there are fewer than three users.
    """
    count = len(user_tokens)
    if count < 3:
        raise ValueError(f"user_split: by_user needs a user for each of three parts, the data set has {count}")
    held_out = max(1, round(_HELD_OUT * count))
    drawn = np.argsort(user_tokens)[np.random.default_rng(_SPLIT_SEED).permutation(count)]  # [U]
    part = np.zeros(count + 1, dtype=np.int64)
    part[1 + drawn[:held_out]] = PARTS.index("valid")
    part[1 + drawn[held_out : 2 * held_out]] = PARTS.index("test")
    return part


def training_interactions(sequences: Mapping[str, list[UserSequence]]) -> np.ndarray:
    """int64 [n], the interactions of the training part, user by user."""
    return np.concatenate([sequence.interactions for sequence in sequences["train"]])


def _sequences(users: np.ndarray, item_ids: np.ndarray) -> list[UserSequence]:
    """All items of each user who has at least two."""
    order = np.argsort(users, kind="stable")
    present, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
    ordered_items = item_ids[order]
    return [
        UserSequence(int(user), ordered_items[start : start + count], order[start : start + count])
        for user, start, count in zip(present, starts, counts, strict=True)
        if count >= 2
    ]


def _first(sequence: UserSequence, count: int) -> UserSequence:
    return sequence._replace(item_ids=sequence.item_ids[:count], interactions=sequence.interactions[:count])
