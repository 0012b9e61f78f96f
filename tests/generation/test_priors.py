"""Priors pushed down small tries, against sums over the items by plain Python."""

import math

import pytest
import torch

import recbole_mgr.generation.priors as priors_module
from recbole_mgr.generation.beam_search import beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores, item_log_probs
from recbole_mgr.generation.priors import DensePrior, SearchedPrior, ShortListPrior, WeightedPriors, union_of_items

USERS = 3


def scores_of(world, seed: int = 0, num_users: int = USERS) -> torch.Tensor:
    """[B, max_item_id + 1]"""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(num_users, max(world.item_ids) + 1, generator=generator)


def short_list(world, scores: torch.Tensor, length: int = 6, floor: float = -3.0):
    """The prior that knows ``length`` items a user, and the same scores item by item."""
    catalogue = torch.tensor(world.item_ids)
    best = scores[:, catalogue].topk(length).indices
    item_ids = catalogue[best]
    item_ids[0, -2:] = 0  # a shorter list
    known = scores.gather(1, item_ids).clamp(min=floor)
    dense = torch.full_like(scores, floor).scatter(1, item_ids, known)
    return ShortListPrior(world.trie(), item_ids, known, floor=floor), dense


def make(world, form: str):
    scores = scores_of(world)
    return (DensePrior(world.trie(), scores), scores) if form == "dense" else short_list(world, scores)


FORMS = pytest.mark.parametrize("form", ["dense", "short list"])


def flat_step(world, batch_size: int = USERS):
    def step(depth, nodes, codes, parents, state):
        return torch.zeros(batch_size, nodes.shape[1], world.sizes[depth]), None

    return step


def plain_log_probs(world, user, scores, weight, logits):
    """Item -> log-probability by the definition: mass below a child over mass below the node, node by node."""
    rows = world.item_of_codes
    mass = {
        prefix: sum(math.exp(scores[user, item]) for row, item in rows.items() if row[: len(prefix)] == prefix)
        for prefix in {row[:depth] for row in rows for depth in range(len(world.sizes) + 1)}
    }
    found = {}
    for row, item in rows.items():
        total = 0.0
        for depth in range(len(row)):
            node = row[:depth]
            values = {
                code: logits(user, node)[code] + weight * math.log(mass[(*node, code)] / mass[node])
                for code in world.legal_codes(node)
            }
            total += values[row[depth]] - math.log(sum(map(math.exp, values.values())))
        found[item] = total
    return found


@FORMS
def test_with_equal_logits_and_weight_one_generation_is_the_prior(world, form):
    prior, scores = make(world, form)
    priors = WeightedPriors([prior], [1.0])
    found = exhaustive_scores(flat_step(world), world.trie(), batch_size=USERS, priors=priors)[:, world.item_ids]
    torch.testing.assert_close(found, scores[:, world.item_ids].log_softmax(dim=1), atol=1e-5, rtol=1e-5)
    item_ids = torch.tensor(world.item_ids).expand(USERS, -1)
    torch.testing.assert_close(prior.log_probs(item_ids), found, atol=1e-5, rtol=1e-5)


@FORMS
def test_with_weight_zero_it_is_not_there(world, form):
    prior, _ = make(world, form)
    priors = WeightedPriors([prior], [0.0])
    found = exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS, priors=priors)
    assert torch.equal(found, exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS))


@FORMS
@pytest.mark.parametrize("weight", [-0.5, 0.7, 2.0])
def test_any_weight_is_an_exact_distribution_over_items(world, form, weight):
    prior, scores = make(world, form)
    priors = WeightedPriors([prior], [weight])
    found = exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS, priors=priors)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(USERS))
    for user in range(USERS):
        expected = plain_log_probs(world, user, scores, weight, world.logits)
        assert found[user, list(expected)].tolist() == pytest.approx(list(expected.values()), abs=1e-4)


@FORMS
def test_beams_with_a_prior_are_the_top_of_all_scores(world, form):
    prior, _ = make(world, form)
    popularity = DensePrior(world.trie(), scores_of(world, seed=5, num_users=1))  # one row for all users
    priors = WeightedPriors([prior, popularity], [0.8, 0.4])
    trie = world.trie()
    everything = exhaustive_scores(world.step(USERS), trie, batch_size=USERS, priors=priors)
    found = beam_search(
        world.step(USERS), trie, batch_size=USERS, k=5, beam_width=trie.num_items, priors=priors,
        exclude=torch.tensor(world.item_ids[:4]).expand(USERS, -1),
        allowed_items=trie.allow(torch.tensor(world.item_ids[1:])),
    )  # fmt: skip
    everything[:, world.item_ids[:4]] = -torch.inf
    assert torch.equal(found.item_ids, everything.topk(5).indices)
    torch.testing.assert_close(found.scores, everything.topk(5).values, atol=1e-5, rtol=1e-5)


def test_a_prior_needs_the_legal_softmax(world):
    priors = WeightedPriors([make(world, "dense")[0]], [1.0])
    with pytest.raises(ValueError, match="needs legal"):
        beam_search(world.step(1), world.trie(), batch_size=1, k=1, beam_width=1, code_softmax="full", priors=priors)


def test_the_worst_item_keeps_a_share(world):
    scores = torch.full((1, max(world.item_ids) + 1), -1e4)
    scores[0, world.item_ids[0]] = 30.0
    prior = DensePrior(world.trie(), scores)
    found = exhaustive_scores(flat_step(world, 1), world.trie(), batch_size=1, priors=WeightedPriors([prior], [1.0]))[
        0, world.item_ids
    ]
    assert found[0] > -1e-4 and (found[1:] + 25).abs().max() < 0.01


@FORMS
def test_the_best_items_are_allowed_ones(world, form):
    prior, scores = make(world, form)
    trie = world.trie()
    allowed = world.item_ids[::2]
    found = prior.best(4, trie.allow(torch.tensor(allowed)))
    masked = torch.full_like(scores, -torch.inf)
    masked[:, allowed] = scores[:, allowed]
    if form == "short list":
        masked[masked <= -3] = -torch.inf  # not on the list
    expected = masked.topk(4)
    for user in range(USERS):
        wanted = expected.indices[user][expected.values[user].isfinite()].tolist()
        assert [item for item in found[user].tolist() if item] == wanted


@pytest.mark.parametrize("listed", [4, 1000])
def test_searched_in_blocks_it_is_the_dense_one(world, monkeypatch, listed):
    monkeypatch.setattr(priors_module, "LISTED", listed)
    monkeypatch.setattr(priors_module, "SCORES_AT_A_TIME", 7 * USERS)  # blocks of 7 items
    trie, scores = world.trie(), scores_of(world)
    by_leaf, blocks = scores[:, trie.leaf_items.long()], []

    def score(leaves: slice) -> torch.Tensor:
        blocks.append(leaves)
        return by_leaf[:, leaves]

    searched = SearchedPrior(trie, USERS, score, lambda item_ids: scores.gather(1, item_ids))
    dense = DensePrior(trie, scores)
    assert torch.equal(searched.best(3), dense.best(3))
    assert len(blocks) == -(-trie.num_items // 7)
    assert torch.equal(searched.best(6), dense.best(6))
    allowed = trie.allow(torch.tensor(world.item_ids[::3]))
    assert torch.equal(searched.best(5, allowed), dense.best(5, allowed))
    everything = searched.best(trie.num_items + 2, allowed)  # longer than there are allowed ones
    assert [sorted(filter(None, row)) for row in everything.tolist()] == [sorted(world.item_ids[::3])] * USERS
    item_ids = torch.tensor([0, *world.item_ids]).expand(USERS, -1)
    torch.testing.assert_close(searched.log_probs(item_ids), dense.log_probs(item_ids))
    # pushed down, the listed items have their own mass and the others share what is left
    pushed = WeightedPriors([searched], [1.0])
    found = exhaustive_scores(flat_step(world), trie, batch_size=USERS, priors=pushed)
    best = dense.best(min(listed, trie.num_items))
    torch.testing.assert_close(found.gather(1, best), dense.log_probs(best), atol=1e-4, rtol=1e-4)
    others = found.scatter(1, best, torch.nan)[:, world.item_ids]
    for user in range(USERS if listed < trie.num_items else 0):
        rest = others[user][~others[user].isnan()]
        assert rest.max() - rest.min() < 1e-4


def test_a_union_has_each_item_once_and_none_that_is_excluded():
    lists = [torch.tensor([[3, 1, 2], [5, 0, 0]]), torch.tensor([[2, 9]])]
    found = union_of_items(lists, exclude=torch.tensor([[1, 0, 7], [9, 9, 2]]))
    assert [sorted(item for item in row if item) for row in found.tolist()] == [[2, 3, 9], [5]]
    assert found.shape == (2, 5)


@FORMS
def test_given_items_know_the_prior(world, form):
    priors = WeightedPriors([make(world, form)[0]], [0.7])
    item_ids = torch.tensor(world.item_ids).expand(USERS, -1)
    found = item_log_probs(world.step(USERS), world.trie(), item_ids, priors=priors)
    everything = exhaustive_scores(world.step(USERS), world.trie(), batch_size=USERS, priors=priors)
    torch.testing.assert_close(found, everything[:, world.item_ids])
