"""What UniMP was asked and answers, on a page. Its network has learned nothing: where things stand is what counts."""

import json

import numpy as np
import pytest
from untrained_unimp import ITEMS, TITLES, make_run

from recbole_mgr.data.histories import UserHistories
from recbole_mgr.reporting.pages.items import ShownItems, write_items
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.reporting.pages.tasks_page import add_tasks_page

# Ann takes a, c and then f, which has no picture; Bob takes b, d and e. Both rate and review the last one.
TAKEN = np.array([[1, 1], [2, 2], [1, 3], [2, 4], [1, 6], [2, 5]])
SHOWN = ITEMS[::-1]  # the page has an order of its own


def chunk(folder, name):
    (file,) = folder.glob(f"data-*/{name}.js")
    return json.loads(file.read_text(encoding="utf-8").removeprefix(f'chunk("{name}",').removesuffix(");\n"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    run = make_run(
        "rec,search,preference,explanation,selection,image",
        ratings=np.array([5, 1, np.nan, 1, 2, 5]),
        reviews=["so red", "dull", "blue", "dull", "too red", "very red"],
    )
    run = run._replace(histories=UserHistories.of(TAKEN, ["ann", "bob"]))
    site = Site(tmp_path_factory.mktemp("tasks") / "view", label="six items")
    titles = [TITLES[ITEMS.index(item)] for item in SHOWN]
    shown = write_items(site, ShownItems(SHOWN, titles, [""] * 6, [None] * 6)) | {"modalities": [], "tables": 0}
    add_tasks_page(site, {"UniMP": run}, ShownItems(SHOWN, titles, [""] * 6, [None] * 6), shown)
    site.write()
    return site.folder


def cases_of(pages, task):
    return {case["user"]: case for case in chunk(pages, f"tasks-0-{task}")}


def test_answers_stand_beside_the_truth(pages):
    last = {"ann": SHOWN.index("f"), "bob": SHOWN.index("e")}
    for task in ("recommendation", "search"):
        for user, case in cases_of(pages, task).items():
            assert case["truth"]["items"] == [last[user]]
            assert sorted(case["answer"]["items"]) == list(range(6))
            assert case["answer"]["scores"] == sorted(case["answer"]["scores"], reverse=True)
    preference = cases_of(pages, "preference")
    assert {user: case["truth"]["lines"] for user, case in preference.items()} == {"ann": ["2"], "bob": ["5"]}
    assert all(1 <= float(case["answer"]["lines"][0]) <= 5 for case in preference.values())
    explanation = cases_of(pages, "explanation")
    assert {user: case["truth"]["lines"] for user, case in explanation.items()} == {
        "ann": ["too red"],
        "bob": ["very red"],
    }
    image = cases_of(pages, "image_generation")
    assert list(image) == ["bob"]  # the item that Ann took has no picture to compare with
    assert image["bob"]["truth"]["items"] == [last["bob"]]
    assert image["bob"]["answer"]["picture"].startswith("data:image/png;base64,")
    selection = cases_of(pages, "selection")["bob"]
    assert last["bob"] in selection["truth"]["items"]
    assert set(selection["truth"]["items"]) < set(selection["candidates"])
    assert set(selection["answer"]["items"]) <= set(selection["candidates"])


def test_prompts_show_pictures_items_and_what_was_said(pages):
    first, _, question = cases_of(pages, "preference")["ann"]["prompt"]
    a = SHOWN.index("a")
    assert first == [
        ["image", "", a],
        ["words", "red soap", -1],
        ["answer", "", -1],
        ["item", "", a],
        ["mark", "rating 5", -1],
    ]
    assert [part[0] for part in question] == ["words", "question", "answer"]  # about f, which has no picture
    assert question[1][1] == "Which rating?"
    assert question[0][1].startswith("blue mask")
    drawn = cases_of(pages, "image_generation")["bob"]["prompt"]
    assert ["picture", "2 codes", -1] in drawn[0]


def test_in_a_browser(pages, open_page):
    from playwright.sync_api import expect

    page = open_page((pages / "tasks.html").as_uri(), width=390)
    expect(page.locator("article.user")).to_have_count(2)
    expect(page.locator(".prompt .part-photo").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("link", name="Preference").click()
    expect(page.locator(".said").first).to_be_visible()
    page.get_by_role("link", name="Image generation").click()
    expect(page.locator("article.user")).to_have_count(1)
    expect(page.locator("img.drawn")).to_have_js_property("naturalWidth", 4)
    page.locator(".prompt a.part-photo").first.click()
    expect(page.locator("dialog h2")).to_have_text("blue soap")
