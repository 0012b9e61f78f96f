"""User-supplied codes: read once and kept, and put beside built ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mgr.semantic_id.report import table_report
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.user_supplied import complete_table, read_supplied, supplied_modalities

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


# -- kept for the next run ----------------------------------------------------------------------------------------


@pytest.fixture
def read(path, tmp_path, monkeypatch):
    """A function that reads the file, or another one, and tells whether it had to be parsed for it."""
    parsed = []
    load = SemanticIdTable.load
    monkeypatch.setattr(SemanticIdTable, "load", lambda path, **wanted: parsed.append(path) or load(path, **wanted))

    def read(path: Path = path, **changes):
        parsed.clear()
        wanted = {"item_tokens": ITEMS, "modalities": ["text", "image"], **changes}
        table, report = read_supplied(path, cache_dir=tmp_path / "saved", **wanted)
        expected = load(path, **wanted)
        assert torch.equal(table.codes, expected.codes)
        assert (table.digits, table.item_tokens) == (expected.digits, expected.item_tokens)
        assert table.fingerprint == expected.fingerprint
        assert report == table_report(expected)
        return bool(parsed)

    return read


def test_a_file_is_parsed_once_and_nothing_stands_beside_it(read, path):
    before = sorted(path.parent.iterdir())
    assert [read(), read(), read()] == [True, False, False]
    assert sorted(path.parent.iterdir()) == sorted([*before, path.parent / "saved"])


@pytest.mark.parametrize(
    "changes",
    [
        {"item_tokens": ["b", "a", "c"]},
        {"item_tokens": ["a", "c"]},
        {"modalities": ["image", "text"]},
        {"modalities": ["text"]},
        {"transitions": True},
    ],
    ids=str,
)
def test_other_items_another_order_or_layout_are_seen(read, changes):
    read()
    assert [read(**changes), read(**changes), read()] == [True, False, False]


def test_a_changed_file_is_seen_and_an_equal_one_elsewhere_is_known(read, path, tmp_path):
    text = path.read_text()
    read()
    path.write_text(text.replace("3 3", "3 4"))
    assert read()
    (tmp_path / "copy.tsv").write_text(text)
    assert not read(tmp_path / "copy.tsv")


def test_a_description_that_comes_later_is_checked(read, path):
    read()
    path.with_suffix(".yaml").write_text("fingerprint: another\ndigits: []\n")
    with pytest.raises(ValueError, match="the content is not the one that mine.semantic_ids.yaml describes"):
        read()


def test_of_json_the_map_counts_too(read, tmp_path):
    path, item2id = tmp_path / "index.json", tmp_path / "item2id"
    path.write_text(json.dumps({str(place): [f"<a_{place}>"] for place in range(3)}))
    item2id.write_text("a\t0\nb\t1\nc\t2\n")
    assert [read(path, modalities=["text"], item2id=item2id) for _ in range(2)] == [True, False]
    item2id.write_text("a\t0\nb\t2\nc\t1\n")
    assert read(path, modalities=["text"], item2id=item2id)


def test_a_damaged_file_of_the_cache_is_named_with_the_remedy(read, tmp_path):
    read()
    (cached,) = (tmp_path / "saved").glob("supplied-*.safetensors")
    for content in (b"", cached.read_bytes()[:-1], cached.read_bytes().replace(b"digits", b"digots")):
        cached.write_bytes(content)
        with pytest.raises(ValueError, match=r"supplied-.*: this cache file is damaged .*remove it, and it will be"):
            read()
