"""User-supplied codes and built ones in one table."""

import numpy as np
import pytest

from recbole_mgr.semantic_id.user_supplied import complete_table, supplied_modalities

ITEMS = ["a", "b", "c"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mine.semantic_ids.tsv"
    header = "item_id:token\ttext_codes:token_seq\timage_codes:token_seq\tdedup:token\n"
    path.write_text(header + "c\t3 3\t5\t0\na\t1 2\t0\t0\nb\t1 2\t0\t1\n")
    return path


def test_the_user_supplied_ones_come_in_the_order_asked_for(path):
    assert supplied_modalities(path, ["image", "collaborative", "text"]) == ["image", "text"]


def test_a_file_of_other_modalities_is_named(path):
    with pytest.raises(ValueError, match=r"mine.*no codes for the modalities \['audio'\]; it has \['text', 'image'\]"):
        supplied_modalities(path, ["audio"])


def test_blocks_stand_in_order_each_row_with_its_item(path):
    built = {"collaborative": np.array([[7], [6], [7]])}
    table = complete_table(
        path, built, item_tokens=ITEMS, modalities=["text", "collaborative", "image"], size=8, transitions=True
    )
    # a and b share their text and image codes, but no longer all codes: no digit tells them apart
    assert table.codes.tolist() == [[-1] * 6, [1, 2, 0, 7, 0, 0], [1, 2, 0, 6, 0, 0], [3, 3, 0, 7, 0, 5]]
    assert table.sizes == [4, 4, 1, 8, 1, 6]
    assert [digit.kind for digit in table.digits] == ["code", "code", "transition", "code", "transition", "code"]


def test_items_that_still_collide_are_told_apart_anew(path):
    built = {"collaborative": np.array([[7], [7], [7]])}
    table = complete_table(
        path, built, item_tokens=ITEMS, modalities=["text", "collaborative"], size=8, transitions=False
    )
    assert table.codes[1:].tolist() == [[1, 2, 7, 0], [1, 2, 7, 1], [3, 3, 7, 0]]
    assert table.digits[-1].kind == "dedup"
