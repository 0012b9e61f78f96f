"""Seen items against a plain computation over sets."""

from collections import Counter

import numpy as np
import torch

from recbole_mgr.integration.seen_items import SeenItems

PAD = 0


def masked(seen: SeenItems, users) -> list[set[int]]:
    rows = seen.rows(torch.tensor(users))
    return [set(row.tolist()) - {PAD} for row in rows]


def test_a_users_items():
    seen = SeenItems(np.array([3, 1, 3]), np.array([7, 5, 8]), num_users=5)
    assert masked(seen, [3, 1, 2, 4]) == [{7, 8}, {5}, set(), set()]
    assert seen.rows(torch.tensor([3, 1])).tolist() == [[7, 8], [5, PAD]]
    asked = torch.tensor([3, 1, 3, 2, 1])
    assert seen.contains(asked, torch.tensor([8, 8, 9, 7, PAD])).tolist() == [True, False, False, False, False]


def test_nobody_has_seen_anything():
    seen = SeenItems(np.array([], dtype=int), np.array([], dtype=int), num_users=3)
    assert masked(seen, [1, 2]) == [set(), set()]
    assert seen.rows(torch.tensor([], dtype=int)).shape == (0, 0)


def test_split_against_sets():
    rng = np.random.default_rng(0)
    histories = {user: rng.integers(1, 9, size=rng.integers(4, 12)).tolist() for user in range(1, 40)}  # with repeats
    pairs = np.array([(user, item) for user, items in histories.items() for item in items])
    valid = np.array([(user, items[-2]) for user, items in histories.items()])
    test = np.array([(user, items[-1]) for user, items in histories.items()])
    before_valid, before_test = SeenItems.split(*rng.permutation(pairs).T, valid, test, num_users=40)
    users = list(histories)
    for part, seen, target in ((-2, before_valid, valid), (-1, before_test, test)):
        assert masked(seen, users) == [set(histories[user][:part]) for user in users]
        again = [histories[user][part] in histories[user][:part] for user in users]
        assert seen.contains(torch.tensor(users), torch.from_numpy(target[:, 1])).tolist() == again
    repeats = [user for user, items in histories.items() if Counter(items)[items[-1]] > 1]
    assert repeats and all(histories[user][-1] in masked(before_test, [user])[0] for user in repeats)
