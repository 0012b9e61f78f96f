"""Who trains, validates and tests on what."""

from collections import Counter

import numpy as np
import pytest

from recbole_mgr.unimp.user_sequences import by_user, leave_one_out, parts_of_users, training_interactions


def interactions(seed=0):
    """Users 1..9 with 1..9 items, in one time order; items repeat."""
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.repeat(np.arange(1, 10), np.arange(1, 10)))
    return users, rng.integers(1, 5, size=len(users))


def test_leave_one_out_by_the_number_of_items():
    users, items = interactions()
    parts = leave_one_out(users, items)
    for part, shortest, kept in (("train", 2, {2: 2, 3: 2}), ("valid", 4, {}), ("test", 3, {})):
        lengths = {sequence.user_id: len(sequence.item_ids) for sequence in parts[part]}
        less = {"train": 2, "valid": 1, "test": 0}[part]
        assert lengths == {user: kept.get(user, user - less) for user in range(shortest, 10)}
    for sequence in sum(parts.values(), []):
        assert np.array_equal(items[sequence.interactions], sequence.item_ids)
        assert (users[sequence.interactions] == sequence.user_id).all()
        assert (np.diff(sequence.interactions) > 0).all()  # oldest first
        assert np.array_equal(
            sequence.interactions, np.flatnonzero(users == sequence.user_id)[: len(sequence.item_ids)]
        )


def test_no_target_is_trained_on():
    users, items = interactions()
    parts = leave_one_out(users, items)
    targets = [sequence.interactions[-1] for part in ("valid", "test") for sequence in parts[part]]
    assert len(set(targets)) == len(targets)
    assert not set(targets) & set(training_interactions(parts))


def test_by_user_parts_share_no_user():
    users, items = interactions()
    tokens = [f"u{user}" for user in range(1, 10)]
    parts = by_user(users, items, parts_of_users(tokens))
    members = {part: {sequence.user_id for sequence in sequences} for part, sequences in parts.items()}
    assert set.union(*members.values()) == set(range(2, 10))  # the first has a single item
    assert sum(map(len, members.values())) == 8
    for sequence in sum(parts.values(), []):
        assert np.array_equal(sequence.interactions, np.flatnonzero(users == sequence.user_id))


def test_a_tenth_each_whatever_the_order():
    tokens = [f"u{user}" for user in range(200)]
    part = parts_of_users(tokens)
    assert part[0] == 0
    assert Counter(part[1:].tolist()) == {0: 160, 1: 20, 2: 20}
    shuffled = np.random.default_rng(1).permutation(200)
    again = parts_of_users([tokens[place] for place in shuffled])
    assert np.array_equal(again[1:], part[1:][shuffled])
    assert sorted(parts_of_users(["a", "b", "c"])[1:].tolist()) == [0, 1, 2]


def test_too_few_users():
    with pytest.raises(ValueError, match="user_split: by_user needs a user for each of three parts"):
        parts_of_users(["a", "b"])
