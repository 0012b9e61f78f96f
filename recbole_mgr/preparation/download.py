"""Downloads of files: continued where they broke off, limited in size and time as a whole."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import requests
import urllib3

from recbole_mgr.files import owned, publish

_CHUNK = 1 << 13  # bytes; what a broken connection loses at most
_LONGEST = 20  # an attempt at a picture may take this many timeouts as a whole
_SLOWEST = 1 << 10  # bytes a second of an attempt at a data file, once it has taken so long
_BUSY = {408, 429, 500, 502, 503, 504}


class DownloadLimits(NamedTuple):
    """How downloads behave.

    Attributes:
        parallel: downloads at the same time.
        timeout: seconds without a byte after which an attempt ends. An attempt ends as well when it has taken twenty
            times as long and is a picture's, or brings less than a kilobyte a second.
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
        session: of :func:`new_session`.
        url: http or https.
        part: the file.
        limits: timeout, attempts and pause.
        largest: bytes; more is a failure, and so is an attempt that takes very long. None: a file of any size, whose
            attempts end when they bring very little.

    Raises:
        Unreachable: if no attempt got an answer.
        Failed: if the file could not be had as a whole, whatever the URL or the server did.
        OSError: if ``part`` cannot be written.
    """
    answered, problem = False, ""
    for attempt in range(limits.attempts):
        if attempt:
            time.sleep(limits.pause * 2 ** (attempt - 1))
        try:
            _fetch_once(session, url, part, limits.timeout, largest)
            return
        except _NotWritten as error:
            raise error.__cause__ from None
        except _BrokeOff as error:
            answered, problem = True, str(error)
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
        except (OSError, ValueError, LookupError, HTTPException, urllib3.exceptions.HTTPError) as error:
            # no URL, a redirect to none, too many of them, headers that make no sense, ...
            raise Failed(f"{type(error).__name__}: {error}") from error
    raise Failed(problem) if answered else Unreachable(problem)


class _NotWritten(Exception):
    """The disk is full or the like; the cause says what."""


class _BrokeOff(Exception):
    """An answer has begun that did not come to its end."""


def _fetch_once(session: requests.Session, url: str, part: Path, timeout: float, largest: int | None) -> None:
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # so that lengths and ranges are those of the file
    if start:
        headers["Range"] = f"bytes={start}-"
    began = time.monotonic()
    longest = _LONGEST * timeout
    with (
        _ended_after(longest if largest else None),
        session.get(url, headers=headers, stream=True, timeout=timeout) as answer,
    ):
        if answer.status_code == 416 and start:  # nothing is left to fetch, or the file has changed: begin anew
            part.unlink()
            raise _BrokeOff("the server's file is not the one that was begun")
        answer.raise_for_status()
        continues = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-") and answer.status_code == 206
        size = start if continues else 0
        length = answer.headers.get("Content-Length", "")
        expected = size + int(length) if length.isdecimal() else None
        if largest and (expected or 0) > largest:
            raise Failed(f"{expected:,} bytes, which is more than {largest:,}")
        with _writing(part, "ab" if continues else "wb") as write:
            for block in answer.iter_content(_CHUNK):
                write(block)
                size += len(block)
                if largest and size > largest:
                    part.unlink()
                    raise Failed(f"more than {largest:,} bytes")
                seconds = time.monotonic() - began
                if seconds > longest and (largest or (size - start) / seconds < _SLOWEST):
                    raise _BrokeOff(f"not done in {seconds:.0f} seconds")
    if expected is not None and size < expected:
        raise _BrokeOff("the connection broke off")


@contextlib.contextmanager
def _writing(path: Path, mode: str):
    """Yield a function that writes to a file; what goes wrong with the file, not with the network, is a _NotWritten."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, mode))
        except OSError as error:
            raise _NotWritten from error

        def write(block: bytes) -> None:
            try:
                file.write(block)
                file.flush()
            except OSError as error:
                raise _NotWritten from error

        yield write


_attempt = threading.local()  # what the thread downloads at the moment


@contextlib.contextmanager
def _ended_after(seconds: float | None) -> Iterator[None]:
    """Break this thread's connections off after a time.

    Timeouts of sockets begin anew with every byte, so a server that sends one now and then, in the headers for
    example, would never let go.
    """
    if seconds is None:
        yield
        return
    ended, sockets = threading.Event(), []

    def end() -> None:
        ended.set()
        for each in list(sockets):
            _break_off(each)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    _attempt.ended, _attempt.sockets = ended, sockets
    timer.start()
    problem = None
    try:
        yield
    except (OSError, HTTPException, urllib3.exceptions.HTTPError) as error:
        problem = error
    finally:
        timer.cancel()
        _attempt.sockets = None
    if ended.is_set():  # even without an error: half an answer may look like a whole one
        raise _BrokeOff(f"not done in {seconds:g} seconds") from problem
    if problem:
        raise problem


def _break_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # wakes the thread that waits for a byte


class _Ended:
    """A connection that ends with the attempt it is used in."""

    def getresponse(self, *arguments, **options):
        if getattr(_attempt, "sockets", None) is not None:
            _attempt.sockets.append(self.sock)
            if _attempt.ended.is_set():
                _break_off(self.sock)
        return super().getresponse(*arguments, **options)


class _Http(_Ended, urllib3.connectionpool.HTTPConnectionPool.ConnectionCls):
    pass


class _Https(_Ended, urllib3.connectionpool.HTTPSConnectionPool.ConnectionCls):
    pass


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *arguments, **options) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


def new_session(parallel: int) -> requests.Session:
    """A session whose connections are shared by ``parallel`` threads."""
    session = requests.Session()
    session.headers["User-Agent"] = "recbole-mgr"
    adapter = _Adapter(pool_connections=parallel, pool_maxsize=parallel)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def download_file(url: str, target: Path, limits: DownloadLimits) -> None:
    """Download a data file; an interrupted download is continued.

    Raises:
        ValueError: if it cannot be had, saying what to put where.
    """
    part = target.with_name(target.name + ".part")
    with owned(target):
        if target.exists():  # another command had been at it
            return
        try:
            fetch(new_session(1), url, part, limits, largest=None)
        except (Unreachable, Failed) as error:
            raise ValueError(
                f"{url} cannot be downloaded ({error}). Get the file by other means, put it there: {target}, and run "
                "the command again; what has come so far is kept and continued"
            ) from error
        publish(part, target)
