"""Histories of users as flat arrays."""

import numpy as np
import pytest

from recbole_mgr.data.histories import UserHistories


@pytest.fixture
def histories():
    pairs = np.array([[2, 5], [1, 7], [2, 6], [4, 1], [2, 5]])
    return UserHistories.of(pairs, ["ann", "bob", "nobody", "dörte"])


def test_items_come_in_the_order_of_the_rows(histories):
    assert [histories.of_user(user).tolist() for user in ("ann", "bob", "nobody", "dörte")] == [[7], [5, 6, 5], [], [1]]
    assert histories.of_user("eve") is None
    assert len(histories) == 4


def test_they_come_back_from_their_file(histories, tmp_path):
    histories.save(tmp_path / "histories.npz")
    with np.load(tmp_path / "histories.npz", allow_pickle=False) as arrays:
        back = UserHistories.from_arrays(arrays)
    for user in ("ann", "bob", "nobody", "dörte"):
        assert back.of_user(user).tolist() == histories.of_user(user).tolist()


def test_interactions_are_numbered_as_in_the_data_set_and_then_as_they_are_kept(histories, tmp_path):
    users = ("ann", "bob", "nobody", "dörte")
    assert [histories.interactions_of_user(user).tolist() for user in users] == [[1], [0, 2, 4], [], [3]]
    histories.save(tmp_path / "histories.npz")
    with np.load(tmp_path / "histories.npz", allow_pickle=False) as arrays:
        back = UserHistories.from_arrays(arrays)
    assert [back.interactions_of_user(user).tolist() for user in users] == [[0], [1, 2, 3], [], [4]]
    for user in users:
        kept = histories.interactions[back.interactions_of_user(user)]
        assert kept.tolist() == histories.interactions_of_user(user).tolist()
    assert back.num_interactions == histories.num_interactions == 5
