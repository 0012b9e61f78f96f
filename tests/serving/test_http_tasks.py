"""UniMP's tasks over HTTP: a route for each that a run has learned, with its schema and its limits."""

import base64
import io
import pickle
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi.testclient import TestClient
from PIL import Image
from untrained_unimp import make_run

from recbole_mgr.serving.http.app import create_app
from recbole_mgr.serving.http.service import Service
from recbole_mgr.serving.personalize import PersonalRequest, personalize
from recbole_mgr.serving.recommender import Recommender


@pytest.fixture(scope="module")
def runs():
    return {"all": make_run("rec,search,preference,explanation,selection,image"), "rec": make_run("rec")}


@pytest.fixture(scope="module")
def client(runs):
    recommenders = {name: Recommender(run, run_dir=Path(name)) for name, run in runs.items()}
    service = Service({name: Path(name) for name in runs}, load=lambda folder, device: recommenders[folder.name])
    with TestClient(create_app(service, hosts=("testserver",), numbers={"b": 7})) as client:
        yield client


def test_a_copy_for_another_process_gives_equal_lists(runs):
    recommender = Recommender(runs["all"], run_dir=Path("all"))
    histories = [["a", "c"], ["b"]]
    copy = pickle.loads(pickle.dumps(recommender))
    assert copy.recommend(histories=histories, k=3) == recommender.recommend(histories=histories, k=3)


@pytest.mark.parametrize(
    ("task", "body"),
    [
        ("search", {"user": "ann", "query": "soap", "k": 3}),
        ("preference", {"history": ["a", "c"], "item": "e"}),
        ("explanation", {"user": "ann", "item": "e"}),
        ("selection", {"user": "ann", "candidates": ["b", "d", "e"]}),
        ("image_generation", {"user": "ann", "query": "soap"}),
    ],
)
def test_answers_are_those_of_the_library(client, runs, task, body):
    answer = client.post(f"/tasks/{task}", json=body)
    assert answer.status_code == 200, answer.text
    content, expected = answer.json(), personalize(runs["all"], PersonalRequest(task, **body))
    assert (content["run"], content["task"]) == ("all", task)
    assert (content["prompt"], content["images"]) == (expected.prompt, expected.images)
    assert content["answer"] == expected.answer
    assert [item["item_id"] for item in content["items"]] == [item.item_id for item in expected.items]
    assert {item["item_id"]: item["number"] for item in content["items"]}.get("b", 7) == 7
    if task == "search":
        assert [item["score"] for item in content["items"]] == pytest.approx([item.score for item in expected.items])
        assert len(content["items"]) == 3
    if task == "image_generation":
        picture = Image.open(io.BytesIO(base64.b64decode(content["picture"].removeprefix("data:image/png;base64,"))))
        assert picture.tobytes() == expected.picture.tobytes()


@pytest.mark.parametrize(
    ("task", "body", "status", "words"),
    [
        ("search", {"user": "ann"}, 422, "query"),
        ("search", {"user": "ann", "query": ""}, 422, "at least 1 character"),
        ("search", {"user": "ann", "query": "x" * 501}, 422, "at most 500"),
        ("search", {"query": "soap"}, 400, "either a user or a history"),
        ("search", {"user": "ann", "query": " "}, 400, "give a query"),
        ("search", {"user": "bob", "query": "soap"}, 400, "not in the training data"),
        ("preference", {"user": "ann", "item": "z"}, 400, "no such item 'z'"),
        ("selection", {"user": "ann", "candidates": ["a"]}, 400, "choose from 3 items"),
        ("image_generation", {"user": "ann", "query": "soap", "temperature": 0}, 422, "greater than 0"),
        ("search", {"user": "ann", "query": "soap", "run": "rec"}, 400, "has not learned search"),
        ("search", {"user": "ann", "query": "soap", "run": "x"}, 404, "there are all, rec"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(client, task, body, status, words):
    answer = client.post(f"/tasks/{task}", json=body)
    assert answer.status_code == status
    assert words in answer.text


def test_the_schema_has_the_tasks_that_some_run_has_learned(client, runs):
    paths = client.get("/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/tasks/")} == {
        f"/tasks/{task}" for task in ("search", "preference", "explanation", "selection", "image_generation")
    }
    assert paths["/tasks/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "Body"
    )
    assert [run["tasks"] for run in client.get("/runs").json()] == [runs["all"].network.task_names, ["recommendation"]]
    service = Service({"rec": Path("rec")}, load=lambda folder, device: Recommender(runs["rec"], run_dir=folder))
    alone = create_app(service)
    assert not [path for path in alone.openapi()["paths"] if path.startswith("/tasks/")]
