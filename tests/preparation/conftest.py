"""A server with all the faults of the network, pictures, and what RecBole makes of a prepared folder."""

import contextlib
import io
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from recbole.config import Config
from recbole.data.dataset import Dataset

import recbole_mgr.integration.compat  # noqa: F401
from recbole_mgr.data.interactions import check_interactions


def _picture(colour: str = "red", kind: str = "JPEG", size: tuple[int, int] = (60, 40)) -> bytes:
    """The bytes of a picture; noise, so that a JPEG has some length."""
    content = io.BytesIO()
    noise = Image.effect_noise(size, 60).convert("RGB")
    Image.blend(noise, Image.new("RGB", size, colour), 0.5).save(content, kind)
    return content.getvalue()


class FaultyServer:
    """Serves ``files`` on a local port; a path's first directory says what goes wrong with it.

    ``ok`` nothing; ``dead`` 404; ``cut`` the first answer breaks off in the middle; ``cut-always`` every answer does,
    without range support; ``busy`` 503 the first time; ``slow`` never ends; ``html`` a page instead of the file;
    ``raw-<name>`` the bytes of ``RAW``; ``drip-<name>`` those bytes one by one, for ever.
    """

    RAW = {
        "range": b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n",
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 12abc\r\n\r\nxxxx",
        "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 12, 13\r\n\r\nxxxx",
        "minus": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nxxxx",
        "large": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nxxxx",
        "to-bad": b"HTTP/1.1 302 Found\r\nLocation: http://[bad\r\nContent-Length: 0\r\n\r\n",
        "to-label": b"HTTP/1.1 302 Found\r\nLocation: http://%b.example/\r\nContent-Length: 0\r\n\r\n" % (b"x" * 70),
        "to-file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        "to-port": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n",
        "to-itself": b"HTTP/1.1 302 Found\r\nLocation: ?\r\nContent-Length: 0\r\n\r\n",
        "to-noise": b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe\x00/\r\nContent-Length: 0\r\n\r\n",
        "status": b"HTTP/1.1 OK\r\n\r\n",
        "begin": b"HTTP",
        "noise": bytes(range(256)),
        "nothing": b"",
        "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
        "head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []  # path and range
        self.closed = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append((self.path, self.headers["Range"]))
                with contextlib.suppress(ConnectionError):  # the client has given up
                    server.answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        fault, name = unquote(request.path).strip("/").rsplit("/", 1)
        earlier = [path for path, _ in self.requests].count(request.path) - 1
        way, _, kind = fault.partition("-")
        if way in ("raw", "drip"):
            return self._raw(request, self.RAW[kind], drip=way == "drip")
        if fault == "dead" or (fault != "html" and name not in self.files):
            return request.send_error(404)
        if fault == "busy" and not earlier:
            return request.send_error(503)
        if fault == "html":
            return self._send(request, 200, b"<html>Sign in</html>")
        if fault == "slow":
            time.sleep(1)
        content, status, wanted = self.files[name], 200, request.headers["Range"]
        start = 0
        if wanted and fault != "cut-always":
            start, status = int(wanted.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(content):
                return request.send_error(416)
        breaks = fault == "cut-always" or (fault == "cut" and not earlier)
        return self._send(request, status, content[start:], start, cut=breaks)

    def _send(self, request, status: int, body: bytes, start: int = 0, cut: bool = False) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        if status == 206:
            request.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{start + len(body)}")
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if cut else body)

    def _raw(self, request, content: bytes, drip: bool) -> None:
        request.close_connection = True
        head = content.endswith(b"\r\n\r\n")
        if not drip or head:
            request.wfile.write(content)
        while drip and not self.closed.wait(0.02):
            request.wfile.write(b"0" if head else content[:1])
            request.wfile.flush()
            content = content[1:] or b"x"

    def close(self) -> None:
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    faulty = FaultyServer()
    yield faulty
    faulty.close()


@pytest.fixture
def silent_port():
    """A local port that nothing listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@pytest.fixture
def picture():
    """The function above."""
    return _picture


def _load_with_recbole(folder: Path) -> Dataset:
    """Check a prepared folder and load all of ``.inter`` and ``.item`` as RecBole does."""
    name = folder.name
    check_interactions(folder / f"{name}.inter")
    settings = {
        "data_path": str(folder.parent),
        "load_col": None,
        "encoding": "utf-8",
        "state": "ERROR",
        "gpu_id": "",
        "normalize_all": False,
    }
    return Dataset(Config(model="BPR", dataset=name, config_dict=settings))


@pytest.fixture
def load_with_recbole():
    """The function above."""
    return _load_with_recbole
