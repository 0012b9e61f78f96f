import logging
import re

import numpy as np
import pytest
import torch
import yaml

from recbole_mgr.semantic_id.table import Digit, SemanticIdTable

TOKENS = ["b", "a", "c", "d"]
TEXT = np.array([[0, 1], [2, 1], [0, 1], [1, 0]])
IMAGE = np.array([[3], [3], [3], [0]])
BLOCKS = {"text": TEXT, "image": IMAGE}
SIZES = {"text": [4, 2], "image": [8]}
OWN_FILE = "item_id:token\ttext_codes:token_seq\timage_codes:token_seq\nb\t0 1\t3\na\t2 1\t3\nc\t0 1\t4\n"


@pytest.fixture
def own_file(tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text(OWN_FILE)
    return path


def test_blocks_side_by_side_with_dedup_by_token():
    table = SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes=SIZES)
    assert table.digits == (
        Digit("text", 0, 4, "code"),
        Digit("text", 1, 2, "code"),
        Digit("image", 0, 8, "code"),
        Digit("", 0, 2, "dedup"),
    )
    assert table.codes.tolist() == [[-1] * 4, [0, 1, 3, 0], [2, 1, 3, 0], [0, 1, 3, 1], [1, 0, 0, 0]]
    assert table.codes.dtype == torch.int64
    assert (table.num_items, table.sizes, table.modalities) == (4, [4, 2, 8, 2], ["text", "image"])
    assert (table.block("text"), table.block("image")) == (slice(0, 2), slice(2, 3))


def test_transitions_stand_between_modalities_only():
    blocks = {"text": TEXT, "image": IMAGE, "sound": np.array([[0], [1], [2], [3]])}
    table = SemanticIdTable.from_blocks(blocks, TOKENS, transitions=True)
    kinds = [(digit.modality, digit.kind) for digit in table.digits]
    assert kinds == [
        ("text", "code"),
        ("text", "code"),
        ("image", "transition"),
        ("image", "code"),
        ("sound", "transition"),
        ("sound", "code"),
    ]
    assert table.sizes == [3, 2, 1, 4, 1, 4]
    assert (table.codes[1:, [2, 4]] == 0).all()
    assert table.block("sound") == slice(5, 6)
    alone = SemanticIdTable.from_blocks({"text": TEXT}, TOKENS, transitions=True)
    assert all(digit.kind != "transition" for digit in alone.digits)


def test_no_dedup_digit_without_collisions():
    table = SemanticIdTable.from_blocks({"text": np.arange(4)[:, None]}, TOKENS)
    assert [digit.kind for digit in table.digits] == ["code"]


def test_three_hundred_equal_items():
    table = SemanticIdTable.from_blocks({"text": np.zeros((300, 3), int)}, [f"i{n}" for n in range(300)])
    assert table.digits[-1] == Digit("", 0, 300, "dedup")
    assert len(table.codes[1:].unique(dim=0)) == 300


def test_ids_follow_the_items_whatever_their_order():
    order = [2, 0, 3, 1]
    table = SemanticIdTable.from_blocks(BLOCKS, TOKENS)
    other = SemanticIdTable.from_blocks(
        {name: block[order] for name, block in BLOCKS.items()}, [TOKENS[row] for row in order]
    )
    assert (other.codes[1:] == table.codes[1:][order]).all()
    assert other.fingerprint == table.fingerprint


def test_fingerprint_sees_tokens_digits_and_codes():
    changed = TEXT.copy()
    changed[3, 1] = 1
    tables = [
        SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes=SIZES),
        SemanticIdTable.from_blocks(BLOCKS, ["b", "a", "c", "e"], sizes=SIZES),
        SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes={**SIZES, "image": [9]}),
        SemanticIdTable.from_blocks({**BLOCKS, "text": changed}, TOKENS, sizes=SIZES),
        SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes=SIZES, transitions=True),
    ]
    assert len({table.fingerprint for table in tables}) == len(tables)


@pytest.mark.parametrize("transitions", [True, False])
def test_save_and_load_give_the_same_table(tmp_path, transitions):
    table = SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes=SIZES, transitions=transitions)
    path = tmp_path / "x.semantic_ids.tsv"
    table.save(path, settings={"seed": 1}, report={"share": 0.5})
    names = ["x.semantic_ids.tsv", "x.semantic_ids.tsv.safetensors", "x.semantic_ids.yaml"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert path.read_text().splitlines()[:2] == [
        "item_id:token\ttext_codes:token_seq\timage_codes:token_seq\tdedup:token",
        "b\t0 1\t3\t0",
    ]
    description = yaml.safe_load((tmp_path / "x.semantic_ids.yaml").read_text())
    assert description["fingerprint"] == table.fingerprint
    assert (description["settings"], description["report"]) == ({"seed": 1}, {"share": 0.5})
    loaded = SemanticIdTable.load(path, item_tokens=TOKENS, transitions=transitions)
    assert loaded.digits == table.digits
    assert (loaded.codes == table.codes).all()
    reordered = SemanticIdTable.load(path, item_tokens=TOKENS[::-1], transitions=transitions)
    assert (reordered.codes[1:] == table.codes[1:].flip(0)).all()
    assert reordered.fingerprint == table.fingerprint


def test_dedup_is_kept_for_all_modalities_and_made_anew_for_some(tmp_path):
    path = tmp_path / "x.tsv"
    SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes=SIZES).save(path)
    kept = SemanticIdTable.load(path, item_tokens=["c", "a"])
    assert kept.codes[1:].tolist() == [[0, 1, 3, 1], [2, 1, 3, 0]]  # c stays the second of its group
    image = SemanticIdTable.load(path, item_tokens=TOKENS, modalities=["image"])
    assert image.codes[1:].tolist() == [[3, 1], [3, 0], [3, 2], [0, 0]]
    assert image.sizes == [8, 3]
    turned = SemanticIdTable.load(path, item_tokens=["c", "a"], modalities=["image", "text"])
    assert turned.codes[1:].tolist() == [[3, 0, 1], [3, 2, 1]]


def test_own_file_in_the_order_of_the_data_set(own_file):
    table = SemanticIdTable.load(own_file, item_tokens=["c", "b", "a"], transitions=True)
    assert table.codes[1:].tolist() == [[0, 1, 0, 4], [0, 1, 0, 3], [2, 1, 0, 3]]
    assert table.sizes == [3, 2, 1, 5]


def test_rows_of_other_items_are_counted(own_file, caplog):
    with caplog.at_level(logging.INFO):
        table = SemanticIdTable.load(own_file, item_tokens=["a"])
    assert "ignored 2 rows" in caplog.text
    assert table.sizes == [3, 2, 5]  # codes of the other items stay legal


def test_missing_items_and_modalities_are_named(own_file):
    with pytest.raises(ValueError, match=r"own\.tsv: 1 of 2 items .*\['x'\]; add"):
        SemanticIdTable.load(own_file, item_tokens=["a", "x"])
    with pytest.raises(ValueError, match=r"own\.tsv: .*\['sound'\]; it has \['text', 'image'\]"):
        SemanticIdTable.load(own_file, item_tokens=["a"], modalities=["text", "sound"])


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"^b\t0 1", "b\t0 0"),  # a code
        (r"^d\t", "e\t"),  # an item
        (r"^d\t.*\n", ""),  # a row
        ("text_codes", "title_codes"),  # a modality
        (r"^(\w\t\S+ \S+)\t", r"\1 0\t"),  # a level
        (r"\t\S+$", ""),  # the dedup column
    ],
)
def test_content_that_differs_from_its_description(tmp_path, pattern, replacement):
    path = tmp_path / "x.tsv"
    SemanticIdTable.from_blocks(BLOCKS, TOKENS, sizes=SIZES).save(path)
    changed = re.sub(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    assert changed != path.read_text()
    path.write_text(changed)
    with pytest.raises(ValueError, match=r"x\.tsv: .*x\.yaml describes.*remove the \.yaml"):
        SemanticIdTable.load(path, item_tokens=["a", "b", "c"])
    (tmp_path / "x.yaml").unlink()
    assert SemanticIdTable.load(path, item_tokens=["a", "b", "c"]).num_items == 3


def test_malformed_digits_in_the_description(tmp_path):
    path = tmp_path / "x.tsv"
    SemanticIdTable.from_blocks(BLOCKS, TOKENS).save(path)
    (tmp_path / "x.yaml").write_text("fingerprint: f\ndigits:\n- {width: 3}\n")
    with pytest.raises(ValueError, match=r"x\.yaml: malformed digits"):
        SemanticIdTable.load(path, item_tokens=TOKENS)


def test_illegal_tables_are_refused():
    digits = (Digit("text", 0, 2, "code"),)
    with pytest.raises(ValueError, match=r"\['a', 'b'\]"):
        SemanticIdTable(codes=torch.tensor([[-1], [1], [1]]), digits=digits, item_tokens=["a", "b"])
    with pytest.raises(ValueError, match=r"item 'b', digit 0: code 2 is not in 0\.\.1"):
        SemanticIdTable(codes=torch.tensor([[-1], [1], [2]]), digits=digits, item_tokens=["a", "b"])
    with pytest.raises(ValueError, match="row 0 belongs to PAD"):
        SemanticIdTable(codes=torch.tensor([[0], [1]]), digits=digits, item_tokens=["a"])
    with pytest.raises(ValueError, match=r"shape \(2, 1\)"):
        SemanticIdTable(codes=torch.tensor([[-1], [1]]), digits=digits, item_tokens=["a", "b"])


@pytest.mark.parametrize(
    ("blocks", "tokens", "sizes", "message"),
    [
        ({}, TOKENS, None, "no modality"),
        ({"text": TEXT}, TOKENS[:3], None, r"'text'.*shape \(4, 2\), expected \[3"),
        ({"te xt": TEXT}, TOKENS, None, "'te xt'"),
        ({"text": TEXT}, ["a", "a", "b", "c"], None, r"more than once, e.g. \['a'\]"),
        ({"text": TEXT}, TOKENS, {"text": [3]}, r"'text' needs 2 sizes, got \[3\]"),
        ({"text": TEXT}, TOKENS, {"text": [2, 2]}, "item 'a', digit 0: code 2"),
        ({"text": TEXT - 1}, TOKENS, {"text": [3, 3]}, "code -1"),
    ],
)
def test_illegal_blocks_are_refused(blocks, tokens, sizes, message):
    with pytest.raises(ValueError, match=message):
        SemanticIdTable.from_blocks(blocks, tokens, sizes=sizes)


def test_unknown_block():
    with pytest.raises(ValueError, match=r"'sound' has no digits; there are \['text', 'image'\]"):
        SemanticIdTable.from_blocks(BLOCKS, TOKENS).block("sound")
