"""A real browser for tests of pages, Chromium, headless, with a fresh profile, where one is installed; and a server of
pages that are alive."""

import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
_PATIENCE = 120_000  # milliseconds; a machine that is busy with other things opens a page in half a minute
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
        context.set_default_timeout(_PATIENCE)
        playwright.expect.set_options(timeout=_PATIENCE)
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
        page.on("requestfailed", lambda request: problems.extend(_failed(request)))
        page.on("request", lambda r: None if r.url.startswith(_OWN) else problems.append(f"outside: {r.url[:200]}"))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not problems, problems


def _failed(request) -> list[str]:
    """What a request that failed did wrong: nothing where the page was loaded anew or closed before its answer."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"failed: {request.url[:200]} {request.failure}"]


@contextmanager
def served_pages(runs: Mapping[str, Path], folder: Path, *, num_users: int) -> Iterator[str]:
    """The address of a server of some runs, by name, and of their pages, which ``folder`` gets."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    import uvicorn
    from starlette.staticfiles import StaticFiles

    from recbole_mgr.reporting.pages.view import write_view
    from recbole_mgr.serving.http.app import create_app
    from recbole_mgr.serving.http.service import Service

    view = write_view(None, list(runs.values()), folder, num_users=num_users, service_runs=list(runs))
    numbers = {token: number for number, token in enumerate(view.item_tokens)}
    app = create_app(Service(runs, device="cpu"), numbers=numbers)
    app.mount("/", StaticFiles(directory=folder, html=True))
    # its own logging would close every handler that there is, and absl's closes the stream that pytest captures
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
