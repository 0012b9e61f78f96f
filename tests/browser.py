"""A real browser for tests of pages: Chromium, headless, with a fresh profile, where one is installed."""

import shutil
from collections.abc import Iterator

import pytest

_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OWN = ("file:", "data:", "blob:", "http://127.0.0.1:")


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory) -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as engine:
        context = engine.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=program, headless=True, args=_ARGUMENTS
        )
        context.set_default_timeout(30_000)
        playwright.expect.set_options(timeout=30_000)
        yield context
        context.close()


@pytest.fixture
def open_page(_chromium) -> Iterator:
    """(address, width, height, scheme) -> page. The test fails on an error in a page, on a request that fails, and on
    one that goes anywhere but to the page's own files or server."""
    problems: list[str] = []
    pages = []

    def open_page(address, *, width=1280, height=900, scheme="light"):
        page = _chromium.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url[:200]}"))
        page.on("request", lambda r: None if r.url.startswith(_OWN) else problems.append(f"outside: {r.url[:200]}"))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not problems
