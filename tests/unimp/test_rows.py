"""Rows token by token, and batches against plain padding."""

import numpy as np
import pytest
import torch

from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp.rows import SEES_ALL, SEES_NOTHING, RowBatch, RowBuilder, collate
from recbole_mgr.unimp.vocabulary import PromptVocabulary

BASE, IMAGE, ANSWER, END = 10, 10, 11, 12
HAS_IMAGE = np.array([False, True, True, False, True])  # item 3 has none


@pytest.fixture(scope="module")
def vocabulary() -> PromptVocabulary:
    table = SemanticIdTable.from_blocks({"item": np.arange(4)[:, None]}, list("abcd"))
    return PromptVocabulary(BASE, table, num_ratings=0, num_candidates=0, picture_codes=0)


@pytest.fixture
def prompt(vocabulary):
    """Items 2, 3, 4 with two words, one word and one word, each answered, and a closing question."""

    def make(**modes):
        builder = RowBuilder(vocabulary, has_image=HAS_IMAGE, **modes)
        for item, text in ((2, [1, 2]), (3, [3]), (4, [4])):
            builder.text(text, sees=builder.image(item))
            builder.answer([20 + item], target=item != 3)
        builder.text([5, 6], sees=SEES_ALL)
        builder.open_answer()
        assert len(builder) == len(builder.row().token_ids)
        return builder.row()

    return make


def test_a_row_token_by_token(prompt):
    row = prompt()
    tokens = [IMAGE, 1, 2, ANSWER, 22, END, 3, ANSWER, 23, END, IMAGE, 4, ANSWER, 24, END, 5, 6, ANSWER]
    assert row.token_ids.tolist() == tokens
    assert row.sees.tolist() == [0] * 6 + [SEES_NOTHING] * 4 + [1] * 5 + [SEES_ALL] * 3
    assert np.flatnonzero(row.is_target).tolist() == [4, 5, 13, 14]  # answers and their ends, not those of item 3
    assert row.images.tolist() == [2, 4]
    assert row.image_positions.tolist() == [0, 10]


def test_the_question_sees_the_last_picture_only(prompt):
    assert prompt(closing_sees="last").sees[-3:].tolist() == [1, 1, 1]


def test_items_that_see_all_pictures_before(prompt):
    row = prompt(image_attention="all_previous")
    assert (row.sees == SEES_ALL).all()  # also the item without a picture of its own
    assert row.token_ids.tolist() == prompt().token_ids.tolist()


@pytest.mark.parametrize("closing", ["all", "last"])
def test_rows_without_pictures(prompt, closing):
    row = prompt(image_attention="none", closing_sees=closing)
    assert IMAGE not in row.token_ids
    assert row.images.size == row.image_positions.size == 0
    assert row.token_ids.tolist() == [token for token in prompt().token_ids.tolist() if token != IMAGE]
    assert (row.sees < 0).all()


def test_a_mode_that_does_not_exist(vocabulary):
    with pytest.raises(ValueError, match="image_attention: 'mine' must be one of own"):
        RowBuilder(vocabulary, has_image=HAS_IMAGE, image_attention="mine")
    with pytest.raises(ValueError, match="closing_sees"):
        RowBuilder(vocabulary, has_image=HAS_IMAGE, closing_sees="first")


def lengthened(vocabulary, count):
    builder = RowBuilder(vocabulary, has_image=HAS_IMAGE)
    for item in range(1, count + 1):
        builder.text([item] * item, sees=builder.image(item))
    builder.answer([7], target=True)
    return builder.row()


@pytest.mark.parametrize("padding", ["left", "right"])
def test_a_batch_is_its_rows_padded(vocabulary, padding):
    rows = [lengthened(vocabulary, count) for count in (2, 4, 1)]
    batch = collate(rows, [1, 0, 1], pad_token_id=9, padding=padding)
    longest = max(len(row.token_ids) for row in rows)
    for index, row in enumerate(rows):
        length = len(row.token_ids)
        here = slice(longest - length, longest) if padding == "left" else slice(0, length)
        for field, filler in (("token_ids", 9), ("sees", SEES_NOTHING), ("is_target", False)):
            expected = np.full(longest, filler)
            expected[here] = getattr(row, field)
            assert getattr(batch, field)[index].tolist() == expected.tolist()
        assert batch.attention_mask[index].nonzero()[:, 0].tolist() == list(range(here.start, here.stop))
        images = row.images.tolist()
        assert batch.images[index].tolist() == images + [0] * (batch.images.shape[1] - len(images))
        positions = batch.image_positions[index]
        assert (batch.token_ids[index, positions[positions >= 0]] == IMAGE).all()
        assert (positions >= 0).sum() == len(images) == (batch.token_ids[index] == IMAGE).sum()
    assert batch.images.shape == (3, 3)
    assert batch.task.tolist() == [1, 0, 1]
    assert {tensor.dtype for tensor in batch} == {torch.int64, torch.bool}


def test_a_batch_without_pictures_has_room_for_one(vocabulary):
    builder = RowBuilder(vocabulary, has_image=HAS_IMAGE, image_attention="none")
    builder.text([1], sees=builder.image(1))
    batch = collate([builder.row()] * 2, [0, 0], pad_token_id=9, padding="left")
    assert batch.images.tolist() == [[0], [0]]
    assert batch.image_positions.tolist() == [[-1], [-1]]


def test_through_recboles_interaction_and_back(vocabulary):
    batch = collate([lengthened(vocabulary, 2)] * 3, [0, 1, 2], pad_token_id=9, padding="right")
    interaction = batch.to_interaction()
    assert len(interaction) == 3
    for field, before, after in zip(RowBatch._fields, batch, RowBatch.from_interaction(interaction), strict=True):
        assert torch.equal(before, after), field
    assert all(tensor.device.type == "meta" for tensor in batch.to("meta"))
