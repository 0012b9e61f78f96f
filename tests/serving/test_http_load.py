"""A server under many clients, some of which leave, send nonsense or reload the run: nothing is lost or mixed up."""

import importlib.util
import json
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from recbole_mgr.serving import load
from recbole_mgr.serving.http.app import create_app
from recbole_mgr.serving.http.service import Service

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "serving.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("serving_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def port(run):
    import uvicorn

    service = Service({"lf": run.folder}, device="cpu")
    # on a busy machine neither a slow answer nor a client that pauses is to be taken for a lost one
    patient = uvicorn.Config(create_app(service, timeout=300), port=0, log_config=None, timeout_keep_alive=300)
    server = uvicorn.Server(patient)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


def test_nothing_is_lost_or_mixed_up(benchmark, port, run):
    recommender = load(run.folder, device="cpu")
    histories = [run.histories[user] for user in sorted(run.histories)]
    bodies = [json.dumps({"histories": [history], "k": 10}).encode() for history in histories]
    expected = recommender.recommend(histories=histories).item_ids
    assert len(set(map(tuple, expected))) > len(expected) / 2  # a list of another client would be noticed
    counts = benchmark.with_faults(320, bodies, expected, port=port, clients=8, faults=0.1, reloads=0.01)
    assert sum(counts.values()) == 320
    assert counts.pop("lost") == counts.pop("of another") == 0
    assert all(counts.values())
