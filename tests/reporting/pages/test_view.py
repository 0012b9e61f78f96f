import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import served_pages

from recbole_mgr.cli.main import main
from recbole_mgr.integration.config import settings_read
from recbole_mgr.reporting.pages.view import DataFolder, find_targets, write_view
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.serving import load


def chunk(folder, name):
    (file,) = folder.glob(f"data-*/{name}.js")
    text = file.read_text(encoding="utf-8")
    return json.loads(text.removeprefix(f'chunk("{name}",').removesuffix(");\n"))


@pytest.fixture(scope="module")
def pages(shop_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "view"
    write_view(DataFolder(shop_data, "tiny"), [], folder)
    return folder


def test_the_tree_holds_every_item_once(pages):
    tree = chunk(pages, "tree-0")
    assert [digit["name"] for digit in tree["digits"]] == ["text 1", "text 2", "image 1", "image 2", "collision digit"]
    assert sum(branch["count"] for branch in tree["root"]) == 25
    items = [number for code in range(3) for number in chunk(pages, f"branch-0-{code}")["items"]]
    assert sorted(items) == list(range(25))
    assert "maker" not in {branch["words"] for branch in tree["root"]}  # all items have this word


def test_an_items_chunks(pages):
    items = chunk(pages, "items-0")
    assert items["tokens"][7] == "i7"
    assert items["titles"][0] == "<img src=x onerror=alert(1)>"
    assert [place for place, address in enumerate(items["pictures"]) if not address] == [4, 5, 24]
    assert chunk(pages, "codes-0-0")[0] == [0, 0, 0, 0, 0]
    near = chunk(pages, "near-id-0-0")[0]
    assert near[0] == [24, 4.0]
    assert chunk(pages, "near-text-0")[7] == []  # it has no vector


def test_what_is_named_is_found(shop_data, tmp_path):
    data, runs = find_targets(["tiny"], shop_data.parent)
    assert (data, runs) == (DataFolder(shop_data.parent / "tiny", "tiny"), [])
    assert find_targets([str(shop_data)], Path("nowhere"))[0] == DataFolder(shop_data, "tiny")
    with pytest.raises(ValueError, match="no data set .*no run directory"):
        find_targets(["nothing"], tmp_path)
    with pytest.raises(ValueError, match="one view shows one data set"):
        find_targets(["tiny", str(shop_data)], shop_data.parent)


def test_command(shop_data, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["view", str(shop_data), "--output", str(output), "--single-file"]) == 0
    assert f"open {(output / 'index.html').as_uri()}" in capsys.readouterr().out
    assert main(["view", "nothing"]) == 2


@pytest.mark.parametrize("single_file", [False, True])
def test_in_a_browser(shop_data, pages, tmp_path, open_page, single_file):
    if single_file:
        write_view(DataFolder(shop_data, "tiny"), [], tmp_path / "view", single_file=True)
        pages = tmp_path / "view"
    from playwright.sync_api import expect

    page = open_page((pages / "index.html").as_uri())
    expect(page.locator("h1:visible")).to_have_text("Data")
    cards = page.locator("[data-view=items] .card")
    expect(cards).to_have_count(25)
    expect(cards.nth(0).locator(".card-title")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator("[data-view=items] .photo.none")).to_have_count(3)

    page.get_by_role("searchbox").fill("wood 13")
    expect(cards).to_have_count(1)
    page.keyboard.press("Tab")  # the keyboard reaches the item, opens it and closes it
    page.keyboard.press("Enter")
    expect(page.locator("dialog h2")).to_have_text("Thing 13 of wood")
    expect(page.locator("dialog .path .chip")).to_have_text(["1", "0", "1", "3", "0"])
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()

    page.get_by_role("link", name="Semantic IDs").click()
    expect(page.locator("h1:visible")).to_have_text("Semantic IDs")
    branches = page.locator("[data-view=tree] .branch")
    expect(branches).to_have_count(3)
    branches.first.click()
    expect(page.locator("[data-view=tree] .grid .card")).to_have_count(9)
    expect(page.locator("[data-view=tree] .path .chip")).to_have_text(["0"])
    page.go_back()
    expect(branches).to_have_count(3)
    expect(page.locator("[data-view=groups] .pair")).to_have_count(1)
    figure = page.locator("figure.plot:visible").first
    figure.scroll_into_view_if_needed()
    expect(figure.locator("svg").first).to_be_visible()


@pytest.fixture(scope="module")
def run_pages(shop_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run_pages") / "view"
    write_view(None, shop_runs, folder, num_users=10)
    return folder


def test_runs_bring_their_data_and_their_lists(run_pages, shop_runs):
    assert {page.stem for page in run_pages.glob("*.html")} == {"index", "data", "ids", "comparison", "users"}
    index, lists = chunk(run_pages, "users"), chunk(run_pages, "lists-0")
    assert len(index["users"]) == len(lists) == 10
    for place, user in enumerate(lists):
        tiger, again, _ = user["lists"]
        assert again["items"][0] == user["history"][-1] and not again["levels"]
        assert len(tiger["items"]) == len(again["items"]) == 10
        rank = index["ranks"][0][place]
        assert (tiger["items"].index(index["targets"][place]) + 1 if rank else 0) == rank
    epochs = json.loads((shop_runs[0] / "epochs.json").read_text())
    assert [entry["epoch"] for entry in epochs] == [0, 1]
    assert epochs[-1]["valid"]["ndcg@10"] >= 0


def test_runs_without_their_data(shop_runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(shop_runs[2], copy)
    settings = (copy / "settings.yaml").read_text()
    (copy / "settings.yaml").write_text(re.sub(r"(?m)^data_path: .*$", "data_path: /nowhere", settings))
    about = (copy / "run.yaml").read_text()
    (copy / "run.yaml").write_text(re.sub(r"(?m)^  settings\.yaml: .*\n", "", about))  # whose digest is another now
    write_view(None, [copy], tmp_path / "view", num_users=5)
    assert {page.stem for page in (tmp_path / "view").glob("*.html")} == {"index", "ids", "comparison", "users"}
    items = chunk(tmp_path / "view", "items-0")
    assert items["titles"][items["tokens"].index("i6")] == "Thing 6 of wood"
    assert not any(items["pictures"])


def test_users_in_a_browser(run_pages, open_page):
    from playwright.sync_api import expect

    page = open_page((run_pages / "users.html").as_uri())
    expect(page.locator("article.user")).to_have_count(4)
    expect(page.locator("article.user").first.locator(".list-row")).to_have_count(3)
    hits = [sum(0 < rank <= 10 for rank in row) for row in chunk(run_pages, "users")["ranks"]]
    page.get_by_label("Found by", exact=True).select_option("2")
    expect(page.get_by_role("status")).to_have_text(f"{hits[2]} users" if hits[2] != 1 else "1 user")
    details = page.locator("article.user .list-row > details").last
    details.locator("summary").first.click()
    expect(details.locator(".beams svg g").first).to_be_visible()
    expect(details.locator("table tbody tr")).to_have_count(5)  # two digits of each modality, and the transition
    assert details.locator("details").evaluate("e => [...e.childNodes].every((part) => part.nodeType === 1)")

    page = open_page((run_pages / "comparison.html").as_uri())
    expect(page.locator("table").first.locator("tbody tr")).to_have_count(3)
    for figure in page.locator("figure.plot").all():
        figure.scroll_into_view_if_needed()
        expect(figure.locator("svg").first).to_be_visible()
    expect(page.locator("figcaption", has_text="Learning curves")).to_be_visible()


def test_pages_of_other_runs_get_another_folder(shop_runs, tmp_path, monkeypatch, capsys):
    """A run's own folder is named by its seed, as that of any other run is."""
    monkeypatch.chdir(tmp_path)
    first, last = shop_runs[0], shop_runs[2]
    for runs in ([first], [last], [first, last]):
        assert main(["view", *map(str, runs), "--users", "0"]) == 0
    names = {f"{run.parent.name}-{run.name}" for run in (first, last)}
    assert {path.name for path in (tmp_path / "views").iterdir()} == names | {first.parent.parent.name}


def test_on_a_phone_nothing_is_wider_than_the_screen(run_pages, open_page):
    for name in ("data", "ids", "comparison", "users"):
        page = open_page((run_pages / f"{name}.html").as_uri(), width=360, height=740, scheme="dark")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 21, 20)"


@pytest.fixture(scope="module")
def service_address(shop_runs, tmp_path_factory):
    """A server of three runs and their pages; the last one has no beams."""
    runs = {"lf": shop_runs[2], "tiger": shop_runs[0], "again": shop_runs[1]}
    with served_pages(runs, tmp_path_factory.mktemp("served") / "view", num_users=4) as address:
        yield address


def test_a_history_is_built_and_the_lists_change(service_address, shop_runs, open_page):
    from playwright.sync_api import expect

    page = open_page(service_address)
    expect(page.locator("h1:visible")).to_have_text("Try it")
    expect(page.locator("[data-view=try] .list-row")).to_have_count(1)  # the history alone, and it is empty
    page.get_by_role("button", name="Add Thing 13 of wood").click()
    expect(page.locator("[data-view=try] .list-row")).to_have_count(4)
    again = page.locator(".list-row", has=page.get_by_role("list", name="List of again"))
    expect(again.locator(".card-title").first).to_have_text("Thing 13 of wood")
    expect(again.locator("details, .codes")).to_have_count(0)
    cards = page.get_by_role("list", name="List of lf").locator(".card-title")
    expect(cards).to_have_count(10)
    expected = load(shop_runs[2], device="cpu").recommend(histories=[["i13"]]).titles[0]
    expect(cards).to_have_text([title.strip() or "i3" for title in expected])
    page.get_by_label("Allowed items: words they must have").fill("wood 15")
    expect(cards).to_have_text(["Thing 15 of wood"])
    page.get_by_label("User id").fill("u3")
    page.get_by_role("button", name="Take").click()
    expect(page.get_by_role("list", name="History, the last item first").locator(".card")).not_to_have_count(1)
    page.locator("[data-view=try] .list-row > details summary").first.click()
    expect(page.locator(".beams svg g").first).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("[data-view=try] .list-row")).to_have_count(1)


def test_items_that_join_later_keep_their_places_in_lists(service_address, shop_data, open_page):
    """The pages do not have them, so their ids stand there."""
    from playwright.sync_api import expect

    page = open_page(service_address)
    vectors = {name: np.load(shop_data / f"tiny.{name}.npy").astype(float) for name in ("text", "image")}
    new = [
        {"item_id": f"fresh{row}", "vectors": {name: (rows[row] * 1.01).tolist() for name, rows in vectors.items()}}
        for row in range(12)
    ]
    try:
        answer = page.request.post(f"{service_address}/new-items", data={"items": new})
        assert answer.ok, answer.text()
        page.get_by_role("button", name="Add Thing 13 of wood").click()
        cards = page.get_by_role("list", name="List of lf").get_by_role("listitem")
        expect(cards).to_have_count(10)
        answer = page.request.post(f"{service_address}/recommend", data={"histories": [["i13"]]}).json()
        ids = [item["item_id"] for item in answer["lists"][0]["items"]]
        fresh = [place for place, item in enumerate(ids) if item.startswith("fresh")]
        assert fresh
        for place in fresh:
            expect(cards.nth(place)).to_contain_text(ids[place])
            expect(cards.nth(place)).to_contain_text(f"{place + 1}. ")
    finally:
        page.request.post(f"{service_address}/reload", data={})


def test_a_data_set_of_interactions_alone(write_dataset, tmp_path):
    folder = write_dataset(tmp_path, modalities=(), interactions=[("u1", "a", 1), ("u1", "b", 2), ("u2", "a", 1)])
    (folder / "tiny.provenance.yaml").unlink()
    write_view(DataFolder(folder, "tiny"), [], tmp_path / "view")
    text = (tmp_path / "view" / "data.html").read_text(encoding="utf-8")
    assert "No source is named." in text
    assert "There are no vectors to compare." in text
    assert chunk(tmp_path / "view", "items-0")["tokens"] == ["a", "b"]


def test_files_written_in_another_way_are_read_so(tmp_path, write_dataset, tiny_settings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = write_dataset(tmp_path)
    columns = {"USER_ID_FIELD": "buyer", "ITEM_ID_FIELD": "asin", "TIME_FIELD": "at", "encoding": "latin-1"}
    inter = data / "tiny.inter"
    inter.write_text(
        inter.read_text().replace("user_id:token\titem_id:token\ttimestamp", "buyer:token\tasin:token\tat")
    )
    (data / "tiny.item").write_bytes("asin:token\ttitle:token_seq\ni1\tCafé\n".encode("latin-1"))
    asked = ModelRequest("HistoryAgain", columns)
    settings = settings_read("HistoryAgain", tiny_settings(tmp_path, checkpoint_dir="saved"))
    folders = run_comparison([asked], "tiny", settings=settings).folders
    write_view(None, folders, tmp_path / "of_run")
    options = [f"--{key}={value}" for key, value in columns.items()]
    assert main(["view", "tiny", "--data_path=.", "--output=of_data", *options]) == 0
    for pages in ("of_run", "of_data"):
        assert "Café" in chunk(tmp_path / pages, "items-0")["titles"]
        assert "30" in (tmp_path / pages / "data.html").read_text()
