import numpy as np
import pytest

from recbole_mgr.semantic_id.collisions import collision_ranks, group_ids, group_sizes, token_order


def test_ranks_follow_the_tokens():
    codes = np.array([[1, 2], [1, 2], [0, 2], [1, 2]])
    assert collision_ranks(codes, ["c", "a", "z", "b"]).tolist() == [2, 0, 0, 1]


def test_ranks_match_brute_force_in_any_row_order():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, size=(200, 3))
    tokens = [f"i{number}" for number in rng.permutation(200)]
    expected = [
        sum(other < token and (codes[row] == codes[place]).all() for place, other in enumerate(tokens))
        for row, token in enumerate(tokens)
    ]
    ranks = collision_ranks(codes, tokens)
    assert ranks.tolist() == expected
    shuffle = rng.permutation(200)
    assert (collision_ranks(codes[shuffle], [tokens[row] for row in shuffle]) == ranks[shuffle]).all()


def test_groups_match_numpy():
    codes = np.random.default_rng(1).integers(0, 4, size=(300, 2))
    _, inverse, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    assert (group_ids(codes) == inverse.ravel()).all()
    assert (group_sizes(codes) == counts).all()


def test_large_group_and_large_codes():
    codes = np.full((300, 2), 2**60)
    assert sorted(collision_ranks(codes, [f"{item}" for item in range(300)])) == list(range(300))


def test_token_order_is_that_of_strings():
    assert token_order(["10", "9", "1"]).tolist() == [2, 0, 1]


@pytest.mark.parametrize("digits", [1, 5, 30])
def test_long_ids_are_grouped_and_ordered_as_tuples(digits):
    rng = np.random.default_rng(digits)
    codes = rng.integers(-3, 2**20, size=(60, digits))
    codes = np.concatenate([codes, codes[rng.permutation(60)[:20]]])
    rows = [tuple(row) for row in codes.tolist()]
    place = {row: number for number, row in enumerate(sorted(set(rows)))}
    assert group_ids(codes).tolist() == [place[row] for row in rows]


def test_tokens_are_in_pythons_order():
    tokens = ["b", "B", "", "é", "z", "10", "9", "\uffff", "\U0001f600", "a b"]
    assert token_order(tokens).tolist() == sorted(range(len(tokens)), key=tokens.__getitem__)
