"""Scores of items that the user has already, against masking by hand."""

import numpy as np
import pytest
import torch
from tiny_backbone import step_of, tiny_backbone

from recbole_mgr.generation.beam_search import beam_search
from recbole_mgr.generation.exact_scores import exhaustive_scores
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.model.backbone.repeats import STRETCH, RepeatScores, distinct_items
from recbole_mgr.semantic_id.table import SemanticIdTable

#                    one of its text  collide    one pair           deeper
BLOCKS = {
    "text": np.array([[0, 0], [1, 1], [1, 1], [2, 0], [2, 1], [3, 0], [3, 0], [3, 1]]),
    "image": np.array([[0], [1], [1], [0], [1], [0], [2], [1]]),
}
TABLE = SemanticIdTable.from_blocks(BLOCKS, list("abcdefgh"), transitions=True)
# digits: text, text, transition, image, dedup; the first user has both items that share a text
HISTORY, LENGTHS = torch.tensor([[3, 1, 2, 2], [6, 0, 0, 0], [4, 5, 7, 0]]), torch.tensor([4, 1, 3])
TARGETS = torch.tensor([4, 1, 5])


def build(learn_repeats: bool = True) -> HierarchicalBackbone:
    return tiny_backbone(TABLE, max_length=5, learn_repeats=learn_repeats)


def all_scores(backbone, history=HISTORY, lengths=LENGTHS) -> torch.Tensor:
    return exhaustive_scores(step_of(backbone, history, lengths), backbone.trie, batch_size=len(history))[:, 1:]


@torch.no_grad()
@pytest.mark.parametrize("score", [-0.3, -0.01, 0.02])
def test_with_logits_of_the_branches_sizes_generation_is_the_prior_over_items(score):
    trie = PrefixTrie(TABLE.codes[1:], TABLE.sizes)
    repeats = RepeatScores(TABLE.codes, trie)
    repeats.score.fill_(score)
    history = distinct_items(HISTORY)

    def step(depth, nodes, codes, parents, state):
        children = trie.children_of(depth, nodes)
        sizes = trie.num_leaves(depth + 1, children.nodes.clamp(min=0)).double().log()
        logits = torch.zeros(*nodes.shape, TABLE.sizes[depth]).double()
        logits.scatter_add_(-1, children.codes, sizes * children.valid)
        return repeats(depth, nodes, history.unsqueeze(1).expand(-1, nodes.shape[1], -1), logits), None

    has = torch.zeros(3, 9).scatter(1, HISTORY, 1.0)[:, 1:]
    expected = (STRETCH * score * has).log_softmax(dim=1)
    found = exhaustive_scores(step, trie, batch_size=3)[:, 1:]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_distinct_items_stand_where_they_come_first():
    history = torch.tensor([[3, 1, 3, 1, 2, 0], [5, 5, 5, 0, 0, 0]])
    assert distinct_items(history).tolist() == [[3, 1, 0, 0, 2, 0], [5, 0, 0, 0, 0, 0]]


@torch.no_grad()
def test_at_zero_it_changes_nothing_and_far_below_no_item_comes_again():
    backbone = build()
    plain = build(learn_repeats=False)
    torch.testing.assert_close(all_scores(backbone), all_scores(plain))
    backbone.repeats.score.fill_(-0.5)
    scores = all_scores(backbone)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(3))
    has = torch.zeros(3, 9, dtype=torch.bool).scatter(1, HISTORY, True)[:, 1:]
    assert (scores[has] < -30).all() and (scores[~has] > -30).all()
    ranked = beam_search(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=3, k=8, beam_width=8)
    torch.testing.assert_close(ranked.scores, scores.sort(descending=True).values)


@torch.no_grad()
def test_the_loss_knows_what_stood_before_each_target():
    backbone = build()
    backbone.repeats.score.copy_(torch.tensor(-0.02))
    loss = backbone.loss(HISTORY, LENGTHS, TARGETS, LENGTHS)
    expected = []
    for history, length, target in zip(HISTORY.tolist(), LENGTHS.tolist(), TARGETS.tolist(), strict=True):
        sequence = [*history[:length], target]
        for end in range(1, length + 1):
            scores = all_scores(backbone, torch.tensor([sequence[:end]]), torch.tensor([end]))
            expected.append(-scores[0, sequence[end] - 1])
    torch.testing.assert_close(loss, torch.stack(expected).mean())


@pytest.mark.parametrize("repeated", [False, True])
def test_training_learns_whether_items_come_again(repeated):
    backbone = build().train()
    optimizer = torch.optim.Adam([backbone.repeats.score], lr=0.01)
    history, lengths = torch.tensor([[1, 4], [4, 1], [4, 8]]), torch.tensor([2, 2, 2])
    targets = torch.tensor([4, 1, 8]) if repeated else torch.tensor([5, 5, 2])
    for _ in range(20):
        optimizer.zero_grad()
        backbone.loss(history, lengths, targets, None).backward()
        optimizer.step()
    score = STRETCH * backbone.repeats.score
    assert score > 2 if repeated else score < -2
