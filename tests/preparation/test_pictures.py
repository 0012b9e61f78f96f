"""Pictures in folders: found, decoded to their end, named safely."""

import os

import polars as pl
import pytest
from PIL import Image

from recbole_mgr.preparation.pictures import (
    PictureFolder,
    gather_pictures,
    picture_name,
    picture_suffix,
    place_picture,
    url_name,
)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_format_decides_the_suffix_whatever_the_name(tmp_path, picture, kind):
    path = tmp_path / "x.jpg"
    path.write_bytes(picture(kind=kind))
    assert picture_suffix(path) == {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_cut_picture_is_refused(tmp_path, picture, kind, share):
    whole = picture(kind=kind, size=(300, 300))
    path = tmp_path / "x.jpg"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match="not a picture that can be read"):
        picture_suffix(path)


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a picture that can be read"):
        picture_suffix(path)


def test_the_pixel_that_shops_send_is_a_placeholder(tmp_path, picture):
    path = tmp_path / "x.gif"
    path.write_bytes(picture(kind="GIF", size=(1, 1)))
    with pytest.raises(ValueError, match="1 x 1 pixels: a placeholder"):
        picture_suffix(path)


def test_found_by_name_by_id_and_by_url(tmp_path):
    for name in (
        "010/0108775015.jpg",
        "a%2Fb.png",
        "front.jpg",
        "41+x.jpg",
        "notes.txt",
        "Gru\u0308n.jpg",
        "r\xe9.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = PictureFolder(tmp_path)
    found = {
        ("0108775015", None): "010/0108775015.jpg",
        ("a/b", None): "a%2Fb.png",
        ("x", "front.jpg"): "front.jpg",
        ("x", "010/0108775015.jpg"): "010/0108775015.jpg",
        ("x", str(tmp_path / "front.jpg")): "front.jpg",
    }
    found |= {
        ("x", f"{tmp_path.name}/front.jpg"): "front.jpg",
        ("x", f"./{tmp_path.name}/010/0108775015.jpg"): "010/0108775015.jpg",
        ("x", "010\\0108775015.jpg"): "010/0108775015.jpg",
        ("Gr\xfcn", None): "Gru\u0308n.jpg",  # as a Mac writes names
        ("x", "Gr\xfcn.jpg"): "Gru\u0308n.jpg",
        ("x", "re\u0301.png"): "r\xe9.png",
        ("a/b", "../front.jpg"): "a%2Fb.png",  # the name is refused, and the item's id still leads to a picture
    }
    for (item, file), name in found.items():
        assert folder.find(item, file) == (str(tmp_path / name), "")
    assert folder.find("108775015", None) == (None, "no picture of this item is known")  # leading zeros are part of it
    assert folder.find("notes", None)[0] is None
    assert folder.find("x", "none.jpg") == (None, f"no such file in {tmp_path}")
    assert folder.find_url("https://x/I/41%2Bx.jpg?size=9#a") == str(tmp_path / "41+x.jpg")
    assert folder.find_url("https://x/I/y.jpg") is None


def test_no_name_leads_out_of_the_folder(tmp_path, picture):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(kind="PNG"))
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(picture(kind="PNG"))
    folder = PictureFolder(photos)
    for name in (
        "../secret.png",
        str(secret),
        "photos/../../secret.png",
        "..\\secret.png",
        "a\0.png",
        "/dev/zero",
        ".",
    ):
        assert folder.find("x", name) == (None, f"not a name within {photos}"), name
    for url in (
        "https://x/..%2Fsecret.png",
        "https://x/%2e%2e%2fsecret.png",
        "https://x/..%5Csecret.png",
        "https://x/..",
    ):
        assert folder.find_url(url) is None, url
    assert url_name("https://x/o/shop%2Fa.png?alt=media") == "a.png"


def test_what_is_no_regular_file_is_never_read(tmp_path, picture):
    os.mkfifo(tmp_path / "pipe.jpg")
    os.symlink("/dev/zero", tmp_path / "zero.jpg")
    for name in ("pipe.jpg", "zero.jpg"):
        with pytest.raises(ValueError, match="no regular file"):
            picture_suffix(tmp_path / name)


def test_size_is_known_before_memory_is_taken(tmp_path):
    """13,000 x 13,000 black pixels are 20 kB in the file and 500 MB in memory."""
    path = tmp_path / "x.png"
    Image.new("1", (13_000, 13_000)).save(path)
    with pytest.raises(ValueError, match=r"13,000 x 13,000 pixels, which is more than 67,108,864"):
        picture_suffix(path)


def test_a_linked_picture_is_placed_itself(tmp_path, picture):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "blob").write_bytes(picture())
    (tmp_path / "photos").mkdir()
    os.symlink("../store/blob", tmp_path / "photos" / "a.jpg")
    place_picture(tmp_path / "photos" / "a.jpg", tmp_path / "b.jpg")
    assert not (tmp_path / "b.jpg").is_symlink()
    assert (tmp_path / "b.jpg").samefile(tmp_path / "store" / "blob")


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder of pictures; name an existing one with --images"):
        PictureFolder(tmp_path / "x")
    with pytest.raises(ValueError, match="holds no pictures"):
        PictureFolder(tmp_path)


def test_names_are_safe_and_distinct():
    ids = ["B01", "a/b", "a b", "..", "ü", "x" * 300, "x" * 299 + "y", "a%2Fb"]
    names = [picture_name(item, ".jpg") for item in ids]
    assert names[0] == "B01.jpg"
    assert len(set(names)) == len(ids)
    assert all("/" not in name and len(name) < 160 for name in names)


def test_a_broken_local_picture_is_downloaded_instead_and_one_url_only_once(tmp_path, picture):
    good, bad, other = (tmp_path / name for name in ("a.png", "b.jpg", "c.jpg"))
    good.write_bytes(picture(kind="PNG"))
    bad.write_bytes(b"no")
    other.write_bytes(picture())
    rows = [
        (0, "a", None, str(good), "", "http://x/a"),
        (1, "b", None, str(bad), "", "http://x/c"),
        (2, "c", None, None, "no picture", "http://x/c"),
        (3, "d", None, None, "no picture", "http://x/d"),
        (4, "e", "../e.jpg", None, "not a name within photos", None),
        (5, "f", None, str(bad), "", None),
    ]
    asked = []

    def download(urls):
        asked.extend(urls)
        return {"http://x/c": (other, ".jpg"), "http://x/d": "HTTP 404"}

    columns = ["item_number", "item_id", "image_file", "picture_path", "picture_problem", "image_url"]
    pictures = gather_pictures(pl.DataFrame(rows, columns, orient="row"), download=download, parallel=2)
    assert pictures.paths == {0: (good, ".png"), 1: (other, ".jpg"), 2: (other, ".jpg")}
    d, e, f = sorted(pictures.missing)
    assert (d, e) == (("d", "http://x/d", "HTTP 404"), ("e", "../e.jpg", "not a name within photos"))
    assert f[:2] == ("f", str(bad)) and "not a picture that can be read" in f[2]
    assert asked == ["http://x/c", "http://x/d"]


def test_url_name():
    assert url_name("https://m.media-amazon.com/images/I/71%2BabC.jpg") == "71+abC.jpg"
