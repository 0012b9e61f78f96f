"""Downloads from a server with faults: nothing aborts but the network's absence, and nothing is fetched twice."""

import os
import threading
import time

import pytest

from recbole_mgr.preparation import download, picture_downloads
from recbole_mgr.preparation.download import DownloadLimits, download_file
from recbole_mgr.preparation.picture_downloads import PictureDownloads

QUICK = DownloadLimits(parallel=4, timeout=0.3, attempts=2, pause=0.01)


@pytest.fixture
def downloads(tmp_path):
    def make(**options):
        return PictureDownloads(tmp_path / "work" / "downloads", QUICK, **options)

    return make


def test_every_fault_has_its_end(server, downloads, picture):
    whole = picture(size=(200, 200))
    server.files = {
        "a.jpg": whole,
        "corrupt.jpg": whole[: len(whole) // 2],
        "pixel.gif": picture(kind="GIF", size=(1, 1)),
    }
    outcome = {
        "ok/a.jpg": True,
        "cut/a.jpg": True,
        "busy/a.jpg": True,
        "dead/a.jpg": "HTTP 404 Not Found",
        "html/a.jpg": "not a picture",
        "slow/a.jpg": "timeout",
        "cut-always/a.jpg": "broke off",
        "ok/corrupt.jpg": "not a picture",
        "ok/pixel.gif": "placeholder",
    }
    results = downloads()([f"{server.url}/{path}" for path in outcome])
    for path, expected in outcome.items():
        result = results[f"{server.url}/{path}"]
        if expected is True:
            assert result[0].read_bytes() == whole and result[1] == ".jpg", path
        else:
            assert expected in result, (path, result)
    attempts = [path for path, _ in server.requests]
    assert attempts.count("/dead/a.jpg") == 1  # a dead link is not asked twice
    assert attempts.count("/slow/a.jpg") == 2


def test_what_broke_off_is_continued(server, downloads, picture):
    server.files["a.jpg"] = picture(size=(500, 500))
    downloads()([f"{server.url}/cut/a.jpg"])
    (_, first), (_, second) = server.requests
    start = int(second.removeprefix("bytes=").removesuffix("-"))
    assert first is None
    assert 0 < len(server.files["a.jpg"]) // 2 - start < 8192


def test_the_same_again_fetches_nothing_but_what_failed(server, downloads, picture):
    server.files["a.jpg"] = picture()
    urls = [f"{server.url}/ok/a.jpg", f"{server.url}/dead/a.jpg"]
    first = downloads()(urls)
    server.requests.clear()
    assert downloads()(urls) == first
    assert server.requests == [("/dead/a.jpg", None)]


def test_a_part_of_another_file_is_fetched_anew(server, downloads, picture, tmp_path):
    """A part longer than the file, as after a change on the server, gets 416 and is thrown away."""
    server.files["a.jpg"] = picture()
    url = f"{server.url}/ok/a.jpg"
    path, _ = downloads()([url])[url]
    path.rename(path.with_name(path.name + ".part"))
    assert downloads()([url])[url][0].read_bytes() == server.files["a.jpg"]


def test_mirrors(server, downloads, picture, tmp_path):
    server.files["4+a.jpg"] = picture()
    url = "https://images.example/I/4%2Ba.jpg"
    assert downloads(mirror=f"{server.url}/ok/")([url])[url][0].read_bytes() == server.files["4+a.jpg"]
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "4+a.jpg").write_bytes(server.files["4+a.jpg"])
    (tmp_path / "mirror" / "bad.jpg").write_bytes(b"no")
    local = PictureDownloads(tmp_path / "other", QUICK, str(tmp_path / "mirror"))
    results = local([url, "https://x/bad.jpg", "https://x/none.jpg"])
    assert results[url] == (tmp_path / "mirror" / "4+a.jpg", ".jpg")
    assert "not a picture" in results["https://x/bad.jpg"]
    assert "no none.jpg in" in results["https://x/none.jpg"]


def test_a_mirror_that_has_none_of_the_pictures_is_an_error(tmp_path, picture):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "B00A.jpg").write_bytes(picture())
    local = PictureDownloads(tmp_path / "work", QUICK, str(tmp_path / "mirror"))
    with pytest.raises(ValueError, match="0 of 1; .* 'b00a' and 'B00A'; in lower case.*leave --mirror out"):
        local(["https://x/b00a.jpg"])


def test_without_network_the_message_says_what_to_put_where(downloads, silent_port, tmp_path):
    urls = [f"http://127.0.0.1:{silent_port}/{n}.jpg" for n in range(3)]
    with pytest.raises(ValueError, match="no picture server answers.*--mirror.*--images.*--no-images"):
        downloads()(urls)
    assert (tmp_path / "work" / "picture_urls.txt").read_text().split() == urls


def test_one_dead_server_among_living_ones_is_given_up_soon(server, downloads, picture, silent_port, monkeypatch):
    monkeypatch.setattr(picture_downloads, "_SILENT", 3)
    server.files["a.jpg"] = picture()
    urls = [f"http://127.0.0.1:{silent_port}/{n}.jpg" for n in range(40)] + [f"{server.url}/ok/a.jpg"]
    results = downloads()(urls)
    assert not isinstance(results[urls[-1]], str)
    given_up = [url for url in urls[:-1] if "does not answer" in results[url]]
    assert len(given_up) >= 40 - 3 - QUICK.parallel


def test_a_server_that_goes_away_stops_the_run_which_can_go_on(server, downloads, picture, monkeypatch):
    monkeypatch.setattr(picture_downloads, "_SILENT", 3)
    server.files["a.jpg"] = picture()
    some = downloads()
    assert some([f"{server.url}/ok/a.jpg"])
    threading.Thread(target=server.close).start()
    time.sleep(0.7)  # until the port is closed
    with pytest.raises(ValueError, match="answers no longer; nothing is lost: run the same command again"):
        some([f"{server.url}/ok/{n}.jpg" for n in range(30)])


ODD = [
    "http://",
    "nonsense",
    "http://[bad",
    "http://x:y/",
    f"http://{'x' * 70}.example/a.jpg",
    "http://a..b/",
    "http://é\udc80/",
]
ODD += ["http://127.0.0.1:99999/", "ftp://127.0.0.1/a.jpg", "http://\x00/", "https://%zz", "http://user:p@[::1/a"]


def test_no_url_and_no_answer_ends_the_others(server, downloads, picture):
    server.files["a.jpg"] = picture()
    faults = [f"{server.url}/raw-{fault}/a.jpg" for fault in server.RAW]
    good = f"{server.url}/ok/a.jpg"
    results = downloads()([*ODD, *faults, good])
    assert all(isinstance(results[url], str) and results[url] for url in [*ODD, *faults]), results
    assert results[good][1] == ".jpg"
    assert results[f"{server.url}/raw-range/a.jpg"] == "HTTP 416 Range Not Satisfiable"


@pytest.mark.parametrize("part", ["begin", "head", "body", "chunks"])
def test_a_server_that_sends_a_byte_now_and_then_does_not_hang_the_run(server, downloads, part, monkeypatch):
    monkeypatch.setattr(download, "_LONGEST", 2)  # timeouts of 0.3 seconds
    began = time.monotonic()
    (result,) = downloads()([f"{server.url}/drip-{part}/a.jpg"]).values()
    assert result == "not done in 0.6 seconds"
    assert time.monotonic() - began < 5


def test_a_data_file_that_hardly_comes_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_LONGEST", 2)
    monkeypatch.setattr(download, "_CHUNK", 1)
    with pytest.raises(ValueError, match="cannot be downloaded .not done in 1 seconds"):
        download_file(f"{server.url}/drip-body/x.gz", tmp_path / "x.gz", QUICK)


def test_a_full_disk_ends_the_run(server, downloads, picture, monkeypatch):
    """Else every picture would count as missing."""
    server.files["a.jpg"] = picture()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        downloads()([f"{server.url}/ok/a.jpg"])


def test_a_download_without_its_content_is_fetched_anew(server, downloads, picture):
    """As a crash of the machine can leave it."""
    server.files["a.jpg"] = picture()
    url = f"{server.url}/ok/a.jpg"
    path, _ = downloads()([url])[url]
    path.write_bytes(b"")
    assert downloads()([url])[url] == (path, ".jpg")
    assert path.read_bytes() == server.files["a.jpg"]


def test_a_download_is_on_the_disk_before_it_counts_as_whole(server, downloads, picture, tmp_path, monkeypatch):
    server.files["a.jpg"] = picture()
    steps, rename = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: steps.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    monkeypatch.setattr(os, "replace", lambda source, target: (steps.append(str(target)), rename(source, target)))
    path, _ = downloads()([f"{server.url}/ok/a.jpg"])[f"{server.url}/ok/a.jpg"]
    assert steps == [f"{path}.part", str(path)]
    steps.clear()
    target = tmp_path / "raw" / "a.jpg"
    download_file(f"{server.url}/ok/a.jpg", target, QUICK)
    assert steps == [f"{target}.part", str(target), str(target.parent)]


def test_too_large_is_no_picture(server, downloads, picture, monkeypatch):
    monkeypatch.setattr(picture_downloads, "_LARGEST", 1000)
    server.files["a.jpg"] = picture(size=(300, 300))
    (result,) = downloads()([f"{server.url}/ok/a.jpg"]).values()
    assert result.endswith("bytes, which is more than 1,000")


def test_data_files_resume_and_failures_say_where_to_put_them(server, tmp_path):
    content = bytes(range(256)) * 4000
    server.files["x.json.gz"] = content
    target = tmp_path / "raw" / "x.json.gz"
    target.parent.mkdir()
    (tmp_path / "raw" / "x.json.gz.part").write_bytes(content[:1000])
    download_file(f"{server.url}/ok/x.json.gz", target, QUICK)
    assert target.read_bytes() == content
    assert server.requests == [("/ok/x.json.gz", "bytes=1000-")]
    with pytest.raises(ValueError, match=r"HTTP 404.*put it there: .*y.json.gz"):
        download_file(f"{server.url}/dead/y.json.gz", tmp_path / "raw" / "y.json.gz", QUICK)
