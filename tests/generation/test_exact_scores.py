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


@SOFTMAXES
@pytest.mark.parametrize("num_items", [1, 8, 40])
def test_items_that_are_not_probable_enough_are_given_up_and_the_others_keep_their_scores(
    world, code_softmax, num_items
):
    trie, generator = world.trie(), torch.Generator().manual_seed(num_items)
    everything = torch.tensor([0, *world.item_ids])
    item_ids = everything[torch.rand(USERS, len(everything), generator=generator).argsort(dim=1)[:, :num_items]]
    prefixes = []

    def step(depth, nodes, *others):
        prefixes.append(int((nodes >= 0).sum()))
        return world.step(USERS)(depth, nodes, *others)

    scores = item_log_probs(step, trie, item_ids, code_softmax=code_softmax)
    all_prefixes = sum(prefixes)
    best = scores.amax(dim=1, keepdim=True).expand_as(scores)
    for at_least, is_high in ((best, True), (best - 2, True), (scores, False), (scores + 0.1, False)):
        prefixes.clear()
        found = item_log_probs(step, trie, item_ids, at_least=at_least, code_softmax=code_softmax)
        torch.testing.assert_close(found, scores.masked_fill(scores < at_least, -torch.inf))
        assert sum(prefixes) <= all_prefixes - (is_high and num_items == 40)


def test_nothing_asked_for_is_nothing_found(world):
    def step(*_):
        raise AssertionError("there is nothing to be scored")

    unknown = max(world.item_ids) + 1
    for shape in ((USERS, 0), (USERS, 4), (0, 4)):
        found = item_log_probs(step, world.trie(), torch.randint(2, shape) * unknown)
        assert found.shape == shape and found.isneginf().all()
