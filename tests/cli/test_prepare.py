"""``recbole-mgr prepare`` as a user types it: names, defaults and exit statuses."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from recbole_mgr.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a table in which six users take five items."""
    monkeypatch.chdir(tmp_path)
    rows = [f"u{user},i{item},{item}" for user in range(6) for item in range(5)]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    return tmp_path


def test_a_table(folder, capsys):
    assert main(["prepare", "table", "orders.csv", "--name", "Shop"]) == 0
    assert sorted(os.listdir("data/Shop")) == ["Shop.inter", "Shop.item", "Shop.provenance.yaml"]
    printed = capsys.readouterr().out
    assert "read: 6 users, 5 items, 30 interactions\n5-core: 6 users, 5 items, 30 interactions" in printed
    assert "data/Shop is ready" in printed


def test_options_reach_the_pipeline(folder, capsys):
    arguments = ["--output", "out", "--k-core=0", "--duplicates", "first", "--time", "day", "--no-reviews"]
    (folder / "words.csv").write_text("user_id,item_id,day\n" + "u,i,soon\n" * 30)
    assert main(["prepare", "table", "words.csv", "--broken-share", "1", *arguments]) == 2  # words are no times
    assert "30 of 30 rows are broken" in capsys.readouterr().err
    (folder / "orders.csv").write_text("user_id,item_id,timestamp,rating\nu,i,2,4\nu,i,1,5\nv,i,1,3\n")
    assert main(["prepare", "table", "orders.csv", "--min-rating", "4", *arguments[:5]]) == 0
    assert (folder / "out" / "orders" / "orders.inter").read_text().splitlines()[1:] == ["u\ti\t1\t5.0"]


def test_options_of_form_and_cores_reach_the_pipeline(folder):
    lines = [
        "user_id;item_id;timestamp;rating",
        *(f'"u{n}é";i;0{n}/02/2023;"{n},5"' for n in range(1, 4)),
        "v;j;03/02/2023;9",
    ]
    (folder / "orders.csv").write_text("\n".join(lines), encoding="cp1252")
    form = ["--time-format", "%d/%m/%Y", "--encoding", "cp1252", "--decimal", ",", "--quotes", "trusted"]
    assert main(["prepare", "table", "orders.csv", *form, "--user-core", "1", "--item-core", "2"]) == 0
    lines = (folder / "data" / "orders" / "orders.inter").read_text(encoding="utf-8").splitlines()
    assert lines[1:] == [f"u{n}é\ti\t{1675123200 + n * 86400}\t{n}.5" for n in range(1, 4)]


def test_help_says_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "table", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("(default 5; 0: all)", "--user-core K", "--item-core K", "as --k-core", "--time-format FORMAT"):
        assert words in printed


def test_the_category_names_an_amazon_data_set(folder):
    review = {"overall": 5.0, "unixReviewTime": 1, "reviewText": "ok"}
    reviews = [{"reviewerID": f"A{user}", "asin": f"B{item}", **review} for user in range(5) for item in range(5)]
    (folder / "reviews_Toys_5.json").write_text("\n".join(map(json.dumps, reviews)))
    (folder / "meta_Toys.json").write_text("{'asin': 'B0', 'title': 'A bear'}\n")
    assert main(["prepare", "amazon-2014", ".", "--category", "Toys"]) == 0
    assert "B0\tA bear\t" in (folder / "data" / "Toys" / "Toys.item").read_text()


COMMANDS = re.findall(r"^recbole-mgr (prepare .+)$", (ROOT / "docs" / "prepare.md").read_text(encoding="utf-8"), re.M)


def test_the_documents_ten_minutes(folder):
    """The page's first command, on tables with the columns that it shows and enough rows."""
    rows = [f"u{user},i{item},2024-03-0{item + 1} 10:15:00" for user in range(6) for item in range(5)]
    (folder / "orders.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    rows = [f"i{item},Item {item},4.50,{'front.png' if item else ''}" for item in range(5)]
    (folder / "products.csv").write_text("\n".join(["item_id,title,price,image", *rows]))
    (folder / "photos").mkdir()
    for name in ("front.png", "i0.png"):
        Image.new("RGB", (20, 20)).save(folder / "photos" / name)
    assert main(shlex.split(COMMANDS[0])) == 0
    assert sorted(os.listdir("data/Shop/images")) == [f"i{item}.png" for item in range(5)]
    assert "i3\tItem 3\t4.5\t\ti3.png\n" in (folder / "data" / "Shop" / "Shop.item").read_text()


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_the_documents_commands_are_understood(folder, command, capsys):
    """Their raw files are not here, so each gets as far as asking for them; none may download."""
    assert main(shlex.split(command.replace(" --download", ""))) == 2
    assert re.search("needs one of the files|does not exist", capsys.readouterr().err)


WRONG = {
    "no source": ([], "the following arguments are required: source"),
    "unknown source": (["netflix"], "invalid choice: 'netflix'"),
    "no category": (["amazon-2018", "."], "the following arguments are required: --category"),
    "no files": (["amazon-2023", ".", "--category", "Toys"], "needs one of the files Toys.jsonl.gz"),
    "both": (["ml-1m", ".", "--no-images", "--require-images"], "not allowed with argument"),
    "column": (
        ["table", "orders.csv", "--user", "who"],
        "orders.csv: has no column 'who'; name the right one with --user",
    ),
    "number": (["table", "orders.csv", "--k-core", "many"], "argument --k-core: many must be a whole number >= 0"),
    "name": (["table", "orders.csv", "--name", "a/b"], "--name a/b: a name of letters, digits, '_', '-' and '.'"),
    "share": (["table", "orders.csv", "--broken-share", "5"], "--broken-share: 5 must be a number >= 0 and <= 1"),
    "parallel": (["table", "orders.csv", "--parallel", "0"], "--parallel: 0 must be a whole number in [1, 256]"),
    "timeout": (["table", "orders.csv", "--timeout", "0"], "--timeout: 0 must be a number > 0"),
    "core": (["table", "orders.csv", "--k-core", "-1"], "--k-core: -1 must be a whole number >= 0"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_an_error_of_one_line(folder, capsys, arguments, message):
    assert main(["prepare", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (folder / "data").exists()
