"""Raw files, as their publishers write them, to item ids: prepare, encode, check, run, recommend, as commands."""

import csv
import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from recbole_mgr.cli.main import main

USERS, ITEMS, TAKEN = 12, 9, 6
DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
START = 1_500_000_000 // DAY
TRAINING = "--epochs=1 --hidden_size=8 --inner_size=8 --n_layers=1 --n_heads=1 --codebook_size=4 --codebook_levels=2"
SEARCH = "--beam_size=5 --valid_beam_size=5 --topk=[5] --valid_metric=NDCG@5 --show_progress=False --state=ERROR"


def purchases() -> list[tuple[int, int, int]]:
    """(user, item, day): six items of nine a user, in an order of their own."""
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(ITEMS), (USERS, 1)), axis=1)
    return [(user, int(item), START + day) for user in range(USERS) for day, item in enumerate(orders[user, :TAKEN])]


def title(item: int) -> str:
    return f"{('rose', 'mint', 'oak')[item % 3]} {('soap', 'balm', 'comb')[item // 3]}"


def write_pictures(folder: Path, names: list[str]) -> list[str]:
    folder.mkdir(parents=True)
    for item, name in enumerate(names):
        shade = Image.new("RGB", (32, 32), (item * 25, 255 - item * 25, 90))
        (folder / name).parent.mkdir(exist_ok=True)
        Image.blend(shade, Image.effect_noise((32, 32), 80).convert("RGB"), 0.3).save(folder / name)
    return ["--images", str(folder)]


def write_gz(path: Path, lines: list[str]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


# -- raw files; each function returns the arguments of prepare and the id of an item


def table(raw: Path) -> tuple[list[str], Callable]:
    with open(raw / "orders.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("user_id", "item_id", "timestamp"), *((f"u{u}", f"i{i}", d * DAY) for u, i, d in purchases())]
        )
    with open(raw / "products.csv", "w", newline="") as file:
        csv.writer(file).writerows([("item_id", "title"), *((f"i{item}", title(item)) for item in range(ITEMS))])
    pictures = write_pictures(raw / "photos", [f"i{item}.png" for item in range(ITEMS)])
    return ["table", str(raw / "orders.csv"), "--items", str(raw / "products.csv"), *pictures], "i{}".format


def amazon_2014(raw: Path, reviews: str = "reviews_Beauty_5.json.gz", meta: str = "meta_Beauty.json.gz", write=repr):
    rows = [
        {"reviewerID": f"A{u}", "asin": f"B{i}", "overall": 5.0, "reviewText": "good", "unixReviewTime": d * DAY}
        for u, i, d in purchases()
    ]
    write_gz(raw / reviews, list(map(json.dumps, rows)))
    write_gz(raw / meta, [write({"asin": f"B{item}", "title": title(item)}) for item in range(ITEMS)])
    pictures = write_pictures(raw / "photos", [f"B{item}.jpg" for item in range(ITEMS)])
    return ["amazon-2014", str(raw), "--category", "Beauty", *pictures], "B{}".format


def amazon_2018(raw: Path):
    arguments, item_id = amazon_2014(raw, "Beauty_5.json.gz", "meta_Beauty.json.gz", json.dumps)
    return ["amazon-2018", *arguments[1:]], item_id


def amazon_2023(raw: Path):
    rows = [
        {
            "user_id": f"AE{u}",
            "parent_asin": f"P{i}",
            "asin": f"V{i}",
            "rating": 4.0,
            "text": "good",
            "timestamp": d * DAY * 1000,
        }
        for u, i, d in purchases()
    ]
    (raw / "raw_review_Beauty").mkdir()
    pl.DataFrame(rows).write_parquet(raw / "raw_review_Beauty" / "full-00000.parquet")
    metas = [json.dumps({"parent_asin": f"P{item}", "title": title(item)}) for item in range(ITEMS)]
    (raw / "meta_Beauty.jsonl").write_text("\n".join(metas))
    pictures = write_pictures(raw / "photos", [f"P{item}.jpg" for item in range(ITEMS)])
    return ["amazon-2023", str(raw), "--category", "Beauty", *pictures], "P{}".format


def movielens_100k(raw: Path):
    lines = [f"{u + 1}\t{i + 1}\t4\t{d * DAY}" for u, i, d in purchases()]
    (raw / "u.data").write_text("\n".join(lines) + "\n")
    genres = "|".join(["0"] * 18 + ["1"])
    items = [f"{item + 1}|{title(item)} é (1995)|01-Jan-1995||http://x|{genres}" for item in range(ITEMS)]
    (raw / "u.item").write_text("\n".join(items) + "\n", encoding="latin-1")
    pictures = write_pictures(raw / "somewhere", [f"{item + 1}.jpg" for item in range(ITEMS)])
    return ["ml-100k", str(raw), "--name", "movies", *pictures], lambda item: str(item + 1)


def movielens_1m(raw: Path):
    lines = [f"{u + 1}::{i + 1}::4::{d * DAY}" for u, i, d in purchases()]
    (raw / "ratings.dat").write_text("\n".join(lines) + "\n")
    items = [f"{item + 1}::{title(item)} (1995)::Drama|Crime" for item in range(ITEMS)]
    (raw / "movies.dat").write_text("\n".join(items) + "\n", encoding="latin-1")
    write_pictures(raw / "posters", [f"{item + 1}.jpg" for item in range(ITEMS)])
    return ["ml-1m", str(raw), "--name", "movies"], lambda item: str(item + 1)


def h_and_m(raw: Path):
    bought = [f"{date.fromordinal(EPOCH + d)},c{u},010877500{i},0.05,2" for u, i, d in purchases()]
    (raw / "transactions_train.csv").write_text(
        "\n".join(["t_dat,customer_id,article_id,price,sales_channel_id", *bought]) + "\n"
    )
    described = [f"010877500{item},{title(item)},Ladies,Upper,Top,Black,Basics,soft" for item in range(ITEMS)]
    header = "article_id,prod_name,index_name,product_group_name,product_type_name,colour_group_name,department_name"
    (raw / "articles.csv").write_text("\n".join([f"{header},detail_desc", *described]) + "\n")
    write_pictures(raw / "images", [f"010/010877500{item}.jpg" for item in range(ITEMS)])
    return ["h-and-m", str(raw)], "010877500{}".format


def atomic(raw: Path):
    folder = raw / "Old"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *(f"u{u}\ti{i}\t{d * DAY}" for u, i, d in purchases())]
    (folder / "Old.inter").write_text("\n".join(lines) + "\n")
    lines = ["item_id:token\ttitle:token_seq", *(f"i{item}\t{title(item)}" for item in range(ITEMS))]
    (folder / "Old.item").write_text("\n".join(lines) + "\n")
    pictures = write_pictures(raw / "photos", [f"i{item}.png" for item in range(ITEMS)])
    return ["atomic", str(folder), *pictures], "i{}".format


@pytest.mark.parametrize(
    "source", [table, amazon_2014, amazon_2018, amazon_2023, movielens_100k, movielens_1m, h_and_m, atomic]
)
def test_from_raw_files_to_item_ids(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    arguments, item_id = source(tmp_path / "raw")

    assert main(["prepare", *arguments, "--k-core", "0", "--no-reviews"]) == 0
    (folder,) = (tmp_path / "data").iterdir()
    name = folder.name
    for modality in ("text", "image"):
        assert main(["encode", name, "--data_path", "data", "--modality", modality, "--dim", "4"]) == 0
    assert main(["check", name, "--data_path", "data", "--k", "1"]) == 0
    run = ["run", "--model", "MGRLFpp", "--dataset", name, "--data_path", "data", *TRAINING.split(), *SEARCH.split()]
    assert main(run) == 0
    (run_dir,) = (tmp_path / "saved").glob("*/MGRLFpp-*/seed-*")
    asked = [item_id(0), item_id(4)]
    assert (
        main(["recommend", str(run_dir), "--history", *asked, "--k", "3", "--mask-history", "--output", "out.jsonl"])
        == 0
    )

    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    catalogue = {item_id(item): title(item) for item in range(ITEMS)}
    found = {item["item_id"]: item["title"] for item in json.loads(line)["items"]}
    assert len(found) == 3 and found.keys() <= catalogue.keys() - set(asked)
    assert all(catalogue[token] in shown for token, shown in found.items())


def test_the_ten_minutes_of_the_documents(tmp_path, monkeypatch, capsys):
    """The commands as printed, with fewer users and smaller networks."""
    page = (Path(__file__).parent.parent / "docs" / "prepare.md").read_text(encoding="utf-8")
    chapter = page.split("## Your own data in ten minutes")[1].split("\n## ")[0]
    commands = [line.split()[1:] for line in chapter.splitlines() if line.startswith("recbole-mgr ")]
    assert [command[0] for command in commands] == ["prepare", "encode", "encode", "check", "run", "recommend"]
    table(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        if command[0] == "encode":
            command += ["--dim", "4"]
        if command[0] == "run":
            command[command.index("SASRecWindows")] = "SASRecWindows:hidden_size=8"
            command += ["--epochs=1", "--topk=[5]", "--valid_metric=NDCG@5", "--codebook_levels=2", "--codebook_size=4"]
        if command[0] == "recommend":
            named = command[1].replace("<data>", "*").replace("<model>", "MGRLFpp-*")  # as a reader does
            (run_dir,) = tmp_path.glob(named)
            _, first, second, *_ = Path("data/Shop/Shop.inter").read_text().splitlines()
            items = [row.split("\t")[1] for row in (first, second)]
            command = [command[0], str(run_dir), "--history", *items, "--k", "2"]
        assert main(command) == 0, command
    assert "rank" in capsys.readouterr().out.splitlines()[-3]
