"""Downloads of many pictures, which give up on dead links only and know when there is no network."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlsplit

from tqdm import tqdm

from recbole_mgr.files import to_disk
from recbole_mgr.preparation.download import DownloadLimits, Failed, Unreachable, fetch, new_session
from recbole_mgr.preparation.joins import Join, judge
from recbole_mgr.preparation.pictures import PictureFolder, picture_suffix, url_name

_LARGEST = 50 << 20  # bytes
_SILENT = 24  # requests in a row that a server leaves unanswered before it counts as dead
_QUEUED = 4096  # pictures handed to the threads at a time


class PictureDownloads:
    """Downloads pictures into a folder, each under a name made of its URL; what is there stays.

    Args:
        folder: where they go. A file without ``.part`` is whole and decodes.
        limits: how to download.
        mirror: a folder that holds the pictures by the names their URLs end in, or the base URL of a server that
            does; None: the URLs themselves.
    """

    def __init__(self, folder: Path, limits: DownloadLimits, mirror: str | None = None) -> None:
        self._folder = folder
        self._limits = limits
        self._base = mirror.rstrip("/") if mirror and "://" in mirror else None
        self._local = PictureFolder(Path(mirror)) if mirror and not self._base else None
        self._session = new_session(limits.parallel)
        self._lock = threading.Lock()
        self._silence: dict[str, int] = {}  # requests in a row that each server left unanswered
        self._answered: set[str] = set()
        self._lost: str | None = None  # a server that answered once and does no more

    def __call__(self, urls: list[str]) -> dict[str, tuple[Path, str] | str]:
        """Download distinct URLs.

        Returns:
            Of each URL, the picture's file and its format's suffix, or the problem with it.

        Raises:
            ValueError: if no server answers at all, one that had answered does no longer, or the mirror is a folder
                that has none of the pictures.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        results: dict[str, tuple[Path, str] | str] = {}
        with ThreadPoolExecutor(self._limits.parallel) as pool, _progress(len(urls)) as progress:
            try:
                for start in range(0, len(urls), _QUEUED):
                    queued = urls[start : start + _QUEUED]
                    for url, result in zip(queued, pool.map(self._one, queued), strict=True):
                        results[url] = result
                        progress.update()
            except BaseException:
                self._lost = self._lost or "stopped"  # what is queued returns at once
                raise
        if self._lost:
            raise ValueError(
                f"{self._lost} answers no longer; nothing is lost: run the same command again and it goes on here"
            )
        had = any(isinstance(result, tuple) for result in results.values())
        if self._local and urls and not had:
            self._judge(self._local, urls)
        if self._silence and not self._answered and not had:
            raise ValueError(self._no_network(urls))
        return results

    def _judge(self, local: PictureFolder, urls: list[str]) -> None:
        """Stop where a folder has none of the pictures that URLs name."""
        join = Join(f"pictures in {local.folder}", sum(local.find_url(url) is not None for url in urls), len(urls))
        names = (os.path.splitext(url_name(url))[0] for url in urls)
        judge(join, names, local.unused(), "Give the pictures the names that the URLs end in, or leave --mirror out")

    def _no_network(self, urls: list[str]) -> str:
        listing = self._folder.parent / "picture_urls.txt"
        listing.write_text("".join(f"{url}\n" for url in urls), encoding="utf-8")
        return (
            f"no picture server answers ({', '.join(sorted(self._silence)[:3])}). Put the {len(urls):,} pictures that "
            f"{listing} lists into one folder, each under the name its URL ends in, and give it with --mirror; or "
            "named by item id, with --images; or run the same command where there is a network; or go without "
            "pictures with --no-images"
        )

    def _one(self, url: str) -> tuple[Path, str] | str:
        if self._local:
            found = self._local.find_url(url)
            return _picture(Path(found)) if found else f"no {url_name(url)} in {self._local.folder}"
        target = self._folder / hashlib.sha256(url.encode("utf-8", "replace")).hexdigest()[:32]
        if target.exists():
            had = _picture(target)
            if isinstance(had, tuple):
                return had
            target.unlink()  # a crash of the machine can leave a file without its content
        address = f"{self._base}/{quote(url_name(url))}" if self._base else url
        try:
            server = urlsplit(address).netloc
        except ValueError as error:
            return f"no URL: {error}"
        if self._lost or self._silence.get(server, 0) >= _SILENT:
            return f"{server} does not answer"
        part = target.with_name(target.name + ".part")
        try:
            fetch(self._session, address, part, self._limits, largest=_LARGEST)
        except Unreachable as error:
            self._unheard(server)
            return str(error)
        except Failed as error:
            self._heard(server)
            return str(error)
        self._heard(server)
        had = _picture(part)
        if isinstance(had, str):
            part.unlink()
            return had
        to_disk(part)
        os.replace(part, target)
        return target, had[1]

    def _heard(self, server: str) -> None:
        with self._lock:
            self._silence[server] = 0
            self._answered.add(server)

    def _unheard(self, server: str) -> None:
        with self._lock:
            self._silence[server] = self._silence.get(server, 0) + 1
            if self._silence[server] >= _SILENT and server in self._answered:
                self._lost = server


def _picture(path: Path) -> tuple[Path, str] | str:
    """A file with its format's suffix, or what is wrong with it."""
    try:
        return path, picture_suffix(path)
    except ValueError as error:
        return str(error)


def _progress(total: int) -> tqdm:
    return tqdm(total=total, desc="pictures", unit="", disable=None)  # None: only on a terminal
