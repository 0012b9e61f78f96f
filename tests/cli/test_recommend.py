"""The command, on a run directory alone."""

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recbole_mgr import load
from recbole_mgr.cli.main import main
from recbole_mgr.run.pipeline import ModelRequest, run_comparison


@pytest.fixture(scope="module")
def folders(tmp_path_factory, write_dataset, tiny_settings):
    """Run directories by model; the items' titles hold what breaks careless writers, and one is missing."""
    base = tmp_path_factory.mktemp("command")
    data = write_dataset(base)
    rows = "".join(f'i{n}\tTitle, "{n}" é\tbrand {n % 3}\t{n}.5\n' for n in range(23)) + "i23\t\t\t\n"
    header = "item_id:token\ttitle:token_seq\tbrand:token\tprice:float\n"
    (data / "tiny.item").write_text(header + rows, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        settings = tiny_settings(base, n_layers=1, num_threads=1)
        requests = [ModelRequest(name, {}) for name in ("MGRLFpp", "SASRec", "HistoryAgain")]
        run_comparison(requests, "tiny", settings=settings)
    return {file.parent.parent.name.partition("-")[0]: file.parent for file in base.rglob("run.yaml")}


@pytest.fixture(scope="module")
def folder(folders):
    """That of a generating model."""
    return folders["MGRLFpp"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(folder, *arguments) -> int:
    return main(["recommend", str(folder), "--device", "cpu", *map(str, arguments)])


def test_it_imports_nothing_slow_that_it_does_not_use(folder):
    """scikit-learn, PyTorch's compiler and RecBole's sixty models take two seconds of every process."""
    code = f"""
import sys
from recbole_mgr.cli.main import main
assert main(["recommend", {str(folder)!r}, "--device=cpu", "--users", "u1"]) == 0
slow = ("sklearn", "torch._dynamo", "transformers", "recbole.model.general_recommender")
assert not [name for name in slow if name in sys.modules]
from recbole.evaluator import metrics
from recbole.model.general_recommender.pop import Pop
assert metrics.mean_squared_error([1.0, 2.0], [1.0, 4.0]) == 2.0 and "sklearn" in sys.modules
assert Pop.calculate_loss.__module__ == "recbole.model.general_recommender.pop"
assert Pop.calculate_loss.__wrapped__  # mended, though it came later
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def rows_of(found) -> list[tuple]:
    return [
        (user, rank, item, pytest.approx(score, rel=1e-6), title)
        for user, *items in zip(*found[:4], strict=True)
        for rank, (item, score, title) in enumerate(zip(*items, strict=True), start=1)
    ]


def test_all_formats_say_the_same(folder, tmp_path, capsys):
    users = ["u3", "u1", "u2"]
    expected = rows_of(load(folder).recommend(users=users, k=4, mask_history=True))
    (tmp_path / "users.txt").write_text("\n".join(users))
    ask = ("--users-file", "users.txt", "--k", 4, "--mask-history", "--batch-size", 2)
    for output in ("lists.csv", "lists.parquet", "lists.jsonl"):
        assert run(folder, *ask, "--output", output) == 0
        assert f"3 of 3 users served, written to {output}" in capsys.readouterr().out
    with open("lists.csv", encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == ["user", "rank", "item_id", "score", "title"]
    assert [(user, int(rank), item, float(score), title) for user, rank, item, score, title in lines] == expected
    assert pl.read_parquet("lists.parquet").rows() == expected
    content = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["user"] for line in content] == users
    flat = [(line["user"], rank, *item.values()) for line in content for rank, item in enumerate(line["items"], 1)]
    assert flat == expected
    assert run(folder, *ask[:-2]) == 0
    screen = capsys.readouterr().out.splitlines()
    assert len(screen) == 1 + len(expected)
    assert [line.split()[:3] for line in screen[1:]] == [[user, str(rank), item] for user, rank, item, *_ in expected]


@pytest.mark.parametrize("model", ["MGRLFpp", "SASRec", "HistoryAgain"])
def test_fields_of_the_items_and_ids_alone(folders, model, tmp_path, capsys):
    """Of a generating model, one of RecBole's and a closed-form one, on the screen and in every kind of file."""
    history = ["i22", "i23", "i1"]
    (tmp_path / "lines.jsonl").write_text(
        json.dumps({"user": "a", "history": history}) + '\n{"user":"b","history":["i5"]}\n'
    )
    first, second = load(folders[model]).recommend(histories=[history, ["i5"]], k=24).item_ids
    if model == "HistoryAgain":
        assert first[:3] == ["i1", "i23", "i22"] and second[0] == "i5"
    known = {f"i{n}": (f'Title, "{n}" é', f"{n}.5", f"brand {n % 3}") for n in range(23)} | {"i23": ("", "", "")}
    ask = ("--histories", "lines.jsonl", "--k", 24)
    expected = [(user, item, *known[item]) for user, items in (("a", first), ("b", second)) for item in items]
    outputs = [("--output", f"lists.{suffix}") for suffix in ("csv", "parquet", "jsonl")]
    for output in outputs:
        fields = ["title,price,brand"] if "lists.csv" in output else ["price", "brand"]  # the title is always shown
        assert run(folders[model], *ask, "--fields", *fields, *output) == 0
    with open("lists.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("user", "item_id", "title", "price", "brand")
    assert [tuple(row[name] for name in columns) for row in rows] == expected
    assert pl.read_parquet("lists.parquet").select(columns).rows() == expected
    lists = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [
        (line["user"], *(item[name] for name in columns[1:])) for line in lists for item in line["items"]
    ] == expected
    capsys.readouterr()
    assert run(folders[model], *ask, "--fields", "brand") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["user", "rank", "item_id", "score", "title", "brand"] and len(printed) == 49
    at = first.index("i1")
    assert printed[1 + at].split()[:3] == ["a", str(at + 1), "i1"] and printed[1 + at].endswith('Title, "1" é  brand 1')
    assert run(folders[model], *ask, "--ids") == 0
    assert capsys.readouterr().out.splitlines() == ["\t".join(["a", *first]), "\t".join(["b", *second])]
    for output in outputs:
        assert run(folders[model], *ask, "--ids", *output) == 0
    assert (tmp_path / "lists.csv").read_text().splitlines()[:2] == ["user,rank,item_id", f"a,1,{first[0]}"]
    assert pl.read_parquet("lists.parquet").rows()[24] == ("b", 1, second[0])
    assert json.loads((tmp_path / "lists.jsonl").read_text().splitlines()[1]) == {"user": "b", "items": second}


def test_a_field_that_there_is_not_is_refused_before_anything_is_written(folders, capsys):
    for folder in folders.values():
        assert run(folder, "--users", "u1", "--fields", "colour", "--output", "lists.csv") == 2
        assert "--fields colour: " in (said := capsys.readouterr().err) and "items.tsv has brand, price" in said


def test_histories_from_arguments_and_files_agree(folder, tmp_path, capsys):
    (tmp_path / "plain.txt").write_text("i1 i2 i3\n")
    (tmp_path / "lines.jsonl").write_text('{"user": "1", "history": ["i1", "i2", "i3"]}\n')
    printed = []
    for ask in (("--history", "i1", "i2", "i3"), ("--histories", "plain.txt"), ("--histories", "lines.jsonl")):
        assert run(folder, *ask, "--k", 5) == 0
        printed.append(capsys.readouterr().out)
    assert len(set(printed)) == 1 and len(printed[0].splitlines()) == 6


def test_only_some_items(folder, tmp_path):
    (tmp_path / "stock.txt").write_text("i3\ni4\n")
    assert run(folder, "--users", "u1", "--only", "stock.txt", "--output", "lists.csv") == 0
    assert sorted(pd.read_csv("lists.csv")["item_id"]) == ["i3", "i4"]


def test_unknown_ids_fail_without_a_file_or_are_listed(folder, tmp_path, capsys):
    (tmp_path / "baskets.txt").write_text("i1\ni2 gone lost\ngone\n")
    ask = ("--histories", "baskets.txt", "--output", "lists.jsonl", "--batch-size", 1)
    assert run(folder, *ask) == 2
    assert "error: history 2: no such items: 'gone', 'lost'" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["baskets.txt"]
    assert run(folder, *ask, "--unknown", "skip") == 0
    captured = capsys.readouterr()
    assert "2 of 3 users served" in captured.out
    assert "unknown ids skipped: gone, lost; all of them in lists.jsonl.unknown.txt" in captured.err
    assert (tmp_path / "lists.jsonl.unknown.txt").read_text() == "gone\nlost\n"
    lists = [json.loads(line)["items"] for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [len(items) for items in lists] == [10, 10, 0]
    (tmp_path / "baskets.txt").write_text("i1\ni2\n")
    assert run(folder, *ask) == 0
    assert not (tmp_path / "lists.jsonl.unknown.txt").exists()


def test_new_items_of_a_folder(folder, tmp_path, capsys):
    shop = tmp_path / "shop"
    shop.mkdir()
    rng = np.random.default_rng(1)
    for modality, tokens in (("text", ["i1", "n1", "n2"]), ("image", ["n2", "n3"])):
        np.save(shop / f"shop.{modality}.npy", rng.normal(size=(len(tokens), 6)).astype(np.float32))
        (shop / f"shop.{modality}.ids").write_text("\n".join(tokens))
    (shop / "shop.item").write_text("item_id:token\ttitle:token_seq\nn2\tNew and shiny\nbare\tNo vector\n")
    (tmp_path / "new.txt").write_text("n1\nn2\nn3\n")
    ask = ("--history", "i1", "n3", "--new-items", shop, "--only", "new.txt", "--output", "lists.csv")
    assert run(folder, *ask) == 0
    told = capsys.readouterr().err
    assert "3 new items can be recommended" in told
    assert "1 left out, for want of a vector: bare" in told
    titles = pd.read_csv("lists.csv", keep_default_na=False).set_index("item_id")["title"].to_dict()
    assert titles == {"n1": "", "n2": "New and shiny", "n3": ""}
    for file in shop.glob("*.npy"):
        file.unlink()
    assert run(folder, *ask) == 2
    assert "no file shop.<modality> or shop.<modality>.npy for any modality" in capsys.readouterr().err


def test_new_items_of_another_encoder_are_refused(folder, tmp_path, capsys):
    copy, shop = tmp_path / "copy", tmp_path / "shop"
    shutil.copytree(folder, copy)
    (copy / "encoders").mkdir()
    (copy / "encoders/text.yaml").write_text("fingerprint: abc\n")
    shop.mkdir()
    np.save(shop / "shop.text.npy", np.ones((1, 6), dtype=np.float32))
    (shop / "shop.text.ids").write_text("n1\n")
    ask = ("--history", "i1", "--new-items", shop)
    assert run(copy, *ask) == 2
    complaint = capsys.readouterr().err
    assert "these vectors were made nobody knows how, those of the run's catalogue by abc" in complaint
    assert f"recbole-mgr encode shop --data_path {tmp_path} --modality text --like {copy}" in complaint
    (shop / "shop.text.yaml").write_text("fingerprint: abd\n")
    assert run(copy, *ask) == 2
    assert (
        "these vectors were made by another encoder (abd), those of the run's catalogue by abc"
        in capsys.readouterr().err
    )
    (shop / "shop.text.yaml").write_text("fingerprint: abc\n")
    assert run(copy, *ask) == 0


def test_an_existing_output_survives_a_failure(folder, tmp_path, capsys):
    (tmp_path / "lists.csv").write_text("before")
    (tmp_path / "none.txt").write_text("\n")
    for ask in (("--users", "u1", "nobody"), ("--users-file", "none.txt")):
        assert run(folder, *ask, "--output", "lists.csv", "--batch-size", 1) == 2
        assert (tmp_path / "lists.csv").read_text() == "before"
    assert "the list of users or histories is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "one of the arguments --users --users-file --history --histories is required"),
        (("--users", "u1", "--history", "i1"), "not allowed with argument"),
        (("--users", "u1", "--output", "lists.xlsx"), "lists.xlsx: the format follows from the suffix, one of .csv"),
        (("--users", "u1", "--k", "0"), "k: 0 must be a whole number >= 1"),
        (("--users", "u1", "--k", "many"), "--k: many must be a whole number >= 1"),
        (("--users-file", "none.txt"), "none.txt does not exist"),
    ],
)
def test_wrong_arguments_end_with_one_line(folder, arguments, message, capsys):
    assert run(folder, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_told(tmp_path, capsys):
    assert run(tmp_path, "--users", "u1") == 2
    assert "run.yaml does not exist; name the folder of a finished run" in capsys.readouterr().err
