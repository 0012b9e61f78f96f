"""The softmax over items: its loss, its keys, and what it gives new items."""

import numpy as np
import pytest
import torch
from prior_world import NUM_ITEMS
from scipy import sparse

import recbole_mgr.generation.priors as priors
import recbole_mgr.model.backbone.item_softmax as item_softmax


@pytest.mark.parametrize("rows_at_once", [2, 100])
def test_the_loss_a_few_rows_at_a_time_is_the_cross_entropy_of_all_scores(make_prior_world, monkeypatch, rows_at_once):
    part = make_prior_world(item_softmax=True).model.backbone.item_softmax
    part.repeat_score.data.fill_(-0.01)
    monkeypatch.setattr(item_softmax, "VALUES_IN_CACHE", rows_at_once * NUM_ITEMS)
    draw = torch.Generator().manual_seed(1)
    hidden = torch.randn(7, part.embedding.shape[1], generator=draw, requires_grad=True)
    items = torch.randint(1, NUM_ITEMS + 1, (7,), generator=draw)
    history = torch.stack([torch.randperm(NUM_ITEMS + 1, generator=draw)[:5] for _ in items])
    names, weights = zip(*part.named_parameters(), strict=True)
    loss = part.loss(hidden, items, history)
    found = torch.autograd.grad(3 * loss, (hidden, *weights))
    plain = torch.nn.functional.cross_entropy(part.scores(hidden, history)[:, 1:], items - 1)
    expected = torch.autograd.grad(3 * plain, (hidden, *weights))
    torch.testing.assert_close(loss, plain)
    for name, own, other in zip(("hidden", *names), found, expected, strict=True):
        torch.testing.assert_close(own, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dense", [True, False])
def test_new_items_are_as_probable_as_those_like_them(make_prior_world, monkeypatch, dense):
    world = make_prior_world(item_softmax=True, item_vector_dropout=0.0)
    part = world.model.backbone.item_softmax
    torch.nn.init.normal_(part.item_bias)
    part.repeat_score.data.fill_(-0.02)
    hidden, history = torch.randn(5, 16), torch.tensor([[1, 24], [2, 0], [3, 4], [23, 5], [22, 6]])
    with torch.no_grad():
        before = part.scores(hidden, torch.zeros_like(history))  # of known items nobody has
        likeness = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1))
        likeness[24, [1, 3]], likeness[22, 2] = [0.7, 0.3], 1.0  # item 23 is new, too, and like no other
        alike = item_softmax.AlikeItems.of(sparse.csr_matrix(likeness), hidden.device)
        if not dense:
            monkeypatch.setattr(item_softmax, "DENSE_ITEMS", NUM_ITEMS - 1)
            monkeypatch.setattr(priors, "SCORES_AT_A_TIME", 5 * 7)  # seven items at a time
        prior = part.prior(world.model.trie, hidden, history, alike)
        found = prior.log_probs(torch.arange(1, NUM_ITEMS + 1).expand(5, -1))
    expected = before.clone()
    expected[:, 24] = (0.7 * before[:, 1].exp() + 0.3 * before[:, 3].exp()).log()
    expected[:, 22] = before[:, 2]
    for user, items in enumerate(history.tolist()):  # what a user has counts for itself, not for what is like it
        for item in filter(None, items):
            expected[user, item] += item_softmax.STRETCH * -0.02
    torch.testing.assert_close(found, expected[:, 1:].log_softmax(dim=1))
    assert prior.best(4).tolist() == (expected[:, 1:].topk(4).indices + 1).tolist()


def test_own_vectors_are_left_out_in_training_alone(make_prior_world):
    part = make_prior_world(item_softmax=True, item_vector_dropout=0.5).model.backbone.item_softmax
    codes_alone = part.keys() - part.item_vectors
    torch.manual_seed(2)
    part.train()
    own = (part.keys() - codes_alone) / part.item_vectors  # of each item its own vector twice, or not at all
    assert set(own[:, 0].detach().round(decimals=3).tolist()) == {0.0, 2.0}
    torch.testing.assert_close(own, own[:, :1].expand_as(own), atol=1e-3, rtol=1e-3)
