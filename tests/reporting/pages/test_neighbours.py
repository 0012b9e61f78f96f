from pathlib import Path

import numpy as np
import pytest

from recbole_mgr.data.features import FeatureFile
from recbole_mgr.reporting.pages import neighbours
from recbole_mgr.reporting.pages.neighbours import look_alikes, nearest_by_codes, nearest_by_vectors


def test_by_codes_agrees_with_comparing_all_pairs():
    codes = np.unique(np.random.default_rng(0).integers(3, size=(60, 4)), axis=0)
    np.random.default_rng(1).shuffle(codes)
    found = nearest_by_codes(codes, 4)
    shared = (codes[:, None] == codes[None]).cumprod(axis=2).sum(axis=2)
    np.fill_diagonal(shared, -1)
    expected = -np.sort(-shared, axis=1)[:, :4]
    assert (found.values == expected).all()
    rows = np.arange(len(codes))[:, None]
    assert (np.where(found.numbers >= 0, shared[rows, found.numbers], 0) == found.values).all()


def test_by_codes_an_item_alone_has_no_neighbours():
    assert nearest_by_codes(np.array([[1, 2]]), 3).numbers.tolist() == [[-1, -1, -1]]
    assert nearest_by_codes(np.array([[1, 2], [2, 2]]), 3).numbers.tolist() == [[-1] * 3] * 2


@pytest.mark.parametrize("block", [1 << 25, 50])
def test_by_vectors_agrees_with_comparing_all_pairs(monkeypatch, block):
    monkeypatch.setattr(neighbours, "_BLOCK_VALUES", block)
    vectors = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    file = FeatureFile(Path("x"), [f"i{n}" for n in range(20)], vectors)
    tokens = ["other", *[f"i{n}" for n in reversed(range(20))]]  # another order, and an item without a vector
    found = nearest_by_vectors(file, tokens, 3)
    centred = vectors - vectors.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = centred @ centred.T
    np.fill_diagonal(cosines, -2)
    assert found.numbers[0].tolist() == [-1, -1, -1]
    for place, token in enumerate(tokens[1:], start=1):
        best = np.argsort(-cosines[int(token[1:])])[:3]
        assert [tokens[number] for number in found.numbers[place]] == [f"i{n}" for n in best]


def test_look_alikes_are_pairs_once_the_most_alike_first():
    vectors = np.array([[1, 0], [1, 0.01], [-1, 0.3], [-1, 0.25], [0, -1]], dtype=np.float32)
    found = nearest_by_vectors(FeatureFile(Path("x"), list("abcde"), vectors), list("abcde"), 2)
    pairs = look_alikes(found, 0.99, 10)
    assert [pair[:2] for pair in pairs] == [(0, 1), (2, 3)]
    assert pairs[0][2] >= pairs[1][2] >= 0.99
    assert look_alikes(found, 0.99, 1) == pairs[:1]
