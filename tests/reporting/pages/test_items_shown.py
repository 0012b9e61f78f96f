import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

from recbole_mgr.data.item_file import ItemText
from recbole_mgr.reporting.pages.items import ShownItems, items_of_data, items_of_run, plain_words, search_index
from recbole_mgr.reporting.pages.thumbnails import make_thumbnails, shape_of


def test_items_of_a_shop(shop):
    items = items_of_data(shop, "Shop", ["soap", "unlisted"])
    assert items.tokens == ["balm", "soap", "mask", "comb", "unlisted"]
    assert items.titles[0] == "lip balm with honey"
    assert items.facts == ["Acme"] * 4 + [""]
    assert [path and path.name for path in items.pictures] == ["balm.png", "soap.png", "mask.png", None, None]


def test_a_picture_outside_the_folder_is_none(tmp_path):
    (tmp_path / "images").mkdir()
    for place in (tmp_path / "secret.png", tmp_path / "images" / "own.png"):
        place.write_bytes(b"x")
    names = ["own.png", "../secret.png", str(tmp_path / "secret.png"), "/dev/zero", "a\0b", "", ".", "missing.png"]
    texts = [ItemText("", name) for name in names]
    assert items_of_run(names, texts, tmp_path).pictures == [tmp_path / "images" / "own.png"] + [None] * 7
    assert items_of_run(names, texts, None).pictures == [None] * 8


def test_the_index_finds_words_of_any_writing():
    items = ShownItems(["a-1", "b"], ["Crème Brûlée", "口紅 rouge"], ["Acme · skin", ""], [None, None])
    index = search_index(items)
    assert index["63-72"] == {"creme": [0]}
    assert index["61-63"] == {"acme": [0]}
    assert [words for words in index.values() if "口紅" in words] == [{"口紅": [1]}]
    assert plain_words("L'Été, 2×") == ["l", "ete", "2"]


SEARCHED = {
    "L'Été, 2× item_12": ["l", "ete", "2", "item_12"],
    "हिन्दी की, ที่นี่": ["हिन्दी", "की", "ที่นี่"],  # their vowels are marks
    "שָׁלוֹם، كِتَاب می\u200cخواهم": ["שלום", "كتاب", "میخواهم"],
    "❤\ufe0flove": ["love"],
}


@pytest.mark.parametrize("text", SEARCHED)
def test_words_of_a_search_are_whole_and_without_accents(text):
    assert plain_words(text) == SEARCHED[text]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_cuts_a_query_as_the_index_is_cut():
    texts = [
        *SEARCHED,
        "İstanbul ΣΊΣΥΦΟΣ",
        "が行 ｶﾞｰﾄﾞ 한국어 ①Ⅳ ½ ﬁne",
        "Việt Nam Ёлка й",
        "தமிழ் বাংলা မြန်မာ ខ្មែរ",
        "a‿b #x-y.",
    ]
    script = (files("recbole_mgr.reporting.pages") / "assets" / "scripts" / "state.js").read_text(encoding="utf-8")
    lines = [line for line in script.split("\n") if line.startswith(("const LEFT_OUT", "const plain", "const wordsOf"))]
    program = "\n".join([*lines, f"console.log(JSON.stringify({json.dumps(texts)}.map(wordsOf)))"])
    done = subprocess.run(["node", "-e", program], capture_output=True, check=True)
    assert json.loads(done.stdout) == list(map(plain_words, texts))


def test_thumbnails_are_made_once(tmp_path):
    for name, size in (("wide.png", (400, 200)), ("broken.png", None)):
        if size:
            Image.new("RGB", size, "red").save(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(b"not a picture")
    files: list[Path | None] = [tmp_path / "wide.png", None, tmp_path / "broken.png", tmp_path / "missing.png"]
    folder = tmp_path / "view"
    addresses = make_thumbnails(files, folder)
    assert addresses[1:] == ["", "", ""]
    made = folder / addresses[0]
    with Image.open(made) as small:
        assert small.size == (240, 120)
    assert shape_of(addresses, folder) == 1.5
    when = made.stat().st_mtime_ns
    assert make_thumbnails(files, folder) == addresses
    assert made.stat().st_mtime_ns == when
    assert make_thumbnails(files, folder, inline=True)[0].startswith("data:image/jpeg;base64,")
