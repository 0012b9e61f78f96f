"""A service under load: CPU time of a request, requests a second by number of clients, and nothing lost or mixed up.

    python benchmarks/serving.py                                  # 200,000 items
    python benchmarks/serving.py --seconds 0 --requests 100000    # the run with faults alone, of some minutes

The catalogue and the weights are made up: neither changes how long a search takes, but for how many beams survive. The
service runs in a process of its own; clients keep their connections.
"""

import argparse
import http.client
import json
import multiprocessing
import random
import resource
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

import recbole_mgr  # noqa: F401  (RecBole on today's libraries)
from recbole_mgr.data.item_file import ItemText
from recbole_mgr.integration.config import make_config
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.serving.recommender import Recommender
from recbole_mgr.serving.run_directory import Run, make_network

BODY_HISTORIES = 200  # different requests
PORT = 8917


def make_recommender(items: int, **_) -> Recommender:
    """A TIGER with fresh weights and random semantic IDs of three digits of 256 codes, and a collision digit."""
    torch.manual_seed(0)
    codes = np.random.default_rng(0).integers(256, size=(items, 3))
    tokens = [f"i{number}" for number in range(items)]
    table = SemanticIdTable.from_blocks({"text": codes}, tokens, sizes={"text": [256] * 3})
    config = make_config(
        "TIGER", "Beauty", [], {"data_path": "dataset_atomic", "modalities": ["text"], "use_gpu": False}
    )
    settings = dict(config.final_config_dict)
    network = make_network(settings, table)
    about = {"model": "TIGER"}
    return Recommender(Run(about, settings, network, [ItemText("", "")] * items, None, None), run_dir=Path("made-up"))


def make_bodies(items: int) -> list[bytes]:
    generator = random.Random(0)
    histories = [
        [f"i{generator.randrange(items)}" for _ in range(generator.randint(1, 20))] for _ in range(BODY_HISTORIES)
    ]
    return [json.dumps({"histories": [history], "k": 10}).encode() for history in histories]


def serve(items: int, started) -> None:
    """The service's process."""
    import uvicorn

    from recbole_mgr.serving.http.app import create_app
    from recbole_mgr.serving.http.service import Service

    torch.set_num_threads(1)
    service = Service({"made-up": Path("made-up")}, load=lambda folder, device: make_recommender(items))
    app = create_app(service, timeout=60)

    @app.get("/memory")
    async def memory() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    started.set()
    uvicorn.run(app, port=PORT, log_level="error")


def ask(connection: http.client.HTTPConnection, body: bytes) -> list[str]:
    connection.request("POST", "/recommend", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    assert answer.status == 200, content
    return [item["item_id"] for item in content["lists"][0]["items"]]


def cpu_milliseconds(recommender: Recommender, bodies: list[bytes], turns: int) -> float:
    """Median CPU time of one request without HTTP, in ms."""
    histories = [json.loads(body)["histories"] for body in bodies]
    taken = []
    for turn in range(turns + 20):
        started = time.thread_time()
        recommender.recommend(histories=histories[turn % len(histories)], k=10)
        taken.append(1000 * (time.thread_time() - started))
    return statistics.median(taken[20:])


def throughput(clients: int, bodies: list[bytes], seconds: float, port: int = PORT) -> tuple[float, float]:
    """Requests a second and the median latency in ms."""
    until = time.perf_counter() + seconds

    def client(number: int) -> list[float]:
        connection, taken, turn = http.client.HTTPConnection("127.0.0.1", port), [], number
        while time.perf_counter() < until:
            started = time.perf_counter()
            ask(connection, bodies[turn % len(bodies)])
            taken.append(1000 * (time.perf_counter() - started))
            turn += clients
        return taken

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        taken = [value for part in pool.map(client, range(clients)) for value in part]
    return len(taken) / (time.perf_counter() - started), statistics.median(taken)


def with_faults(
    requests: int,
    bodies: list[bytes],
    expected: list[list[str]],
    *,
    port: int = PORT,
    clients: int = 32,
    faults: float = 0.01,
    reloads: float = 0.0001,
) -> dict[str, int]:
    """Many requests, among them clients that leave and bad JSON (a share of ``faults`` each) and reloads; every list is
    compared with the one that is expected."""
    counts = dict.fromkeys(("equal", "lost or other", "left", "bad", "reloads"), 0)
    lock = threading.Lock()

    def client(number: int) -> None:
        generator = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(requests // clients):
            place, chance = generator.randrange(len(bodies)), generator.random()
            if chance < faults:  # leaves before the answer
                kind = "left"
                with socket.create_connection(("127.0.0.1", port)) as raw:
                    head = "POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    raw.sendall(f"{head}Content-Length: {len(bodies[place])}\r\n\r\n".encode() + bodies[place])
            elif chance < 2 * faults:
                kind = "bad"
                connection.request("POST", "/recommend", b"{", {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 422
            elif chance < 2 * faults + reloads:
                kind = "reloads"
                connection.request("POST", "/reload", b"{}", {"Content-Type": "application/json"})
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
                answer.read()
            else:
                try:
                    kind = "equal" if ask(connection, bodies[place]) == expected[place] else "lost or other"
                except (OSError, AssertionError, http.client.HTTPException):
                    kind = "lost or other"
                    connection = http.client.HTTPConnection("127.0.0.1", port)
            with lock:
                counts[kind] += 1

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--turns", type=int, default=200, help="requests of the first measurement")
    parser.add_argument("--seconds", type=float, default=10, help="of each number of clients; 0 leaves them out")
    parser.add_argument("--requests", type=int, default=20_000, help="of the run with faults; 0 leaves it out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bodies = make_bodies(arguments.items)
    recommender = make_recommender(arguments.items)
    print(f"{arguments.items:,} items, beams {recommender.beam_size}, torch {torch.__version__}\n")
    print(
        f"one request, without HTTP: p50 {cpu_milliseconds(recommender, bodies, arguments.turns):.2f} CPU ms",
        flush=True,
    )
    expected = [recommender.recommend(histories=json.loads(body)["histories"], k=10).item_ids[0] for body in bodies]

    started = multiprocessing.get_context("spawn").Event()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(arguments.items, started), daemon=True)
    process.start()
    started.wait()
    while True:
        try:
            ask(http.client.HTTPConnection("127.0.0.1", PORT), bodies[0])
            break
        except OSError:
            time.sleep(0.2)
    alone = None
    if arguments.seconds:
        print("\n| clients | requests/s | median latency, ms | against one client |\n|---:|---:|---:|---:|")
    for clients in (1, 8, 32) if arguments.seconds else ():
        rate, latency = throughput(clients, bodies, arguments.seconds)
        alone = alone or rate
        print(f"| {clients} | {rate:.0f} | {latency:.1f} | {rate / alone:.2f} |", flush=True)
    if arguments.requests:
        memory = []
        for _ in range(2):
            counts = with_faults(arguments.requests // 2, bodies, expected)
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            connection.request("GET", "/memory")
            memory.append(int(connection.getresponse().read()) // 1024)
            print(
                f"\n{', '.join(f'{count:,} {name}' for name, count in counts.items())}; peak {memory[-1]:,} MiB",
                flush=True,
            )
    process.terminate()


if __name__ == "__main__":
    main()
