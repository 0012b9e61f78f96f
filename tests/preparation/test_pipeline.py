"""The whole way: order of the steps, counts, interruption at any point, and errors that say what to do."""

import csv
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from recbole_mgr.preparation import interactions as interactions_module
from recbole_mgr.preparation import pipeline, raw_lines, writer
from recbole_mgr.preparation.download import DownloadLimits
from recbole_mgr.preparation.pipeline import Settings, prepare
from recbole_mgr.preparation.sources.table import Columns, Table

QUICK = DownloadLimits(parallel=2, timeout=1, attempts=1)


def write_table(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def shop(folder, pairs, images=None, reviews=None):
    """Tables of interactions (one second apart, with a rating 1..5) and of items, where ``images`` are given."""
    rows = [(u, i, 1_700_000_000 + n, n % 5 + 1, (reviews or {}).get(n)) for n, (u, i) in enumerate(pairs)]
    write_table(folder / "orders.csv", ["user_id", "item_id", "timestamp", "rating", "review"], rows)
    if images is not None:
        write_table(folder / "items.csv", ["item_id", "title", "image"], [(i, f"t {i}", file) for i, file in images])
    return Table(folder / "orders.csv", folder / "items.csv" if images is not None else None, Columns())


def run(source, folder, said=None, **settings):
    core = settings.pop("k_core", 0)
    settings = {"name": "Shop", "output": folder / "data", "limits": QUICK, **settings}
    settings = {"user_core": core, "item_core": core, **settings}
    return prepare(source, Settings(**settings), (said if said is not None else []).append)


def rows_of(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:-1]]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def dense(users=6, items=5):
    return [(f"u{u}", f"i{i}") for u in range(users) for i in range(items)]


def test_nothing_is_lost_or_doubled(tmp_path, monkeypatch):
    """All rows of a messy table arrive, in batches of every kind, against an independent sort."""
    monkeypatch.setattr(interactions_module, "clean_text", lambda texts: texts)
    for module in (raw_lines, writer):
        monkeypatch.setattr(module, "BATCH_ROWS" if module is raw_lines else "_ROWS", 37)
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}", float(t), f"r{n}") for n, (u, i, t) in enumerate(rng.integers([9, 7, 5], size=(500, 3)))]
    rows = [row if n % 3 else (*row[:3], None) for n, row in enumerate(rows)]
    pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "review"], orient="row").write_parquet(
        tmp_path / "x.parquet"
    )
    folder = run(Table(tmp_path / "x.parquet", None, Columns()), tmp_path)
    users = {user: place for place, user in enumerate(dict.fromkeys(row[0] for row in rows))}
    expected = sorted(rows, key=lambda row: (users[row[0]], row[2]))
    assert rows_of(folder / "Shop.inter") == [[user, item, f"{time:.0f}"] for user, item, time, _ in expected]
    assert rows_of(folder / "Shop.review") == [[u, i, review] for u, i, _, review in rows if review]
    assert {row[0] for row in rows_of(folder / "Shop.item")} == {row[1] for row in rows}


def test_items_without_picture_go_before_the_core_is_taken(tmp_path, server, picture):
    """i4 has no picture, i3's link is dead: without them u5, who has little else, falls out of the 3-core too."""
    server.files["a.jpg"] = picture()
    pairs = [pair for pair in dense() if pair not in {("u5", "i0")}]
    pairs += [("u9", "i4")] * 2
    images = [(f"i{n}", f"{server.url}/ok/a.jpg") for n in range(3)] + [("i3", f"{server.url}/dead/x.jpg"), ("i4", "")]
    said = []
    folder = run(shop(tmp_path, pairs, images), tmp_path, said, k_core=3, images="require")
    assert {row[0] for row in rows_of(folder / "Shop.inter")} == {f"u{n}" for n in range(5)}
    assert {row[1] for row in rows_of(folder / "Shop.inter")} == {"i0", "i1", "i2"}
    assert sorted(os.listdir(folder / "images")) == ["i0.jpg", "i1.jpg", "i2.jpg"]
    provenance = yaml.safe_load((folder / "Shop.provenance.yaml").read_text())
    counts = [
        (step["step"], step["users"], step["items"], step["interactions"])
        for step in provenance["preparation"]["steps"]
    ]
    assert counts == [
        ("read", 7, 5, 31),
        ("items with a picture or its URL", 6, 4, 23),
        ("3-core", 6, 4, 23),
        ("items whose picture is there", 6, 3, 17),
        ("3-core", 5, 3, 15),
    ]
    assert said[:5] == [f"{step}: {u} users, {i} items, {n} interactions" for step, u, i, n in counts]
    assert (provenance["users"], provenance["items"], provenance["interactions"]) == (5, 3, 15)
    assert provenance["items_without_picture"] == 0
    assert sorted(path for path, _ in server.requests) == ["/dead/x.jpg", "/ok/a.jpg"]  # one URL, one request


def test_reviews_follow_their_interactions(tmp_path):
    reviews = {0: "low", 4: "five", 9: "five again", 14: "third"}
    source = shop(tmp_path, [("u", "i"), ("v", "j"), ("u", "j"), ("v", "i"), ("u", "i")] * 3, reviews=reviews)
    folder = run(source, tmp_path, min_rating=5, duplicates="last")
    assert rows_of(folder / "Shop.inter") == [["u", "i", "1700000014", "5.0"]]
    assert rows_of(folder / "Shop.review") == [["u", "i", "third"]]


def test_counts_of_what_is_repeated_or_undescribed(tmp_path):
    source = shop(tmp_path, [("u", "i"), ("u", "j"), ("u", "i")], [("i", ""), ("i", ""), ("z", "")])
    provenance = yaml.safe_load((run(source, tmp_path) / "Shop.provenance.yaml").read_text())
    assert provenance["repeated_pairs"] == 1
    rows = provenance["preparation"]["rows"]["items (items.csv)"]
    assert rows["read"] == 3 and rows["kept"] == 1
    assert rows["left_out"] == {
        "a second row of an item": 1,
        "of items without interactions": 1,
        "of items that were left out": 0,
    }
    assert provenance["preparation"]["joins"]["items that have a row of their own"] == "1 of 2"
    assert provenance["items_without_picture"] == 2


def test_pictures_are_not_reencoded_and_cost_no_space(tmp_path, picture):
    (tmp_path / "photos").mkdir()
    original = tmp_path / "photos" / "i0.jpg"
    original.write_bytes(picture())
    folder = run(shop(tmp_path, dense()), tmp_path, picture_folder=tmp_path / "photos")
    assert (folder / "images" / "i0.jpg").samefile(original)
    assert not (folder / "missing_pictures.tsv").read_text().count("i0\t")


@pytest.mark.parametrize("linked", [True, False])
def test_pictures_are_on_the_disk_before_the_data_set_has_its_name(tmp_path, monkeypatch, picture, linked):
    """Else a crash of the machine could leave a data set that is complete by its name, with empty pictures."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "i0.jpg").write_bytes(picture())
    if not linked:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another file system")))
    steps, rename = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr(os, "replace", lambda source, target: (steps.append(str(target)), rename(source, target)))
    folder = run(shop(tmp_path, dense()), tmp_path, picture_folder=tmp_path / "photos")
    before = steps[: steps.index(str(folder))]
    staging = folder.with_name(".Shop.partial") / "Shop"
    written = [staging, *(staging / path.relative_to(folder) for path in folder.rglob("*"))]
    assert staging / "images" / "i0.jpg" in written
    assert set(map(str, written)) <= set(before)


def test_no_images_neither_looks_nor_asks(tmp_path, server):
    source = shop(tmp_path, dense(), [("i0", f"{server.url}/ok/a.jpg")])
    folder = run(source, tmp_path, images="none")
    assert not server.requests
    assert not (folder / "images").exists()
    assert rows_of(folder / "Shop.item")[0] == ["i0", "t i0", f"{server.url}/ok/a.jpg", ""]


ERRORS = {
    "nothing left": ({"k_core": 50}, "nothing is left after the step '50-core'.*loosen --k-core"),
    "no pictures": ({"images": "require"}, "nothing is left after the step 'items with a picture or its URL'"),
    "no folder": ({"picture_folder": Path("nowhere")}, "nowhere: no such folder of pictures"),
}


@pytest.mark.parametrize(("settings", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_leave_no_data_set(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(shop(tmp_path, dense()), tmp_path, **settings)
    assert not (tmp_path / "data" / "Shop").exists()


def test_the_list_of_pictures_to_get_is_there_after_the_error_that_names_it(tmp_path, silent_port):
    urls = [f"http://127.0.0.1:{silent_port}/{n}.jpg" for n in range(3)]
    source = shop(tmp_path, dense(), [(f"i{n}", url) for n, url in enumerate(urls)])
    with pytest.raises(ValueError, match="no picture server answers") as error:
        run(source, tmp_path)
    listing = tmp_path / "data" / ".Shop.partial" / "picture_urls.txt"
    assert str(listing) in str(error.value)
    assert listing.read_text().split() == urls
    assert [*listing.parent.iterdir()] == [listing]


def test_a_finished_data_set_is_never_touched(tmp_path):
    source = shop(tmp_path, dense())
    before = content(run(source, tmp_path))
    with pytest.raises(ValueError, match="Shop exists already; remove it, or choose another --name or --output"):
        run(source, tmp_path)
    assert content(tmp_path / "data") == {f"Shop/{name}": data for name, data in before.items()}


def test_killed_in_the_middle_and_run_again(tmp_path, server, picture):
    """kill -9 while pictures come: the second run fetches the others only, and its files are those of a run at once."""
    for n in range(5):
        server.files[f"{n}.jpg"] = picture(size=(80 + n, 80))
    images = [(f"i{n}", f"{server.url}/ok/{n}.jpg") for n in range(5)]
    source = shop(tmp_path, dense(), images, reviews={3: "good", 8: "bad"})
    reference = content(run(source, tmp_path, output=tmp_path / "reference"))

    server.requests.clear()
    gate = threading.Event()
    answer = server.answer

    def answer_two_then_wait(request):
        if len(server.requests) > 2:
            gate.wait(60)
        answer(request)

    server.answer = answer_two_then_wait
    arguments = ["orders.csv", "--items", "items.csv", "--name", "Shop", "--k-core", "0", "--parallel", "2"]
    command = f"from recbole_mgr.cli.main import main; main({['prepare', 'table', *arguments]!r})"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen([sys.executable, "-c", command], cwd=tmp_path, env=environment)
    downloads = tmp_path / "data" / ".Shop.partial" / "downloads"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not downloads.exists() or len(whole(downloads)) < 2):
        time.sleep(0.01)
    process.kill()
    process.wait()
    gate.set()
    assert len(whole(downloads)) == 2
    assert not (tmp_path / "data" / "Shop").exists()

    server.answer = answer
    had = {path for path, _ in server.requests[:2]}
    server.requests.clear()
    assert content(run(source, tmp_path)) == reference
    assert {path for path, _ in server.requests} == {f"/ok/{n}.jpg" for n in range(5)} - had
    assert os.listdir(tmp_path / "data") == ["Shop"]


def test_two_at_once_never_mix(tmp_path, server, picture):
    """The second is refused by name while the first waits for a picture; the first is not disturbed."""
    server.files["0.jpg"] = picture()
    source = shop(tmp_path, dense(), [("i0", f"{server.url}/ok/0.jpg")])
    gate, asked, answer = threading.Event(), threading.Event(), server.answer

    def answer_late(request):
        asked.set()
        gate.wait(60)
        answer(request)

    server.answer = answer_late
    limits = DownloadLimits(parallel=1, timeout=30, attempts=1)
    first = threading.Thread(target=run, args=(source, tmp_path), kwargs={"limits": limits})
    first.start()
    assert asked.wait(60)
    with pytest.raises(ValueError, match=r"data/Shop is being made by process \d+ on .*; wait until it is done"):
        run(shop(tmp_path, dense(3, 3)), tmp_path)
    gate.set()
    first.join()
    assert len(rows_of(tmp_path / "data" / "Shop" / "Shop.inter")) == 30
    assert os.listdir(tmp_path / "data") == ["Shop"]


@pytest.mark.parametrize("point", ["write_provenance", "publish", "rmtree"])
def test_killed_near_the_end_and_run_again(tmp_path, monkeypatch, point):
    """No data set, or a whole one and nothing beside it after the next command."""
    source = shop(tmp_path, dense())
    reference = content(run(source, tmp_path, output=tmp_path / "reference"))
    killed = [pipeline.shutil, "rmtree"] if point == "rmtree" else [pipeline, point]
    real = getattr(*killed)

    def kill(path, *arguments, **options):
        if point != "rmtree" or str(path).endswith(".partial"):
            raise KeyboardInterrupt  # what is caught nowhere in between
        real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(*killed, kill)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path)
    if point == "rmtree":
        assert os.path.exists(tmp_path / "data" / ".Shop.partial")
        with pytest.raises(ValueError, match="exists already"):
            run(source, tmp_path)
    else:
        assert not (tmp_path / "data" / "Shop").exists()
        run(source, tmp_path)
    assert content(tmp_path / "data" / "Shop") == reference
    assert os.listdir(tmp_path / "data") == ["Shop"]


def whole(folder):
    return [path for path in folder.iterdir() if path.suffix != ".part"]
