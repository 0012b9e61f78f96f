import json

import pytest

from recbole_mgr.reporting.pages.site import Site, as_json

EVIL = "</script><script>alert(1)</script>\u2028<!--"


def small_site(folder, label="Shop", **options) -> Site:
    site = Site(folder, label=label, **options)
    site.chunk("items-0", {"titles": [EVIL]})
    site.page("ids", "IDs", "ids.html", tables=[], items={}, agreements=[])
    return site


@pytest.mark.parametrize("single_file", [False, True])
def test_nothing_of_the_data_becomes_markup(tmp_path, single_file):
    page = small_site(tmp_path / "view", label=EVIL, single_file=single_file).write()
    text = "".join(file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.html"))
    assert "alert(1)</script>" not in text
    assert "<script>alert" not in text
    assert page.name == "index.html"
    if single_file:
        assert [file.name for file in sorted(tmp_path.rglob("*.*"))] == ["index.html", "view.yaml"]


def test_json_for_scripts_is_json_still():
    assert "<" not in as_json(EVIL)
    assert json.loads(as_json({"title": EVIL, "n": 1.5})) == {"title": EVIL, "n": 1.5}


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"was not written by recbole-mgr view; choose another --output"):
        Site(tmp_path, label="Shop")


def test_a_later_view_takes_the_place_of_an_earlier_one(tmp_path):
    folder = tmp_path / "view"
    small_site(folder).write()
    before = {path.name for path in folder.glob("data-*")}
    site = small_site(folder)
    site.chunk("items-1", {"titles": []})
    site.write()
    (after,) = {path.name for path in folder.glob("data-*")}
    assert after not in before
    assert f'data-chunks="{after}"' in (folder / "ids.html").read_text()


def test_a_chunk_has_one_content(tmp_path):
    site = small_site(tmp_path / "view")
    with pytest.raises(ValueError, match="items-0"):
        site.chunk("items-0", 1)
    with pytest.raises(ValueError, match="no such name"):
        site.chunk("../outside", 1)
