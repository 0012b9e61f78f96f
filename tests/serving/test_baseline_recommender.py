"""RecBole's models from their run directories alone: the lists are those of the test, and what cannot be is refused."""

import pickle
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import recbole_mgr
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.results import RunResult
from recbole_mgr.serving import Request

SEQUENTIAL = ("SASRec", "SASRecWindows", "GRU4Rec", "FPMC")
CLOSED_FORM = {
    "HistoryAgain": {},
    "TGH": {"modalities": ["text", "image"]},
    "ItemMemory": {"modalities": ["text"], "content_weight": [0.5, 2.0], "refit_on_validation": True},
}
GENERAL = ("BPR", "LightGCN", "ItemKNN", "Pop", "MultiVAE")


class World(NamedTuple):
    folders: dict[str, Path]
    results: dict[str, RunResult]
    histories: dict[str, list[str]]  # user -> items in time order, the test target last


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_dataset, tiny_settings) -> World:
    base = tmp_path_factory.mktemp("baselines")
    data = write_dataset(base)
    rows = "".join(f"i{n}\tTitle of i{n}\tbrand {n % 3}\t{n}.5\n" for n in range(24))
    (data / "tiny.item").write_text("item_id:token\ttitle:token_seq\tbrand:token\tprice:float\n" + rows)
    histories: dict[str, list[str]] = {}
    for line in (data / "tiny.inter").read_text().splitlines()[1:]:
        user, item, _ = line.split("\t")
        histories.setdefault(user, []).append(item)
    known = (
        "data_path",
        "epochs",
        "train_batch_size",
        "topk",
        "gpu_id",
        "show_progress",
        "state",
        "num_threads",
        "floors",
    )
    settings = {key: value for key, value in tiny_settings(base, num_threads=1).items() if key in known}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        results = run_comparison(
            [
                *(ModelRequest(name, {}) for name in (*SEQUENTIAL, *GENERAL)),
                *(ModelRequest(name, own) for name, own in CLOSED_FORM.items()),
            ],
            "tiny",
            settings=settings,
        )
    moved = tmp_path_factory.mktemp("moved")
    folders = {}
    for result in results.results:
        (trained,) = base.glob(f"saved/*/{result.model}-*/seed-*")
        folders[result.model] = shutil.copytree(trained, moved / result.model)
    shutil.rmtree(base)
    return World(folders, {result.model: result for result in results.results}, histories)


def ranks(lists: list[list[str]], targets) -> list[int]:
    return [items.index(item) + 1 if item in items else 0 for items, item in zip(lists, targets, strict=True)]


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", *CLOSED_FORM])
@pytest.mark.parametrize("masked", [False, True])
def test_sequential_models_read_histories(world, name, masked):
    model, result = recbole_mgr.load(world.folders[name], device="cpu"), world.results[name]
    histories = [world.histories[user][:-1] for user in result.users]
    found = model.recommend(histories=histories, k=10, mask_history=masked, batch_size=7)
    assert ranks(found.item_ids, result.targets) == (result.ranks_masked if masked else result.ranks).tolist()
    assert all(scores == sorted(scores, reverse=True) for scores in found.scores)
    assert found.titles[0] == [f"Title of {item}" for item in found.item_ids[0]]
    by_user = model.recommend(users=["u1"], k=5)
    assert by_user.item_ids == model.recommend(histories=[world.histories["u1"]], k=5).item_ids


@pytest.mark.parametrize("name", GENERAL)
def test_general_models_know_their_users(world, name):
    model, result = recbole_mgr.load(world.folders[name], device="cpu"), world.results[name]
    found = model.recommend(users=result.users.tolist(), k=10, batch_size=7)
    assert ranks(found.item_ids, result.targets) == result.ranks.tolist()
    masked = model.recommend(users=["u1", "u2"], k=24, mask_history=True)
    for user, items in zip(masked.users, masked.item_ids, strict=True):
        assert sorted(items) == sorted(set(model.item_ids) - set(world.histories[user]))
    only = model.recommend(users=["u1"], k=3, only=["i3", "i4"])
    assert sorted(only.item_ids[0]) == ["i3", "i4"]
    with pytest.raises(ValueError, match=f"{name} has learned users and does not read histories; ask for users"):
        model.recommend(histories=[["i1"]])


@pytest.mark.parametrize("name", [*SEQUENTIAL, *CLOSED_FORM, *GENERAL])
def test_a_copy_for_another_process_gives_equal_lists(world, name):
    model = recbole_mgr.load(world.folders[name], device="cpu")
    asked = {"users": ["u1", "u2"], "k": 5, "mask_history": True, "only": model.item_ids[:9]}
    assert pickle.loads(pickle.dumps(model)).recommend(**asked) == model.recommend(**asked)


def test_over_http_lists_are_those_of_the_recommender(world):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    from fastapi.testclient import TestClient

    from recbole_mgr.serving.http.app import create_app
    from recbole_mgr.serving.http.service import Service

    folders = {name: world.folders[name] for name in ("SASRecWindows", "BPR", "ItemMemory")}
    service = Service(folders, device="cpu")
    with TestClient(create_app(service, hosts=("testserver",))) as client:
        for name in folders:
            answer = client.post("/recommend", json={"users": ["u1", "u2"], "k": 4, "run": name}).json()
            lists = [[item["item_id"] for item in found["items"]] for found in answer["lists"]]
            assert lists == service.recommender(name).recommend(users=["u1", "u2"], k=4).item_ids
        answer = client.post("/recommend", json={"histories": [["i1"]], "run": "BPR"})
        assert answer.status_code == 400
        assert "does not read histories" in answer.text
        assert "has no beams" in client.post("/explain", json={"history": ["i1"]}).text


def test_who_asks_in_vain_does_not_spoil_the_batch_of_others(world):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from recbole_mgr.serving.http.batching import Asked, Batcher

    model = recbole_mgr.load(world.folders["FPMC"], device="cpu")

    async def answers():
        batcher = Batcher(model)
        await batcher.start()
        requests = [Request("u1"), Request("1", ["i1", "i2"]), Request("u2")]  # a history does not tell FPMC who asks
        found = await asyncio.gather(*(batcher.submit(Asked(one)) for one in requests), return_exceptions=True)
        await batcher.close()
        return found

    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may keep a loop in this one
        first, refused, last = thread.submit(asyncio.run, answers()).result()
    assert [first.item_ids, last.item_ids] == model.recommend(users=["u1", "u2"]).item_ids
    assert "FPMC also reads 'user_id'" in str(refused)


def test_a_model_that_needs_more_than_a_history_says_so(world):
    model = recbole_mgr.load(world.folders["FPMC"], device="cpu")
    assert len(model.recommend(users=["u1"], k=5).item_ids[0]) == 5
    with pytest.raises(ValueError, match="FPMC also reads 'user_id' of each request, which a history does not tell"):
        model.recommend(histories=[["i1"]])


def test_options_that_mean_nothing_are_refused(world):
    model = recbole_mgr.load(world.folders["BPR"], device="cpu")
    with pytest.raises(ValueError, match="beam_size: BPR scores every item and has no beams"):
        model.recommend(users=["u1"], beam_size=20)
    with pytest.raises(ValueError, match="user 'nobody' is not in the training data"):
        model.recommend(users=["nobody"])
    assert model.item_fields(["price", "brand"])["i4"] == ["4.5", "brand 1"]
    with pytest.raises(ValueError, match="--fields colour: .*items.tsv has brand, price"):
        model.item_fields(["colour"])


@pytest.mark.parametrize("name", ["best.pth", "items.tsv", "histories.npz", "training.npz"])
def test_damaged_files_are_named(world, tmp_path, name):
    folder = shutil.copytree(world.folders["BPR"], tmp_path / "run")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 4
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: damaged, its SHA-256 is not the one in run.yaml; copy the run"):
        recbole_mgr.load(folder, device="cpu")


def test_without_what_it_was_built_from_a_general_model_is_refused(world, tmp_path):
    folder = shutil.copytree(world.folders["LightGCN"], tmp_path / "run")
    (folder / "training.npz").unlink()
    with pytest.raises(ValueError, match="keeps no histories of its users .keep_histories: False., and LightGCN"):
        recbole_mgr.load(folder, device="cpu")
    folder = shutil.copytree(world.folders["ItemKNN"], tmp_path / "other")
    arrays = dict(np.load(folder / "training.npz"))
    arrays["items"][0] = 99
    np.savez(folder / "training.npz", **arrays)
    (folder / "run.yaml").write_text((folder / "run.yaml").read_text().split("files:")[0])  # a stranger's, in agreement
    with pytest.raises(ValueError, match="training.npz: ids out of 1..24"):
        recbole_mgr.load(folder, device="cpu")
    about = (folder / "run.yaml").read_text()
    (folder / "run.yaml").write_text(about.replace("model: ItemKNN", "model: EASE"))
    with pytest.raises(ValueError, match="best.pth: of another model than run.yaml"):
        recbole_mgr.load(folder, device="cpu")
