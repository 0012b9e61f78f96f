import pytest
import torch

from recbole_mgr.semantic_id.vocabulary import CodeVocabulary

SIZES = [3, 1, 4]


def test_known_offsets():
    vocabulary = CodeVocabulary(SIZES)
    codes = torch.tensor([[-1, -1, -1], [0, 0, 0], [2, 0, 3]])
    assert vocabulary.token_ids(codes).tolist() == [[0, 0, 0], [1, 4, 5], [3, 4, 8]]
    assert vocabulary.size == 9


def test_codes_undo_token_ids_in_any_shape():
    vocabulary = CodeVocabulary(SIZES)
    grid = torch.cartesian_prod(*(torch.arange(size) for size in SIZES)).view(2, 6, 3)
    codes = torch.cat([grid, torch.full((2, 1, 3), -1)], dim=1)
    assert (vocabulary.codes(vocabulary.token_ids(codes)) == codes).all()


def test_ranges_partition_the_vocabulary():
    vocabulary = CodeVocabulary(SIZES)
    ids = [token_id for digit in range(3) for token_id in range(vocabulary.size)[vocabulary.token_id_range(digit)]]
    assert ids == list(range(1, 9))
    codes = torch.stack([torch.arange(4) % size for size in SIZES], dim=1)
    for digit in range(3):
        allowed = vocabulary.token_id_range(digit)
        column = vocabulary.token_ids(codes)[:, digit]
        assert ((column >= allowed.start) & (column < allowed.stop)).all()


def test_errors():
    with pytest.raises(ValueError, match="3 digits, not 2"):
        CodeVocabulary(SIZES).token_ids(torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least one code"):
        CodeVocabulary([3, 0])
