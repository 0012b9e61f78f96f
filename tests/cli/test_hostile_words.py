"""Titles, ids, columns, sources and labels of a stranger, through what every command prints and writes for people."""

import csv
import json
import re

import polars as pl
import pytest
import yaml
from plotly.offline import get_plotlyjs

from recbole_mgr.cleaners import for_terminal
from recbole_mgr.cli.main import main

EVIL = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe a|b <script>alert(1)</script> [x](javascript:y) `z`"
FORMULA = "=cmd|' /C calc'!A0"
SOURCE = f"{EVIL}\n\n## Forged heading\n\n| forged | row |"
ITEMS = [FORMULA, "@item", *(f"i{n}" for n in range(2, 24))]
TITLES = [EVIL, FORMULA, "\x9b31m", "\u2066hidden\u2069", *(f"{EVIL} {n}" for n in range(4, 24))]
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@pytest.fixture(scope="module")
def shop(tmp_path_factory, write_dataset):
    """A hostile data set, a run on it, and what training it and testing it printed."""
    base = tmp_path_factory.mktemp("hostile")
    rows = [
        (f"{'=' if user == 1 else ''}u{user}", ITEMS[(user + step) % 24], 1_400_000_000 + step)
        for user in range(30)
        for step in range(7)
    ]
    folder = write_dataset(base, "Shop", interactions=rows, modalities=["text"])
    lines = ["item_id:token\ttitle:token_seq\tbrand:token_seq"]
    lines += [f"{item}\t{title}\t{FORMULA}" for item, title in zip(ITEMS, TITLES, strict=True)]
    (folder / "Shop.item").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "Shop.provenance.yaml").write_text(yaml.safe_dump({"source": SOURCE, "licence": SOURCE}))
    plan = {
        "title": EVIL,
        "dataset": "Shop",
        "seeds": [1],
        "settings": {"epochs": 1, "state": "ERROR", "data_path": str(base), "checkpoint_dir": str(base / "saved")},
        "rows": [
            {"label": FORMULA.replace("|", ""), "model": "Pop"},
            {
                "label": EVIL.replace("|", ""),
                "model": "TIGER",
                "settings": {"modalities": ["text"], "hidden_size": 16, "codebook_size": 4, "beam_size": 24},
            },
        ],
    }
    (base / "plan.yaml").write_text(yaml.safe_dump(plan))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        assert main(["experiment", "plan.yaml"]) == 0
    return base


@pytest.fixture
def run(shop):
    """The run directory of TIGER."""
    return next(path.parent for path in shop.rglob("model.safetensors"))


def said(capsys) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err


def require_plain(text: str) -> None:
    assert not _STEERING.search(text), repr(_STEERING.search(text))


def require_harmless_markdown(text: str) -> None:
    require_plain(text)
    assert "<script" not in text and "\n## Forged" not in text and "\n| forged" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)


def test_tables(shop):
    (folder,) = (shop / "results").iterdir()
    require_harmless_markdown((folder / "table.md").read_text(encoding="utf-8"))
    with open(folder / "table.csv", encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{FORMULA.replace('|', '')}" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]
    assert json.loads((folder / "table.json").read_text())["data"]["details"]["source"] == SOURCE  # for machines


def test_check_and_encode(shop, tmp_path, capsys):
    main(["check", "Shop", "--data_path", str(shop), "--plots", str(tmp_path / "plots")])
    text = said(capsys)
    require_plain(text)
    assert "Forged heading" in text and "\n## Forged" not in text
    assert main(["encode", "Shop", "--data_path", str(shop), "--modality", "text", "--output", str(tmp_path)]) == 0
    require_plain(said(capsys))
    for page in (tmp_path / "plots").glob("*.html"):
        assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_recommend(run, tmp_path, capsys):
    ask = ["recommend", str(run), "--device", "cpu", "--users", "=u1", "u2", "--k", "24", "--fields", "brand"]
    assert main(ask) == 0
    screen = said(capsys)
    require_plain(screen)
    assert len(screen.splitlines()) == 49 and for_terminal(EVIL)[:20] in screen
    assert main([*ask[:-2], "--ids"]) == 0
    require_plain(said(capsys).replace("\t", " "))
    rows = {}
    for suffix in ("csv", "jsonl", "parquet"):
        assert main([*ask, "--output", str(tmp_path / f"lists.{suffix}")]) == 0
    with open(tmp_path / "lists.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "@", "\t", "\r"))]
    assert {f"'{FORMULA}", "'@item"} <= {row[2] for row in rows} and rows[1][0] == "'=u1"
    table = pl.read_parquet(tmp_path / "lists.parquet")  # for machines: as it is
    assert {FORMULA, "@item"} <= set(table["item_id"]) and table["user"][0] == "=u1" and EVIL in set(table["title"])
    lines = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text(encoding="utf-8").splitlines()]
    assert EVIL in {item["title"] for item in lines[0]["items"]}
    assert main(["recommend", str(run), "--device", "cpu", "--users", EVIL]) == 2
    require_plain(said(capsys))
    assert main(["recommend", str(run), "--device", "cpu", "--history", "i5", EVIL, "--unknown", "skip"]) == 0
    require_plain(said(capsys))


def test_pages_and_cards(shop, run, tmp_path, capsys):
    assert main(["view", str(run), "--output", str(tmp_path / "view")]) == 0
    assert main(["view", "Shop", "--data_path", str(shop), "--output", str(tmp_path / "data"), "--single-file"]) == 0
    assert main(["share", str(run), str(tmp_path / "shared")]) == 0
    require_plain(said(capsys))
    for page in [*(tmp_path / "view").rglob("*.html"), *(tmp_path / "data").rglob("*.html")]:
        text = page.read_text(encoding="utf-8").replace(
            get_plotlyjs(), ""
        )  # old ones have such characters of their own
        assert not re.search("<script>alert|\x1b", text), page
    card = (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    require_harmless_markdown(card)
    assert yaml.safe_load(card.split("---\n")[1])["license_name"].startswith("\\\\x1b]0;owned")


def test_analyse(shop, tmp_path, capsys):
    (folder,) = (shop / "results").iterdir()
    assert main(["analyse", str(folder), "--results", str(tmp_path), "--users", "5"]) == 0
    require_harmless_markdown(said(capsys))
    for file in tmp_path.rglob("*.csv"):
        with open(file, encoding="utf-8", newline="") as content:
            assert not [cell for row in csv.reader(content) for cell in row if cell.startswith(("=", "@"))]
    for page in tmp_path.rglob("*.html"):
        assert "<script>alert" not in page.read_text(encoding="utf-8")


def test_prepare(tmp_path, capsys):
    rows = [f"u{n % 7},{ITEMS[n % 5]},{1_400_000_000 + n}" for n in range(70)]
    header = f"user_id,item_id,timestamp\n{chr(10).join(rows)}\n"
    (tmp_path / "orders.csv").write_text(header, encoding="utf-8")
    items = [["item_id", "title", "\x1b[2Jcolour"], *([item, f"{EVIL}\nsecond line", FORMULA] for item in ITEMS[:5])]
    with open(tmp_path / "items.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(items)
    ask = ["prepare", "table", str(tmp_path / "orders.csv"), "--items", str(tmp_path / "items.csv"), "--name", "Out"]
    main([*ask, "--output", str(tmp_path / "data")])
    require_plain(said(capsys))
    main([*ask, "--user", EVIL, "--output", str(tmp_path / "data")])
    require_plain(said(capsys))
