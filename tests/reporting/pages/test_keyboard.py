"""Every kind of page by keyboard: all controls are reached, in the order in which one reads, and the focus shows."""

import re

import pytest
from browser import served_pages

from recbole_mgr.reporting.pages.view import write_view

# What can be focused, in the order of the document, from what has the focus on; with what is wrong about it.
WALK = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter(
    (e) => e.checkVisibility({ visibilityProperty: true }) && !e.disabled && e.tabIndex >= 0);
  const problems = all.filter((e) => e.tabIndex > 0).map((e) => ["order of its own", e.outerHTML.slice(0, 120)]);
  let before = null;
  for (const element of all) {
    const told = (problem) => problems.push([problem, element.outerHTML.slice(0, 120)]);
    element.focus();
    if (document.activeElement !== element) { told("no focus"); continue; }
    const style = getComputedStyle(element);
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1.5) told("focus does not show");
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
    const { left, right, top, bottom } = element.getBoundingClientRect();
    if (right - left < 1 || bottom - top < 1 || right < 1 || left > innerWidth) told("nothing to see");
    const name = element.getAttribute("aria-label") || element.title || element.textContent.trim() ||
      (element.labels && element.labels.length ? element.labels[0].textContent : "");
    if (!name) told("no name");
    if (before && !element.contains(before.element) && !before.element.contains(element)) {
      const was = before.element.getBoundingClientRect();
      if (bottom <= was.top && right <= was.left) told("stands before the one before it");
    }
    before = { element };
  }
  document.activeElement.blur();
  window.scrollTo(0, 0);
  return { problems, count: all.length };
}"""
HERE = """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")].indexOf(
  document.activeElement)"""


def walked(page) -> int:
    """How many controls the page has; fails where one is not as it should be."""
    page.keyboard.press("Tab")  # who uses the keyboard is shown the focus
    found = page.evaluate(WALK)
    assert found["problems"] == []
    return found["count"]


@pytest.fixture(scope="module")
def pages(shop_runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("walked") / "view"
    write_view(None, shop_runs, folder, num_users=4)
    return folder


@pytest.fixture(scope="module")
def address(shop_runs, tmp_path_factory):
    runs = {"lf": shop_runs[2]}
    with served_pages(runs, tmp_path_factory.mktemp("served") / "view", num_users=4) as address:
        yield address


def test_all_controls_are_reached_and_the_focus_shows(pages, open_page):
    for name in ("data", "ids", "comparison", "users"):
        assert walked(open_page((pages / f"{name}.html").as_uri())) > 10


def test_a_filter_keeps_the_focus(pages, open_page):
    from playwright.sync_api import expect

    page = open_page((pages / "users.html").as_uri())
    for name, option in (("Found by", "2"), ("Target", "new")):
        chosen = page.get_by_label(name, exact=True)
        chosen.focus()
        chosen.select_option(option)
        expect(page).to_have_url(re.compile(f"={option}"))
        expect(chosen).to_be_focused()


def test_trying_by_keyboard(address, open_page):
    from playwright.sync_api import expect

    page = open_page(address)
    assert walked(page) > 30
    page.reload()
    page.wait_for_selector("body[data-ready]")
    places = []
    for _ in range(12):
        page.keyboard.press("Tab")
        places.append(page.evaluate(HERE))
    assert places == sorted(set(places))  # one after the other, none twice

    add = page.get_by_role("button", name="Add Thing 13 of wood")
    add.focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-view=try] .list-row")).to_have_count(2)
    expect(add.last).to_be_focused()  # though all was drawn anew
    page.get_by_role("button", name="Clear").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-view=try] .list-row")).to_have_count(1)
    walked(page)
