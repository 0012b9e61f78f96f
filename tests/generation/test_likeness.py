"""Which items are alike by vectors, by codes, by both."""

import numpy as np
import pytest

from recbole_mgr.data import vectors as vectors_module
from recbole_mgr.generation import likeness as module
from recbole_mgr.generation.likeness import by_codes, by_vectors, nearest_items

VECTORS = np.array([[1.0, 0.0], [3.0, 3.0], [0.0, 2.0], [-1.0, 0.0], [0.0, 0.0]], dtype=np.float16)


def test_rows_hold_the_squared_cosine_of_the_nearest_divided_by_their_sum(monkeypatch):
    monkeypatch.setattr(module, "_VALUES", 10)  # two items at once
    matrix = nearest_items([by_vectors(VECTORS)], 5, neighbours=2).toarray()
    expected = np.zeros((6, 6))
    expected[1, 2] = 1.0  # item 3 is at a right angle, item 4 opposite, item 5 has no direction
    expected[2, [1, 3]] = 0.5
    expected[3, 2] = 1.0
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_vectors_may_come_in_parts_and_are_read_a_piece_at_a_time(monkeypatch):
    whole = nearest_items([by_vectors(VECTORS)], 5)
    monkeypatch.setattr(vectors_module, "CHUNK_VALUES", 4)  # two vectors at once
    parts = nearest_items([by_vectors(VECTORS[:1], VECTORS[1:1], VECTORS[1:].astype(np.float64))], 5)
    assert (whole != parts).nnz == 0


def test_items_without_a_vector_are_like_no_other():
    matrix = nearest_items([by_vectors(VECTORS, present=np.array([True, False, True, True, True]))], 5)
    assert matrix.nnz == 0


def test_codes_are_alike_by_the_share_of_their_common_beginning():
    codes = np.array([[1, 2, 3, 4], [1, 2, 9, 4], [1, 7, 3, 4], [0, 2, 3, 4]])
    shares = np.array([[0, 0.5, 0.25, 0], [0.5, 0, 0.25, 0], [0.25, 0.25, 0, 0], [0, 0, 0, 0]]) ** 2
    expected = shares / np.maximum(shares.sum(1, keepdims=True), 1e-9)
    np.testing.assert_allclose(nearest_items([by_codes(codes)], 4).toarray()[1:, 1:], expected, atol=1e-6)


def test_new_items_are_like_known_ones_alone():
    codes = np.array([[1, 2], [1, 7], [3, 3], [1, 2], [1, 2], [4, 4]])
    matrix = nearest_items([by_codes(codes)], 6, neighbours=3, is_new=np.arange(6) >= 3).toarray()
    assert not matrix[:4].any() and not matrix[:, 4:].any()
    np.testing.assert_allclose(matrix[4:, 1:4], [[0.8, 0.2, 0], [0.8, 0.2, 0], [0, 0, 0]], atol=1e-6)


def test_modalities_are_averaged_before_the_nearest_are_chosen():
    codes = np.array([[1, 1], [1, 2], [5, 5]])
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]])
    row = nearest_items([by_codes(codes), by_vectors(vectors)], 3).toarray()[1]
    a, b = (0.5 / 2) ** 2, (0.8 / 2) ** 2
    assert row == pytest.approx([0, 0, a / (a + b), b / (a + b)], abs=1e-6)


def test_one_item_has_no_neighbour():
    assert nearest_items([by_vectors(VECTORS[:1])], 1).shape == (2, 2)
