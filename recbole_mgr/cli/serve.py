"""``recbole-mgr serve``: trained runs behind HTTP, and the pages alive."""

from __future__ import annotations

import argparse
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mgr.cli.parser import CommandParser, number, whole

if TYPE_CHECKING:
    from fastapi import FastAPI

TOKEN_VARIABLE = "RECBOLE_MGR_TOKEN"
_DESCRIPTION = """\
Serve trained runs over HTTP: /recommend, /explain, /items, /users, /new-items, /reload, /runs, /health, /metrics, and
pages to try it. /openapi.json describes every route.

  recbole-mgr serve saved/<data>/<model>/seed-2020
  recbole-mgr serve saved/<data>/*/seed-2020 --port 8123       several runs side by side
  curl localhost:8000/recommend -d '{"histories": [["item1", "item2"]], "k": 5}' -H 'content-type: application/json'

It answers on 127.0.0.1 alone unless --host says otherwise. Then let clients send a token: set RECBOLE_MGR_TOKEN.
"""


def main(arguments: list[str]) -> int:
    """Run the command, until it is stopped."""
    asked = _parse(arguments)

    import torch

    from recbole_mgr.reporting.pages.view import write_view
    from recbole_mgr.run.identity import slug

    try:
        import uvicorn  # noqa: F401
        from starlette.staticfiles import StaticFiles

        from recbole_mgr.serving.http.app import create_app
        from recbole_mgr.serving.http.service import Service, run_names
    except ImportError as error:
        raise ValueError(f"serve needs {error.name}; install it with pip install 'recbole_mgr[serve]'") from error
    token = os.environ.get(TOKEN_VARIABLE)
    if asked.host not in ("127.0.0.1", "localhost", "::1") and not token:
        raise ValueError(
            f"--host {asked.host}: whoever reaches this address could use the service; set {TOKEN_VARIABLE} to a token "
            "that clients must send"
        )
    names = run_names(asked.runs)
    listener = _listener(asked.host, asked.port)  # before the runs are loaded, which takes long
    torch.set_num_threads(asked.threads)
    service = Service(
        names,
        device=asked.device,
        processes=_usual_processes(asked.device) if asked.processes is None else asked.processes,
        most_waiting=asked.waiting,
        most_together=asked.batch_size,
    )
    numbers: dict[str, int] = {}
    pages = None
    if not asked.no_pages:
        pages = asked.pages or Path("views") / f"serve-{slug(asked.runs[0].resolve().parts[-2])}"
        view = write_view(None, asked.runs, pages, num_users=asked.users, service_runs=service.runs)
        numbers = {token: number for number, token in enumerate(view.item_tokens)}
    hosts = {asked.host, "127.0.0.1", "localhost", *asked.name} - {"0.0.0.0", "::"}
    app = create_app(service, token=token, timeout=asked.timeout, hosts=tuple(sorted(hosts)), numbers=numbers)
    if pages is not None:
        app.mount("/", StaticFiles(directory=pages, html=True))
    address = f"[{asked.host}]" if ":" in asked.host else asked.host
    return _answer(app, listener, f"http://{address}:{asked.port}/ answers for {', '.join(service.runs)}")


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # until then another program may bind the port, too
    except OSError as error:
        listener.close()
        raise ValueError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); name another --port, or an address "
            "of this machine"
        ) from error
    return listener


def _answer(app: FastAPI, listener: socket.socket, ready: str) -> int:
    """Answer until stopped; ``ready`` is printed when the first request can be answered."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(ready, flush=True)

    server = Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=30))
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _usual_processes(device: str | None) -> int:
    import torch

    on_gpu = torch.cuda.is_available() if device is None else device != "cpu"
    return 0 if on_gpu else min(2, os.cpu_count() or 1)  # a GPU's searches leave Python's lock alone


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr serve", description=_DESCRIPTION)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories; the first one is the usual one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=whole(1, 65_535), default=8000, help="port (default: 8000)")
    parser.add_argument("--name", nargs="+", default=[], help="further names that clients may call this machine by")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument("--threads", type=whole(1), default=1, help="of torch; small models gain nothing by more (1)")
    parser.add_argument(
        "--processes",
        type=whole(0),
        default=None,
        help="that search, of each run, with a copy of it; 0: a thread (default: 2, at most one a core; 0 on a GPU)",
    )
    parser.add_argument("--batch-size", type=whole(1), default=64, help="requests computed together (default: 64)")
    parser.add_argument("--waiting", type=whole(1), default=1024, help="requests that may wait, others get 503 (1024)")
    parser.add_argument(
        "--timeout", type=number(above=0), default=10.0, help="seconds before a request gets 504 (default: 10)"
    )
    parser.add_argument("--no-pages", action="store_true", help="the routes alone")
    parser.add_argument("--pages", type=Path, metavar="FOLDER", help="where the pages go (views/serve-<model>)")
    parser.add_argument("--users", type=whole(0), default=50, help="test users shown one by one (default: 50)")
    return parser.parse_args(arguments)
