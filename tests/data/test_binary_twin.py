"""The binary form beside a readable file: the same content, used only while the file is the one it was made of."""

import numpy as np
import pytest
import torch

from recbole_mgr.data.binary_twin import read_twin, twin_path, write_twin
from recbole_mgr.data.item_file import ItemText, ItemTexts, read_all_item_texts, write_item_texts
from recbole_mgr.data.semantic_id_file import TableFile, read_table_file, write_table_file
from recbole_mgr.semantic_id.table import SemanticIdTable

TOKENS = ["x", "Ü 2", "a"]
BLOCKS = {"text": np.array([[1, 2], [0, 7], [1, 2]]), "image": np.array([[5], [5], [5]])}
DEDUP = np.array([1, 0, 0])


def assert_same(one: TableFile, other: TableFile):
    assert one.item_tokens == other.item_tokens and one.description == other.description
    assert list(one.blocks) == list(other.blocks)
    for name, block in one.blocks.items():
        assert block.dtype == other.blocks[name].dtype == np.int64 and np.array_equal(block, other.blocks[name])
    assert (one.dedup is None) == (other.dedup is None)
    assert one.dedup is None or np.array_equal(one.dedup, other.dedup)


@pytest.mark.parametrize("dedup", [None, DEDUP])
def test_a_table_reads_alike_with_and_without_its_binary_form(tmp_path, dedup):
    path = tmp_path / "x.tsv"
    write_table_file(path, TableFile(TOKENS, BLOCKS, dedup, None))
    binary = read_table_file(path)
    twin_path(path).unlink()
    assert_same(binary, read_table_file(path))
    assert_same(binary, TableFile(TOKENS, BLOCKS, dedup, None))


def test_titles_read_alike_with_and_without_their_binary_form(tmp_path):
    path = tmp_path / "items.tsv"
    texts = [ItemText("Ä title", "a.jpg"), ItemText("", ""), ItemText("b", "")]
    write_item_texts(path, TOKENS, texts, {"brand": ["1", "2", "3"]})
    binary = read_all_item_texts(path)
    twin_path(path).unlink()
    assert binary == read_all_item_texts(path) == ItemTexts(TOKENS, ["Ä title", "", "b"], ["a.jpg", "", ""])
    assert list(binary) == texts and binary.by_token()["x"] == texts[0]
    write_item_texts(path, ["only"], [ItemText("", "")])
    assert read_all_item_texts(path) == ItemTexts(["only"], [""], [""])


@pytest.fixture
def path(tmp_path):
    """A table whose binary form says other items, so that it shows which of the two was read."""
    path = tmp_path / "x.tsv"
    write_table_file(path, TableFile(TOKENS, BLOCKS, DEDUP, None))
    twin = read_twin(path)
    write_twin(path, twin.words | {"items": ["p", "q", "r"]}, twin.arrays)
    assert read_table_file(path).item_tokens == ["p", "q", "r"]
    return path


def test_an_edited_file_wins_and_a_restored_one_is_told_by_its_content(path):
    written = path.read_text(encoding="utf-8")
    path.write_text(written.replace("x\t", "edited\t"), encoding="utf-8")
    assert read_table_file(path).item_tokens == ["edited", *TOKENS[1:]]
    path.write_text(written, encoding="utf-8")
    assert read_table_file(path).item_tokens == ["p", "q", "r"]


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:4] + b"\xff" + b[5:], None])
def test_a_damaged_one_is_not_used(path, damage):
    if damage is None:
        twin_path(path).write_bytes(path.read_bytes())
    else:
        twin_path(path).write_bytes(damage(twin_path(path).read_bytes()))
    assert read_table_file(path).item_tokens == TOKENS


def test_one_in_which_any_byte_has_changed_is_not_used(path):
    whole = twin_path(path).read_bytes()
    for place in range(8, len(whole)):
        twin_path(path).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        content = read_table_file(path)
        assert content.item_tokens in (TOKENS, ["p", "q", "r"])
        assert_same(content._replace(item_tokens=TOKENS), TableFile(TOKENS, BLOCKS, DEDUP, None))


def test_that_of_a_file_that_was_written_anew_is_its_own(path):
    write_table_file(path, TableFile(TOKENS[::-1], BLOCKS, DEDUP, None))
    assert read_table_file(path).item_tokens == TOKENS[::-1]


def test_a_saved_table_comes_back_and_is_not_looked_through_twice(tmp_path, monkeypatch):
    table = SemanticIdTable.from_blocks(BLOCKS, TOKENS, transitions=True)
    path = tmp_path / "x.semantic_ids.tsv"
    table.save(path, report={"a": 1})
    monkeypatch.setattr("recbole_mgr.semantic_id.table._fingerprint", lambda *_: 1 / 0)
    loaded = SemanticIdTable.load(path, item_tokens=TOKENS, transitions=True)
    assert torch.equal(loaded.codes, table.codes) and loaded.digits == table.digits
    assert loaded.fingerprint == table.fingerprint
    monkeypatch.undo()
    for options in ({"item_tokens": TOKENS}, {"item_tokens": TOKENS[:2], "transitions": True}):
        part = SemanticIdTable.load(path, **options)
        assert part.fingerprint != table.fingerprint  # other digits, and fewer items, are another table
    description = path.with_suffix(".yaml")
    description.write_text(description.read_text().replace(table.fingerprint, "0" * 64), encoding="utf-8")
    with pytest.raises(ValueError, match="not the one that x.semantic_ids.yaml describes"):
        SemanticIdTable.load(path, item_tokens=TOKENS)
