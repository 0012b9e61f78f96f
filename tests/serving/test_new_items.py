"""Extended tables: no ID twice, old IDs untouched, the nearest or the lowest free code."""

import itertools

import numpy as np
import pytest
import torch
from scipy import sparse

from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.serving.new_items import extend_table, last_codes_by_distance, mean_of_alike, widened_weights


def table(codes: list[list[int]], *, transitions: bool = False, two: bool = False) -> SemanticIdTable:
    """Items a, b, ... of one modality with two levels of three codes, or of two with one level each."""
    codes = np.array(codes)
    blocks = {"text": codes[:, :1], "image": codes[:, 1:]} if two else {"text": codes}
    sizes = {name: [3] * block.shape[1] for name, block in blocks.items()}
    return SemanticIdTable.from_blocks(blocks, [*"abcdefgh"][: len(codes)], sizes=sizes, transitions=transitions)


def never(row: int) -> list[int]:
    raise AssertionError("asked for nearest codes")


def rows(extended: SemanticIdTable, tokens: str) -> list[list[int]]:
    return [extended.codes[extended.item_tokens.index(token) + 1].tolist() for token in tokens]


def test_a_dedup_digit_takes_the_lowest_free_number_and_grows():
    old = table([[0, 0], [0, 0], [1, 1]])
    assert old.digits[-1].size == 2
    blocks = {"text": np.array([[0, 0], [2, 2], [1, 1], [0, 0]])}
    extended = extend_table(old, blocks, [*"zyxw"], nearest_last_codes=never)
    assert torch.equal(extended.codes[:4], old.codes)
    assert rows(extended, "wxyz") == [[0, 0, 2], [1, 1, 1], [2, 2, 0], [0, 0, 3]]  # in the order of tokens
    assert extended.sizes == [3, 3, 4]


def test_a_wide_enough_dedup_digit_stays_as_it_is():
    old = table([[0, 0], [0, 0], [0, 0], [1, 1]])
    extended = extend_table(old, {"text": np.array([[1, 1]])}, ["z"], nearest_last_codes=never)
    assert extended.digits == old.digits and rows(extended, "z") == [[1, 1, 1]]


def test_without_a_dedup_digit_the_nearest_free_code_is_taken():
    old = table([[0, 0], [0, 1], [1, 0]])
    blocks = {"text": np.array([[0, 0], [1, 2], [1, 0]])}
    extended = extend_table(old, blocks, [*"xyz"], nearest_last_codes=lambda row: [0, 1, 2])
    assert rows(extended, "xyz") == [[0, 2], [1, 2], [1, 1]]
    assert extended.digits == old.digits


def test_transitions_and_modalities_keep_their_places():
    old = table([[0, 0], [1, 1]], transitions=True, two=True)
    blocks = {"text": np.array([[0], [2]]), "image": np.array([[0], [1]])}
    extended = extend_table(old, blocks, [*"yz"], nearest_last_codes=lambda row: [2, 1, 0])
    assert rows(extended, "yz") == [[0, 0, 2], [2, 0, 1]]


def test_when_no_code_is_left_the_item_is_named():
    old = table([[0, 0], [0, 1], [0, 2]])
    with pytest.raises(ValueError, match="item 'z': all 3 codes of its last level belong to other items"):
        extend_table(old, {"text": np.array([[0, 1]])}, ["z"], nearest_last_codes=lambda row: [0, 1, 2])


def test_the_order_of_new_items_does_not_matter():
    rng = np.random.default_rng(0)
    old = table([[0, 0], [0, 0], [1, 2], [2, 1]])
    codes, tokens = rng.integers(3, size=(20, 2)), [f"n{row}" for row in range(20)]
    extended = extend_table(old, {"text": codes}, tokens, nearest_last_codes=never)
    order = rng.permutation(20)
    shuffled = extend_table(old, {"text": codes[order]}, [tokens[row] for row in order], nearest_last_codes=never)
    assert shuffled.fingerprint == extended.fingerprint


def test_distances_of_last_codes_are_those_to_the_reconstruction():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 3)).astype(np.float32)
    quantizer = ResidualKMeans(levels=2, codebook_size=6, seed=0).fit(vectors)
    codes = quantizer.encode(vectors[:1])[0]
    order = last_codes_by_distance(quantizer, vectors[0], codes, np.arange(6))
    assert order[0] == codes[1]
    distances = [np.linalg.norm(quantizer.reconstruct(np.array([[codes[0], code]])) - vectors[0]) for code in order]
    assert distances == sorted(distances) and sorted(order) == list(range(6))


def test_borrowed_vectors_are_as_long_as_those_that_they_are_means_of():
    known = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, -4.0]])
    found = mean_of_alike(sparse.csr_matrix([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), known)
    np.testing.assert_allclose(found, [[2**0.5, 2**0.5], [0.0, -4.0], [0.0, 0.0]])


def test_new_rows_of_weights_are_the_mean_of_the_dedup_digits():
    weights = {"embedding": torch.arange(10.0).view(5, 2), "bias": torch.tensor([1.0, 3.0]), "scale": torch.tensor(2.0)}
    wanted = {"embedding": torch.zeros(7, 2), "bias": torch.zeros(4), "scale": torch.tensor(0.0)}
    widened = widened_weights(weights, wanted, dedup_size=2)
    assert torch.equal(widened["embedding"][:5], weights["embedding"])
    assert torch.equal(widened["embedding"][5:], torch.tensor([[7.0, 8.0]] * 2))
    assert widened["bias"].tolist() == [1, 3, 2, 2]
    assert widened["scale"] == 2


def test_ids_stay_unique_when_everything_collides():
    old = table([*map(list, itertools.product(range(2), range(2)))])
    blocks = {"text": np.zeros((1, 2), dtype=np.int64)}
    extended = extend_table(old, blocks, ["z"], nearest_last_codes=lambda row: range(3))
    assert rows(extended, "z") == [[0, 2]]
    with_dedup = table([[0, 0]] * 4)
    extended = extend_table(
        with_dedup,
        {"text": np.zeros((500, 2), dtype=np.int64)},
        [f"n{n}" for n in range(500)],
        nearest_last_codes=never,
    )
    assert extended.sizes[-1] == 504
