"""Scores of items that the user has already, against masking by hand."""

import numpy as np
import pytest
import torch
from tiny_backbone import step_of, tiny_backbone

from recbole_mgr.generation.beam_search import beam_search, exhaustive_scores
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.model.backbone.repeats import STRETCH, RepeatScores
from recbole_mgr.semantic_id.table import SemanticIdTable

#                    one of its text  collide    one pair           deeper
BLOCKS = {
    "text": np.array([[0, 0], [1, 1], [1, 1], [2, 0], [2, 1], [3, 0], [3, 0], [3, 1]]),
    "image": np.array([[0], [1], [1], [0], [1], [0], [2], [1]]),
}
TABLE = SemanticIdTable.from_blocks(BLOCKS, list("abcdefgh"), transitions=True)
# digits: text, text, transition, image, dedup; which one leaves no other item than 1..8
DECIDING = [0, 4, 4, 1, 1, 3, 3, 1]
HISTORY, LENGTHS = torch.tensor([[3, 1, 2, 2], [6, 0, 0, 0], [4, 5, 7, 0]]), torch.tensor([4, 1, 3])
TARGETS = torch.tensor([4, 1, 5])


def build(learn_repeats: bool = True) -> HierarchicalBackbone:
    return tiny_backbone(TABLE, max_length=5, learn_repeats=learn_repeats)


def all_scores(backbone, history=HISTORY, lengths=LENGTHS) -> torch.Tensor:
    return exhaustive_scores(step_of(backbone, history, lengths), backbone.trie, batch_size=len(history))[:, 1:]


def test_an_items_deciding_digit_is_the_first_that_leaves_no_other():
    repeats = RepeatScores(TABLE.codes, PrefixTrie(TABLE.codes[1:], TABLE.sizes))
    assert repeats.digits.tolist() == [-1, *DECIDING]
    assert repeats.codes[1:].tolist() == [TABLE.codes[item + 1, digit].item() for item, digit in enumerate(DECIDING)]


@torch.no_grad()
def test_the_score_is_added_once_where_a_code_leads_to_an_item_of_the_history():
    trie = PrefixTrie(TABLE.codes[1:], TABLE.sizes)
    repeats = RepeatScores(TABLE.codes, trie)
    repeats.score.copy_(torch.arange(1.0, 6.0))
    history = torch.tensor([[1, 1, 4, 0], [2, 3, 5, 8]])
    root = repeats(0, torch.zeros(2, dtype=torch.long), history, torch.zeros(2, 4))
    assert root.tolist() == [[STRETCH, 0, 0, 0], [0, 0, 0, 0]]
    nodes = trie.path(torch.tensor([4, 8]))[:, 1]  # prefixes 2 and 3
    assert repeats(1, nodes, history, torch.zeros(2, 2)).tolist() == [[2 * STRETCH, 0], [0, 2 * STRETCH]]
    nodes = trie.path(torch.tensor([4, 4]))[:, 1]
    assert repeats(1, nodes, history, torch.zeros(2, 2)).tolist() == [[2 * STRETCH, 0], [0, 2 * STRETCH]]


@torch.no_grad()
def test_at_zero_it_changes_nothing_and_far_below_no_item_comes_again():
    backbone = build()
    plain = build(learn_repeats=False)
    torch.testing.assert_close(all_scores(backbone), all_scores(plain))
    backbone.repeats.score.fill_(-0.5)
    scores = all_scores(backbone)
    torch.testing.assert_close(scores.exp().sum(dim=1), torch.ones(3))
    has = torch.zeros(3, 9, dtype=torch.bool).scatter(1, HISTORY, True)[:, 1:]
    # where both of a pair are taken, one of the two has to come if their prefix does
    assert (scores[0][has[0] & ~torch.tensor([0, 1, 1, 0, 0, 0, 0, 0]).bool()] < -30).all()
    assert (scores[1][has[1]] < -30).all() and (scores[1][~has[1]] > -30).all()
    ranked = beam_search(step_of(backbone, HISTORY, LENGTHS), backbone.trie, batch_size=3, k=8, beam_width=8)
    torch.testing.assert_close(ranked.scores, scores.sort(descending=True).values)


@torch.no_grad()
def test_the_loss_knows_what_stood_before_each_target():
    backbone = build()
    backbone.repeats.score.copy_(torch.tensor([-0.02, 0.01, 0.0, -0.01, 0.03]))
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
    score = STRETCH * backbone.repeats.score[1]
    assert score > 2 if repeated else score < -2
