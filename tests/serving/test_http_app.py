import base64
import functools
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")
import uvicorn
from fastapi.testclient import TestClient

from recbole_mgr.cli.main import main
from recbole_mgr.serving import load
from recbole_mgr.serving.http.app import create_app
from recbole_mgr.serving.http.service import Service, run_names


@pytest.fixture(scope="module")
def recommender(run):
    return load(run.folder, device="cpu")


@contextmanager
def served(run, *, waiting=100, **options):
    service = Service({"lf": run.folder, "again": run.folder}, device="cpu", most_waiting=waiting)
    with TestClient(create_app(service, hosts=("testserver",), **options), raise_server_exceptions=False) as client:
        client.service = service
        yield client


@pytest.fixture(scope="module")
def client(run):
    with served(run, numbers={"i3": 3}) as client:
        yield client


def test_lists_are_those_of_the_recommender(client, recommender, run):
    users = sorted(run.histories)[:5]
    answer = client.post("/recommend", json={"users": users, "k": 4, "mask_history": True}).json()
    expected = recommender.recommend(users=users, k=4, mask_history=True)
    assert [[item["item_id"] for item in found["items"]] for found in answer["lists"]] == expected.item_ids
    assert [found["user"] for found in answer["lists"]] == users
    assert answer["run"] == "lf"
    histories = [["i1", "nothing", "i2"], []]
    answer = client.post("/recommend", json={"histories": histories, "k": 2, "unknown": "skip", "run": "again"}).json()
    assert answer["unknown"] == ["nothing"]
    assert [len(found["items"]) for found in answer["lists"]] == [2, 0]
    assert answer["run"] == "again"


def test_allowed_items_alone(client, recommender):
    only = recommender.item_ids[5:8]
    answer = client.post("/recommend", json={"histories": [["i1"]], "only": only}).json()
    assert {item["item_id"] for item in answer["lists"][0]["items"]} == set(only)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "either users or histories"),
        ({"users": ["u1"], "histories": [["i1"]]}, 400, "either users or histories"),
        ({"users": ["stranger"]}, 400, "not known: 'stranger'"),
        ({"histories": [["i1", "x"]]}, 400, "not known: 'x'"),
        ({"histories": [[]]}, 400, "history 1 is empty"),
        ({"histories": [["i1"]], "only": ["x"], "unknown": "skip"}, 400, "names no item"),
        ({"histories": [["i1"]], "k": 20, "beam_size": 5}, 400, "below k"),
        ({"histories": [["i1"]], "run": "x"}, 404, "there are lf, again"),
        ({"histories": [["i1"]], "k": 0}, 422, "greater than or equal to 1"),
        ({"histories": [["i1"]], "kk": 3}, 422, "Extra inputs"),
        ({"histories": [["i1"] * 3000]}, 422, "at most 2000"),
        ({"histories": "i1"}, 422, "list"),
        ("{", 422, "JSON"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(client, body, status, words):
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/recommend", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in answer.text


def test_bodies_are_bounded_whether_or_not_they_say_their_size(run):
    with served(run, most_bytes=1000) as client:
        large = json.dumps({"histories": [["i1"] * 500]}).encode()
        headers = {"content-type": "application/json"}
        assert client.post("/recommend", content=large, headers=headers).status_code == 413
        pieces = (large[start : start + 100] for start in range(0, len(large), 100))  # sent without a length
        assert client.post("/recommend", content=pieces, headers=headers).status_code == 413


def test_a_token_keeps_others_out(run):
    basic = base64.b64encode(b"anyone:s3cret").decode()
    with served(run, token="s3cret") as client:
        assert client.get("/health").status_code == 200
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic !"},
            {"Authorization": "s3cret"},
        ):
            assert client.get("/runs", headers=headers).status_code == 401
        for value in ("Bearer s3cret", f"Basic {basic}"):
            assert client.get("/runs", headers={"Authorization": value}).status_code == 200


def test_another_name_of_the_machine_is_refused(client):
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_a_full_queue_and_a_slow_answer(run, monkeypatch):
    with served(run, waiting=1, timeout=0.2) as client:
        batcher = client.service.batcher(None)
        go, reached = threading.Event(), threading.Event()
        usual = batcher.recommender.stream

        def slow(*arguments, **options):
            reached.set()
            go.wait(20)
            return usual(*arguments, **options)

        monkeypatch.setattr(batcher.recommender, "stream", slow)
        answer = client.post("/recommend", json={"histories": [["i1"]]})
        assert (answer.status_code, answer.json()["detail"]) == (504, "not done within 0.2 s")
        assert reached.is_set()
        answer = client.post("/recommend", json={"histories": [["i1"], ["i1"], ["i1"]]})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        go.set()
        deadline = time.monotonic() + 20
        while batcher.num_waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.post("/recommend", json={"histories": [["i1"]]}).status_code == 200


def test_explained(client, recommender):
    answer = client.post("/explain", json={"history": ["i1", "i2"], "k": 3}).json()
    assert answer["item_ids"] == recommender.recommend(histories=[["i1", "i2"]], k=3).item_ids[0]
    assert len(answer["levels"]) == len(answer["digits"]) == 5
    first = answer["item_ids"][0]
    assert answer["codes"][first] == recommender.codes_of(first)


def test_items_and_users(client, recommender, run):
    found = client.get("/items", params={"query": 'TITLE "1', "limit": 3, "offset": 1}).json()
    assert found["total"] == 11  # 1 and 10 to 19
    assert len(found["items"]) == 3
    assert found["items"][0]["codes"] == recommender.codes_of(found["items"][0]["item_id"])
    user = sorted(run.histories)[0]
    assert [item["item_id"] for item in client.get(f"/users/{user}").json()["history"]] == run.histories[user]
    assert client.get("/users/stranger").status_code == 404


def test_new_items_until_the_next_reload(run):
    vectors = {modality: np.asarray(of["i4"], float).tolist() for modality, of in run.features.items()}
    with served(run) as client:
        before = client.get("/runs").json()[0]["items"]
        answer = client.post("/new-items", json={"items": [{"item_id": "new", "title": "New", "vectors": vectors}]})
        assert answer.json()["added"] == ["new"]
        everything = client.post("/recommend", json={"histories": [["i1"]], "k": before + 1}).json()
        assert "new" in {item["item_id"] for item in everything["lists"][0]["items"]}
        assert (
            client.get("/items", params={"query": "new"}).json()["items"][0]["codes"] == answer.json()["codes"]["new"]
        )
        for wrong, words in (({"smell": [1.0]}, "no modality 'smell'"), ({"text": [1.0]}, "expected (1, 6)")):
            answer = client.post("/new-items", json={"items": [{"item_id": "other", "vectors": wrong}]})
            assert answer.status_code == 400
            assert words in answer.text
        assert client.post("/reload", json={}).json() == {"items": before}
        assert client.get("/items", params={"query": "new"}).json()["total"] == 0


def test_numbers_for_prometheus(run):
    with served(run) as client:
        client.post("/recommend", json={"histories": [["i1"]]})
        client.post("/recommend", json={})
        text = client.get("/metrics").text
    assert 'recbole_mgr_requests_total{route="/recommend",status="200"} 1.0' in text
    assert 'recbole_mgr_requests_total{route="/recommend",status="400"} 1.0' in text
    assert 'recbole_mgr_batch_size_count{run="lf"} 1.0' in text


def test_names_of_runs(tmp_path):
    folders = [tmp_path / "a" / "seed-1", tmp_path / "b" / "seed-1", tmp_path / "a" / "seed-2"]
    assert list(run_names(folders)) == ["a", "b", "a-seed-2"]
    with pytest.raises(ValueError, match="named twice"):
        run_names([*folders, tmp_path / "a" / "seed-2"])


def test_an_open_address_needs_a_token(capsys, monkeypatch):
    monkeypatch.delenv("RECBOLE_MGR_TOKEN", raising=False)
    assert main(["serve", "somewhere", "--host", "0.0.0.0"]) == 2
    assert "set RECBOLE_MGR_TOKEN" in capsys.readouterr().err
    assert main(["serve", "somewhere", "--port", "0"]) == 2


def test_an_address_that_is_taken_is_told_before_anything_is_loaded(run, capsys, monkeypatch):
    def load(*_, **__):
        raise AssertionError("the run was loaded")

    monkeypatch.setattr("recbole_mgr.serving.http.service.Service.__init__", load)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(run.folder), "--port", str(port)]) == 2
    assert f"--port {port}: cannot listen there (Address already in use); name another" in capsys.readouterr().err


def test_what_answers_is_told_when_it_answers(run, capsys, monkeypatch):
    # its own logging would close every handler that there is
    monkeypatch.setattr("uvicorn.Config", functools.partial(uvicorn.Config, log_config=None))
    monkeypatch.setattr("recbole_mgr.serving.http.service.Service.start", lambda self: 1 / 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["serve", str(run.folder), "--no-pages", "--processes", "0", "--port", str(port)]
    # in a thread, as a browser of other tests may keep a loop in this one; some uvicorns end the process themselves
    with ThreadPoolExecutor(1) as thread, suppress(SystemExit):
        assert thread.submit(main, command).result() == 1
    assert "answers for" not in capsys.readouterr().out
