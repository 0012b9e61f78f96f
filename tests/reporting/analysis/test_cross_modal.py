"""Cross-modal accuracy of a stand-in for a network, which always likes the same codes best."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.reporting.analysis.cross_modal import accuracies
from recbole_mgr.semantic_id.table import SemanticIdTable

#                  a       b       c       d       e
TEXT = np.array([[0], [0], [1], [1], [2]])
IMAGE = np.array([[0, 0], [1, 1], [2, 0], [2, 1], [0, 1]])


class FakeBackbone:
    """Likes, at each image digit, one code best whatever came before, and notes what it is told."""

    def __init__(self, table: SemanticIdTable, liked: list[int]) -> None:
        self.table, self.code_softmax = table, "legal"
        self.liked = dict(zip(range(*table.block("image").indices(99)), liked, strict=True))
        self.told: list[list[int]] = []
        self.histories: list[list[int]] = []

    def start(self, history, lengths):
        self.histories += [row[:length].tolist() for row, length in zip(history, lengths, strict=True)]
        return len(history)

    def step(self, depth, nodes, codes, parents, state):
        if codes is not None:
            assert codes.shape == parents.shape == (state, 1)
            self.told.append(codes.squeeze(1).tolist())
        logits = torch.zeros(state, 1, self.table.digits[depth].size)
        if depth in self.liked:
            logits[:, :, self.liked[depth]] = 9.0 if self.code_softmax == "full" else 5.0
        return logits, state


def network_of(liked: list[int], *, transitions: bool = True) -> SimpleNamespace:
    table = SemanticIdTable.from_blocks({"text": TEXT, "image": IMAGE}, list("abcde"), transitions=transitions)
    trie = PrefixTrie(table.codes[1:], table.sizes)
    return SimpleNamespace(semantic_ids=table, trie=trie, backbone=FakeBackbone(table, liked), max_seq_length=3)


def accuracy(network, targets: list[int], histories=None):
    histories = histories or [np.array([1, 2])] * len(targets)
    (found,) = accuracies(network, histories, np.array(targets))
    return found


@pytest.mark.parametrize("transitions", [True, False])
def test_free_choice_is_scored_on_the_first_and_on_all_codes(transitions):
    found = accuracy(network_of([2, 1], transitions=transitions), [1, 2, 3, 4, 5])
    assert found.modality == "image"
    assert found.first_free == pytest.approx(2 / 5)  # c and d
    assert found.all_free == pytest.approx(1 / 5)  # d


def test_legal_choice_is_counted_where_the_catalogue_leaves_one():
    found = accuracy(network_of([1, 1]), [1, 2, 3, 4, 5])
    assert found.with_choice == pytest.approx(4 / 5)  # e is the only item with its text code
    # text 0: code 1 is legal, so b; text 1: only code 2, then 1, so d; a and c are missed
    assert found.all_legal == pytest.approx(2 / 4)


def test_where_nothing_is_open_there_is_no_legal_accuracy():
    found = accuracy(network_of([1, 1]), [5])
    assert (found.with_choice, found.all_free) == (0, 0) and np.isnan(found.all_legal)


def test_the_codes_before_are_the_targets_and_then_the_models_own():
    network = network_of([2, 1])
    accuracy(network, [2, 5])
    free = network.backbone.told[:3]
    assert free == [[0, 2], [0, 0], [2, 2]]  # text codes, transitions, the liked code
    assert network.backbone.code_softmax == "legal"  # as before


def test_histories_keep_their_last_items():
    network = network_of([0, 0])
    accuracy(network, [1, 2], [np.array([1, 2, 3, 4]), np.array([5])])
    assert network.backbone.histories[:2] == [[2, 3, 4], [5]]


def test_many_users_are_taken_in_batches():
    targets = [1, 2, 3, 4, 5] * 120
    assert accuracy(network_of([2, 1]), targets).all_free == pytest.approx(1 / 5)
