"""Semantic IDs as LC-Rec, LETTER and MQL4GRec publish them."""

import json

import numpy as np
import pytest

from recbole_mgr.cli.main import main
from recbole_mgr.data.semantic_id_file import read_table_file
from recbole_mgr.data.semantic_id_json import read_json_codes
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.semantic_id.table import SemanticIdTable

INDEX = {"0": ["<a_170>", "<b_7>"], "1": ["<a_0>", "<b_224>"], "2": ["<a_170>", "<b_7>"]}
ITEMS = ["B7", "B5", "B9"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.json").write_text(json.dumps(INDEX))
    (tmp_path / "x.item2id").write_text("".join(f"{item}\t{number}\n" for number, item in enumerate(ITEMS)))
    return tmp_path


def test_codes_go_to_the_items_of_the_map(folder):
    items, codes = read_json_codes(folder / "index.json", folder / "x.item2id")
    assert items == ITEMS
    assert codes.tolist() == [[170, 7], [0, 224], [170, 7]]
    assert codes.dtype == np.int64


MAPS = {
    "the other way round": "0\tB7\n1\tB5\n2\tB9\n",
    "blanks": "B7 0\nB5 1\nB9 2\n",
    "Windows": "\ufeffB7\t0\r\nB5\t1\r\nB9\t2\r\n\r\n",
    "more items than codes": "B7\t0\nB5\t1\nB9\t2\nB8\t3\n",
}


@pytest.mark.parametrize("text", MAPS.values(), ids=MAPS)
def test_maps_as_they_come(folder, text):
    (folder / "x.item2id").write_bytes(text.encode())
    assert read_json_codes(folder / "index.json", folder / "x.item2id")[0] == ITEMS


def test_a_map_in_json_and_keys_that_are_items(folder):
    (folder / "map.json").write_text(json.dumps({item: number for number, item in enumerate(ITEMS)}))
    assert read_json_codes(folder / "index.json", folder / "map.json")[0] == ITEMS
    (folder / "own.json").write_text(json.dumps({"B1": [3, 4], "B2": ["5", "6"]}))
    items, codes = read_json_codes(folder / "own.json")
    assert (items, codes.tolist()) == (["B1", "B2"], [[3, 4], [5, 6]])


LARGE = json.dumps({str(number): ["<a_1>", "x" * 500] for number in range(2000)})
BAD = {
    "no JSON": ("{'0': 1}", "index.json, line 1: not JSON"),
    "a list": ("[1, 2]", "holds a list"),
    "empty": ("{}", "holds no items"),
    "one number": ('{"0": 5}', "item '0': 5 is no list of tokens"),
    "no codes": ('{"0": []}', r"item '0': \[\] is no list of tokens"),
    "a word": ('{"0": ["<a_1>", "<b_x>"]}', "is no list of tokens"),
    "negative": ('{"0": [-1]}', "is no list of tokens"),
    "a fraction": ('{"0": [1.5]}', "is no list of tokens"),
    "true": ('{"0": [true]}', "is no list of tokens"),
    "huge": ('{"0": [123456789012]}', "is no list of tokens"),
    "too large": ('{"0": ["<a_1>", "<b_1048576>"]}', "item '0': code 1048576 is above 1,048,575"),
    "ragged": ('{"0": ["<a_1>", "<b_1>"], "1": ["<a_1>"]}', "item '1' has the levels .*first item"),
    "levels swapped": ('{"0": ["<a_1>", "<b_1>"], "1": ["<b_1>", "<a_1>"]}', "item '1' has the levels"),
    "key twice": ('{"0": [1], "0": [2]}', "the key '0' stands there twice"),
    "too deep": ("[" * 100_000, "not as expected|not JSON"),
    "634 KB": (LARGE, "item '0'.*is no list of tokens"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_files_are_named_in_a_few_words(folder, text, message):
    (folder / "index.json").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_json_codes(folder / "index.json")
    assert "index.json" in str(error.value) and len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("B7\t10\n", r"none of its numbers \(first: '10'\) is a key of .*index.json \(first: '"),
        ("B7\t0\nB7\t1\n", "item 'B7' or number '1' stands there twice"),
        ("B7\t0\nB5\t0\n", "item 'B5' or number '0' stands there twice"),
        ("B7\n", "line 1: 'B7' is not an item id, a tab and a number"),
        ("", "none of its numbers"),
    ],
)
def test_bad_maps_are_named(folder, text, message):
    (folder / "x.item2id").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_json_codes(folder / "index.json", folder / "x.item2id")
    assert "x.item2id" in str(error.value)


def test_json_in_place_of_a_table_is_not_printed(folder):
    (folder / "index.tsv").write_text(LARGE)
    with pytest.raises(ValueError, match="line 1: no column") as error:
        read_table_file(folder / "index.tsv")
    assert len(str(error.value)) < 400


def test_a_table_of_one_modality_and_what_happens_without_the_map(folder):
    table = SemanticIdTable.load(
        folder / "index.json", item_tokens=["B5", "B7", "B9"], modalities=["text"], item2id=folder / "x.item2id"
    )
    assert table.modalities == ["text"]
    assert table.codes[1:, :2].tolist() == [[0, 224], [170, 7], [170, 7]]
    with pytest.raises(ValueError, match=r"none matches: the file has \['0', '1'\].*name the map of ids \(item2id\)"):
        SemanticIdTable.load(folder / "index.json", item_tokens=ITEMS, modalities=["text"])
    with pytest.raises(ValueError, match=r"one modality, and there are 2 \(text, image\).*recbole-mgr convert text="):
        SemanticIdTable.load(folder / "index.json", item_tokens=ITEMS, modalities=["text", "image"])


def test_several_files_become_one_table(folder, capsys):
    other = {key: [token.upper() for token in tokens[::-1]] for key, tokens in reversed(INDEX.items())}
    (folder / "image.json").write_text(json.dumps(other))
    output = folder / "x.semantic_ids.tsv"
    files = [f"text={folder / 'index.json'}", f"image={folder / 'image.json'}"]
    assert main(["convert", *files, "--item2id", str(folder / "x.item2id"), "--output", str(output)]) == 0
    assert "3 items, text 2 codes, image 2 codes" in capsys.readouterr().out
    content = read_table_file(output)
    assert content.item_tokens == ITEMS
    assert content.blocks["text"].tolist() == [[170, 7], [0, 224], [170, 7]]
    assert content.blocks["image"].tolist() == [[7, 170], [224, 0], [7, 170]]
    (folder / "image.json").write_text(json.dumps({"0": [1], "1": [1]}))
    assert main(["convert", *files, "--item2id", str(folder / "x.item2id"), "--output", str(output)]) == 2
    assert "has 2 items, the first file 3, and item 'B9' is not in both" in capsys.readouterr().err


def test_a_run_reads_json_as_it_is(tmp_path, monkeypatch, write_dataset, tiny_settings):
    """The same ranks as with the converted table."""
    data = write_dataset(tmp_path)
    items = sorted({line.split("\t")[1] for line in (data / "tiny.inter").read_text().splitlines()[1:]})
    index = {str(number): [f"<a_{number % 4}>", f"<b_{number // 4}>"] for number in range(len(items))}
    (tmp_path / "index.json").write_text(json.dumps(index))
    (tmp_path / "item2id").write_text("".join(f"{item}\t{number}\n" for number, item in enumerate(items)))
    monkeypatch.chdir(tmp_path)
    assert main(["convert", "text=index.json", "--item2id", "item2id", "--output", "x.tsv"]) == 0
    rows = [{"semantic_ids": "index.json", "item2id": "item2id"}, {"semantic_ids": "x.tsv"}]
    settings = tiny_settings(tmp_path, n_layers=1, num_threads=1, epochs=1, modalities="text")
    results = run_comparison([ModelRequest("TIGER", row) for row in rows], "tiny", settings=settings).results
    assert results[0].ranks.tolist() == results[1].ranks.tolist()
    with pytest.raises(ValueError, match="item2id: item2id belongs to semantic_ids in a .json file"):
        run_comparison([ModelRequest("TIGER", {"item2id": "item2id"})], "tiny", settings=settings)
