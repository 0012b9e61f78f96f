"""Downloads that resume, give up on dead links only, and know when there is no network."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import requests
from tqdm import tqdm

from recbole_mgr.preparation.pictures import PictureFolder, picture_suffix, url_name

_CHUNK = 1 << 13  # bytes; what a broken connection loses at most
_LARGEST_PICTURE = 50 << 20  # bytes
_SLOWEST = 20  # a picture may take this many timeouts as a whole
_SILENT = 24  # requests in a row that a server leaves unanswered before it counts as dead
_QUEUED = 4096  # pictures handed to the threads at a time
_BUSY = {408, 429, 500, 502, 503, 504}


class DownloadLimits(NamedTuple):
    """How downloads behave.

    Attributes:
        parallel: downloads at the same time.
        timeout: seconds without a byte after which an attempt ends.
        attempts: per file.
        pause: seconds before the second attempt; doubled before each further one.
    """

    parallel: int = 16
    timeout: float = 20.0
    attempts: int = 3
    pause: float = 1.0


class Unreachable(Exception):
    """No answer from the server."""


class Failed(Exception):
    """An answer that is not the file."""


def fetch(session: requests.Session, url: str, part: Path, limits: DownloadLimits, *, largest: int | None) -> None:
    """Download a URL into ``part``; what is there already is continued.

    Args:
        session: of requests.
        url: http or https.
        part: the file.
        limits: timeout, attempts and pause.
        largest: bytes; more is a failure, and so is a download that takes very long. None sets neither limit.

    Raises:
        Unreachable: if no attempt got an answer.
        Failed: if the file could not be had as a whole.
    """
    answered, problem = False, ""
    for attempt in range(limits.attempts):
        if attempt:
            time.sleep(limits.pause * 2 ** (attempt - 1))
        try:
            _fetch_once(session, url, part, limits.timeout, largest)
            return
        except requests.exceptions.ChunkedEncodingError:
            answered, problem = True, "the connection broke off"
        except (requests.ConnectionError, requests.Timeout) as error:
            answered |= part.exists() and part.stat().st_size > 0
            problem = "timeout" if isinstance(error, requests.Timeout) else "no connection"
        except requests.HTTPError as error:
            answered, status = True, error.response.status_code
            problem = f"HTTP {status} {error.response.reason}"
            if status not in _BUSY:
                break
        except requests.RequestException as error:  # no URL, too many redirects, ...
            raise Failed(str(error)) from error
    raise Failed(problem) if answered else Unreachable(problem)


def _fetch_once(session: requests.Session, url: str, part: Path, timeout: float, largest: int | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # so that lengths and ranges are those of the file
    if start:
        headers["Range"] = f"bytes={start}-"
    began = time.monotonic()
    with session.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == 416:  # nothing is left to fetch, or the file has changed: begin anew
            part.unlink()
            raise requests.exceptions.ChunkedEncodingError
        answer.raise_for_status()
        continues = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-") and answer.status_code == 206
        size = start if continues else 0
        expected = size + int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        with open(part, "ab" if continues else "wb") as file:
            for block in answer.iter_content(_CHUNK):
                file.write(block)
                size += len(block)
                if largest and (size > largest or time.monotonic() - began > _SLOWEST * timeout):
                    part.unlink()
                    raise Failed("too large or too slow")
    if expected is not None and size < expected:
        raise requests.exceptions.ChunkedEncodingError


def new_session(parallel: int) -> requests.Session:
    """A session whose connections are shared by ``parallel`` threads."""
    session = requests.Session()
    session.headers["User-Agent"] = "recbole-mgr"
    adapter = requests.adapters.HTTPAdapter(pool_connections=parallel, pool_maxsize=parallel)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


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

    def __call__(self, urls: list[str]) -> dict[str, Path | str]:
        """Download distinct URLs.

        Returns:
            Of each URL, the picture's file or the problem with it.

        Raises:
            ValueError: if no server answers at all, or one that had answered does no longer.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        results: dict[str, Path | str] = {}
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
        had = any(isinstance(result, Path) for result in results.values())
        if self._silence and not self._answered and not had:
            raise ValueError(self._no_network(urls))
        return results

    def _no_network(self, urls: list[str]) -> str:
        listing = self._folder.parent / "picture_urls.txt"
        listing.write_text("".join(f"{url}\n" for url in urls), encoding="utf-8")
        return (
            f"no picture server answers ({', '.join(sorted(self._silence)[:3])}). Put the {len(urls):,} pictures that "
            f"{listing} lists into one folder, each under the name its URL ends in, and give it with --mirror; or "
            "named by item id, with --images; or run the same command where there is a network; or go without "
            "pictures with --no-images"
        )

    def _one(self, url: str) -> Path | str:
        target = self._folder / hashlib.sha256(url.encode()).hexdigest()[:32]
        if target.exists():
            return target
        if self._local:
            return self._from_folder(url)
        address = f"{self._base}/{quote(url_name(url))}" if self._base else url
        server = urlsplit(address).netloc
        if self._lost or self._silence.get(server, 0) >= _SILENT:
            return f"{server} does not answer"
        part = target.with_name(target.name + ".part")
        try:
            fetch(self._session, address, part, self._limits, largest=_LARGEST_PICTURE)
            self._heard(server)
            picture_suffix(part)
        except Unreachable as error:
            self._unheard(server)
            return str(error)
        except Failed as error:
            self._heard(server)
            return str(error)
        except ValueError as error:
            part.unlink()
            return str(error)
        os.replace(part, target)
        return target

    def _from_folder(self, url: str) -> Path | str:
        found = self._local.find_url(url)
        if found is None:
            return f"no {url_name(url)} in {self._local.folder}"
        try:
            picture_suffix(Path(found))
        except ValueError as error:
            return str(error)
        return Path(found)

    def _heard(self, server: str) -> None:
        with self._lock:
            self._silence[server] = 0
            self._answered.add(server)

    def _unheard(self, server: str) -> None:
        with self._lock:
            self._silence[server] = self._silence.get(server, 0) + 1
            if self._silence[server] >= _SILENT and server in self._answered:
                self._lost = server


def _progress(total: int) -> tqdm:
    return tqdm(total=total, desc="pictures", unit="", disable=None)  # None: only on a terminal


def download_file(url: str, target: Path, limits: DownloadLimits) -> None:
    """Download a data file; an interrupted download is continued.

    Raises:
        ValueError: if it cannot be had, saying what to put where.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        fetch(new_session(1), url, part, limits, largest=None)
    except (Unreachable, Failed) as error:
        raise ValueError(
            f"{url} cannot be downloaded ({error}). Get the file by other means, put it there: {target}, and run the "
            "command again; what has come so far is kept and continued"
        ) from error
    os.replace(part, target)
