"""Exact scores of every item, and of given ones."""

import pytest
import torch

from recbole_mgr.generation.exact_scores import exhaustive_scores, item_log_probs

USERS = 3
SOFTMAXES = pytest.mark.parametrize("code_softmax", ["legal", "full"])


@SOFTMAXES
def test_exhaustive_scores_are_the_brute_force(world, code_softmax):
    trie = world.trie()
    scores = exhaustive_scores(world.step(USERS), trie, batch_size=USERS, code_softmax=code_softmax)
    assert scores.shape == (USERS, max(world.item_ids) + 1)
    for user in range(USERS):
        expected = world.item_scores(user, code_softmax)
        assert scores[user, list(expected)].tolist() == pytest.approx(list(expected.values()), abs=1e-5)
        assert scores[user].isfinite().sum() == len(expected)


def test_legal_probabilities_of_all_items_sum_to_one(world):
    legal = exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS)
    full = exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS, code_softmax="full")
    torch.testing.assert_close(legal.exp().sum(1), torch.ones(USERS))
    assert (full.exp().sum(1) < 0.99).all()


@SOFTMAXES
def test_given_items_have_the_scores_of_the_exhaustive_search(world, code_softmax):
    item_ids = torch.tensor(world.item_ids)[torch.tensor([[3, 1, 30], [7, 8, 2], [5, 6, 4]])]
    item_ids[1, 1] = 0
    found = item_log_probs(world.step(USERS), world.trie(), item_ids, code_softmax=code_softmax)
    everything = exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS, code_softmax=code_softmax)
    torch.testing.assert_close(found, everything.gather(1, item_ids))
