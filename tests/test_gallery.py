"""The README's pictures are made of the pages as they are, from the bundled sample.

``GALLERY=1 python -m pytest tests/test_gallery.py`` trains two runs and makes the pictures anew; ``GALLERY=<TIGER's run
directory>:<MGRLFpp's>`` takes runs on the sample that are there.
"""

import os
from pathlib import Path

import pytest

from recbole_mgr.reporting.pages.view import find_targets, write_view
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

ROOT = Path(__file__).parent.parent
FIGURES = ROOT / "docs" / "figures"
PICTURES = ("view_ids.png", "view_users.png", "view_beams.png")


def test_the_readme_shows_the_gallery():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in PICTURES:
        assert f"docs/figures/{name}" in text
        assert (FIGURES / name).stat().st_size < 250_000


@pytest.mark.skipif("GALLERY" not in os.environ, reason="trains for minutes; set GALLERY=1 to make the pictures anew")
def test_make_the_gallery(tmp_path, monkeypatch, open_page):
    if ":" in os.environ["GALLERY"]:
        folders = [Path(folder) for folder in os.environ["GALLERY"].split(":")]
    else:
        folders = _train(tmp_path, monkeypatch)
    data, _ = find_targets(["Beauty"], ROOT / "dataset_atomic")
    write_view(data, folders, tmp_path / "view", num_users=40)
    page = open_page((tmp_path / "view" / "ids.html").as_uri(), width=1200, height=820)
    page.locator(".branch-photos img").first.wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FIGURES / PICTURES[0])
    page = open_page((tmp_path / "view" / "users.html").as_uri() + "#found=1&missed=0", width=1200, height=820)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FIGURES / PICTURES[1])
    page.locator(".list-row > details summary").nth(1).click()
    beams = page.locator(".beams").first
    beams.scroll_into_view_if_needed()
    beams.screenshot(path=FIGURES / PICTURES[2])


def _train(folder, monkeypatch) -> list[Path]:
    monkeypatch.chdir(folder)
    settings = {"data_path": str(ROOT / "dataset_atomic"), "checkpoint_dir": str(folder / "saved"), "epochs": 8}
    requests = [ModelRequest("TIGER", {"modalities": ["text"]}), ModelRequest("MGRLFpp", {})]
    run_comparison(requests, "Beauty", settings=settings)
    return [next((folder / "saved").glob(f"*/{request.name}*/seed-*")) for request in requests]
