"""Every token has one meaning, and codes come back from tokens."""

import numpy as np
import pytest
import torch

from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp.vocabulary import PromptVocabulary

CODES = np.array([[0, 1], [2, 1], [2, 1], [1, 0]])


@pytest.fixture(scope="module")
def table() -> SemanticIdTable:
    return SemanticIdTable.from_blocks(
        {"text": CODES, "image": CODES[:, :1]}, list("abcd"), sizes={"text": [3, 4], "image": [5]}, transitions=True
    )  # digits: 3, 4, transition 1, 5, dedup 2


@pytest.fixture(scope="module")
def vocabulary(table) -> PromptVocabulary:
    return PromptVocabulary(100, table, num_ratings=5, num_candidates=3, picture_codes=4)


def test_all_new_tokens_once(vocabulary):
    marks = [vocabulary.image_id, vocabulary.answer_id, vocabulary.end_id]
    singles = [*vocabulary.rating_ids, *vocabulary.candidate_ids, *vocabulary.picture_ids]
    digits = [list(range(vocabulary.size))[vocabulary.digit_ids(depth)] for depth in range(vocabulary.num_digits)]
    assert [len(digit) for digit in digits] == [3, 4, 1, 5, 2]
    everything = [*marks, *map(int, singles), *sum(digits, [])]
    assert sorted(everything) == list(range(100, vocabulary.size))
    assert vocabulary.num_new == len(everything) == 3 + 5 + 3 + 4 + 15


def test_items_to_tokens_and_back(vocabulary, table):
    codes = table.codes[1:]
    token_ids = vocabulary.item_token_ids(codes)
    assert len(token_ids.unique(dim=0)) == len(codes)
    read = vocabulary.digit_codes(token_ids)
    assert torch.equal(read.codes, codes)
    assert torch.equal(read.depth, torch.arange(5).expand(4, 5))
    assert torch.equal(vocabulary.item_token_ids(codes.view(2, 2, 5)), token_ids.view(2, 2, 5))


def test_other_tokens_are_no_codes(vocabulary):
    others = torch.tensor(
        [0, 99, vocabulary.image_id, vocabulary.end_id, int(vocabulary.picture_ids[-1]), vocabulary.size]
    )
    read = vocabulary.digit_codes(others)
    assert (read.depth == -1).all() and (read.codes == -1).all()


def test_state_makes_the_same_vocabulary(vocabulary, table):
    again = PromptVocabulary.from_state(vocabulary.state(), table)
    assert again.size == vocabulary.size
    assert torch.equal(again.digit_starts, vocabulary.digit_starts)
    assert torch.equal(again.picture_ids, vocabulary.picture_ids)


def test_a_larger_catalogue_moves_no_other_token(vocabulary):
    larger = SemanticIdTable.from_blocks({"item": np.arange(9)[:, None]}, list("abcdefghi"))
    other = PromptVocabulary(100, larger, num_ratings=5, num_candidates=3, picture_codes=4)
    assert torch.equal(other.picture_ids, vocabulary.picture_ids)
    assert other.digit_starts[0] == vocabulary.digit_starts[0]


@pytest.mark.parametrize("wrong", [{"base_size": 0}, {"num_ratings": -1}])
def test_counts_below_zero(table, wrong):
    counts = {"base_size": 1, "num_ratings": 0, "num_candidates": 0, "picture_codes": 0, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PromptVocabulary(table=table, **counts)
