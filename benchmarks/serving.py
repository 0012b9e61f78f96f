"""A service under load: CPU time of a request, requests a second by number of clients, and nothing lost or mixed up.

    python benchmarks/serving.py                                  # 200,000 items
    python benchmarks/serving.py --seconds 0 --requests 100000    # the run with faults alone, of some minutes

The catalogue and the weights are made up: neither changes how long a search takes, but for how many beams survive. The
service runs in processes of its own; clients keep their connections. The clients of the throughput are one event loop
that sends prepared bytes: they share the machine with the service, so they are as cheap as they can be.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import random
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
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


def serve(items: int, processes: int, started) -> None:
    """The service's process."""
    import uvicorn

    from recbole_mgr.serving.http.app import create_app
    from recbole_mgr.serving.http.service import Service

    torch.set_num_threads(1)
    runs = {"made-up": Path("made-up")}
    service = Service(runs, processes=processes, load=lambda folder, device: make_recommender(items))
    app = create_app(service, timeout=300)

    @app.get("/used")
    async def used() -> list[float]:
        """CPU seconds and MiB of the service's processes together; of memory that they share each counts its part."""
        own = psutil.Process()
        every = [own, *own.children()]
        seconds = sum(sum(process.cpu_times()[:2]) for process in every)
        return [seconds, sum(process.memory_full_info().pss for process in every) / 2**20]

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


class Client(asyncio.Protocol):
    """Asks again as soon as it has its answer, with every ``step``-th of the requests from ``turn`` on."""

    def __init__(self, requests: list[bytes], turn: int, step: int, until: float, taken: list[float]) -> None:
        self._requests, self._turn, self._step, self._until, self._taken = requests, turn, step, until, taken
        self._answer = b""
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self._requests[self._turn % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200"), self._answer
        self._taken.append(1000 * (time.perf_counter() - self._started))
        self._answer = b""
        self._turn += self._step
        if time.perf_counter() < self._until:
            self._ask()
        else:
            self._transport.close()
            self.ended.set_result(None)


def throughput(clients: int, bodies: list[bytes], seconds: float, port: int = PORT) -> tuple[list[float], float]:
    """Milliseconds that each request took, and the CPU milliseconds of a request in the clients."""
    head = "POST /recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    requests, taken = [(head % len(body)).encode() + body for body in bodies], []

    async def run() -> None:
        loop, until = asyncio.get_running_loop(), time.perf_counter() + seconds
        made = [Client(requests, number, clients, until, taken) for number in range(clients)]
        for client in made:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        await asyncio.gather(*(client.ended for client in made))

    started = time.process_time()
    asyncio.run(run())
    return taken, 1000 * (time.process_time() - started) / len(taken)


def used(port: int = PORT) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/used")
    return json.loads(connection.getresponse().read())


def print_throughput(bodies: list[bytes], seconds: float, rounds: int) -> None:
    """The numbers of clients in turns, for a machine's speed may change from one second to the next."""
    numbers = 1, 8, 32
    rates, columns = {clients: [] for clients in numbers}, {clients: [] for clients in numbers}
    throughput(32, bodies, 1)
    for _ in range(rounds):
        for clients in numbers:
            before, started = used()[0], time.perf_counter()
            taken, of_clients = throughput(clients, bodies, seconds)
            rates[clients].append(len(taken) / (time.perf_counter() - started))
            of_service = 1000 * (used()[0] - before) / len(taken)
            columns[clients].append((statistics.median(taken), of_service, of_clients))
    print(
        "\n| clients | requests/s of each round | mean | median latency, ms | CPU ms of the service | of the clients |"
    )
    print("|---:|---|---:|---:|---:|---:|")
    mean = {clients: statistics.mean(found) for clients, found in rates.items()}
    for clients in numbers:
        latency, of_service, of_clients = map(statistics.mean, zip(*columns[clients], strict=True))
        each = ", ".join(f"{rate:.0f}" for rate in rates[clients])
        print(f"| {clients} | {each} | {mean[clients]:.0f} | {latency:.1f} | {of_service:.2f} | {of_clients:.2f} |")
    print(f"\n32 clients against one: {mean[32] / mean[1]:.2f}", flush=True)


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
    counts = dict.fromkeys(("equal", "of another", "lost", "left", "bad", "reloads"), 0)
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
                    kind = "equal" if ask(connection, bodies[place]) == expected[place] else "of another"
                except (OSError, AssertionError, http.client.HTTPException):
                    kind = "lost"
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
    parser.add_argument("--processes", type=int, default=2, help="that search; 0: a thread")
    parser.add_argument("--seconds", type=float, default=3, help="of each number of clients; 0 leaves them out")
    parser.add_argument("--rounds", type=int, default=4, help="of all numbers of clients")
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
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(arguments.items, arguments.processes, started)
    )
    process.start()
    started.wait()
    while True:
        try:
            ask(http.client.HTTPConnection("127.0.0.1", PORT), bodies[0])
            break
        except OSError:
            time.sleep(0.2)
    if arguments.seconds:
        print_throughput(bodies, arguments.seconds, arguments.rounds)
    if arguments.requests:
        print(f"\nmemory {used()[1]:,.0f} MiB")
        for _ in range(4):
            counts = with_faults(arguments.requests // 4, bodies, expected)
            found = ", ".join(f"{count:,} {name}" for name, count in counts.items())
            print(f"{found}; memory {used()[1]:,.0f} MiB", flush=True)
    process.terminate()
    process.join()


if __name__ == "__main__":
    main()
