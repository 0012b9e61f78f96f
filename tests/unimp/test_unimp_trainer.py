"""Training of UniMP from the settings to the tables: what steers, what is tested, what is resumed and used."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed
from tiny_shop import KINDS, NUM_ITEMS, TASKS, shop_settings, write_shop

from recbole_mgr.integration.checkpoint import load_checkpoint
from recbole_mgr.integration.config import make_config
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.table_page import markdown
from recbole_mgr.serving.personalize import PersonalRequest, personalize
from recbole_mgr.serving.prompt_text import prompt_text
from recbole_mgr.serving.recommender import load
from recbole_mgr.serving.run_directory import read_run
from recbole_mgr.unimp.tasks import make_tasks
from recbole_mgr.unimp.tasks.cases import Case
from recbole_mgr.unimp.trainer import UniMPTrainer
from recbole_mgr.unimp.unimp import UniMP

KILLED_RUN = """
import json, os, signal, sys
import recbole_mgr
from recbole_mgr.unimp.unimp import UniMP
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

steps, loss = iter(range(1000)), UniMP.calculate_loss

def mortal(self, interaction):
    if next(steps) == 8:  # in the second epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, interaction)

UniMP.calculate_loss = mortal
run_comparison([ModelRequest("UniMP", {})], "tiny", settings=json.loads(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory, write_dataset, tiny_settings):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder, write_dataset)
    return shop_settings(tiny_settings, folder, epochs=2, checkpoint_dir="saved", num_threads=1)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(settings, *models: str, **changes):
    requests = [ModelRequest(name, {}) for name in models]
    return run_comparison(requests, "tiny", settings={**settings, **changes})


def run_dir(checkpoint_dir: str = "saved"):
    (file,) = Path(checkpoint_dir).rglob("UniMP*/seed-*/result.json")
    return file.parent


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    """A run of all tasks beside another model, and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        comparison = run(settings, "Pop", "UniMP")
        return comparison, folder / run_dir()


def test_one_command_gives_one_table_of_models_and_one_of_each_task(finished):
    comparison, _ = finished
    page = markdown(comparison)
    assert [row["Model"] for row in comparison.accuracy_table()] == ["Pop", "UniMP"]
    assert "UniMP against Pop" in page
    result = comparison.results[1]
    assert [task["task"] for task in result.tasks] == TASKS[1:]
    for task in TASKS[1:]:
        assert f"### Task: {task} (" in page
    search = result.tasks[0]
    assert search["cases"] == len(result.users) == 30
    assert set(search["metrics"]) == {"recall@5", "recall@10", "ndcg@5", "ndcg@10"}
    assert all(task["cases"] == 10 and task["baselines"] for task in result.tasks[1:])
    assert search["baselines"]["query words"]["recall@10"]["value"] == 1  # a query names one of 4 kinds of 6 items


def test_a_finished_run_is_read_back_whole(finished, settings, monkeypatch):
    comparison, folder = finished
    monkeypatch.chdir(folder.parents[3])
    again = run(settings, "Pop", "UniMP")
    assert again.results[1].plain() == json.loads((folder / "result.json").read_text())
    assert again.results[1].tasks == comparison.results[1].tasks


def test_the_run_directory_recommends_what_the_test_ranked(finished):
    comparison, folder = finished
    assert not [file.name for file in folder.rglob("*") if file.suffix in (".pkl", ".pickle")]
    recommender = load(folder, device="cpu")
    result = comparison.results[1]
    histories = recommender._histories
    users = result.users.tolist()[:5]
    shown = [[recommender.item_ids[item - 1] for item in histories.of_user(user)][:-1] for user in users]
    lists = recommender.recommend(histories=shown, k=10).item_ids
    targets = result.targets.tolist()[:5]
    ranks = [items.index(target) + 1 if target in items else 0 for items, target in zip(lists, targets, strict=True)]
    assert ranks == result.ranks[:5].tolist()
    with pytest.raises(ValueError, match="new items cannot be added to a trained run"):
        recommender.add_items(["new"], {m: np.zeros((1, 6), np.float32) for m in recommender.modalities})


@pytest.mark.parametrize("task", ["preference", "explanation"])
def test_the_run_directory_asks_with_what_users_said(finished, settings, task):
    _, folder = finished
    config = make_config("UniMP", "tiny", [], settings)
    dataset = create_dataset(config)
    dataset.build()
    sequence = dataset.personal.sequences("test")[7]
    case = Case(sequence.user_id, sequence.item_ids[-3:], 1, sequence.interactions[-3:])
    row = make_tasks([task], dataset.personal, config)[0].row(case, answer=False)
    user, item = (dataset.id2token(field, index) for field, index in (("user_id", sequence.user_id), ("item_id", 1)))
    asked = personalize(read_run(folder), PersonalRequest(task, user=user, item=item))
    assert asked.prompt == prompt_text(row, dataset.personal)
    assert asked.prompt.count("<rating ") == 3


def test_what_users_said_is_kept_only_where_wanted(finished, settings):
    _, folder = finished
    shutil.copytree(folder.parents[2], "saved", ignore=shutil.ignore_patterns("Pop-*"))
    forgotten = ["histories.npz", "ratings_and_reviews.npz"]
    assert sorted(file.name for file in Path("saved").rglob("*.npz") if file.name in forgotten) == forgotten
    run(settings, "UniMP", keep_histories=False)  # read back
    assert not any(file.name in forgotten for file in Path("saved").rglob("*"))

    for name in forgotten:  # as if it had ended between its files and its result
        (kept,) = folder.rglob(name)
        shutil.copy(kept, run_dir() / kept.relative_to(folder))
    (run_dir() / "result.json").unlink()
    run(settings, "UniMP", keep_histories=False)  # tested again
    assert not any(file.name in forgotten for file in Path("saved").rglob("*"))
    assert personalize(read_run(run_dir()), PersonalRequest("preference", history=["i1"], item="i2")).answer


def test_without_recommendation_the_tasks_stand_alone(settings):
    comparison = run(settings, "UniMP", tasks="preference,selection", epochs=1, rating_bias=True)
    (result,) = comparison.results
    assert result.test == {} and len(result.users) == 0
    assert set(result.valid) == {"loss of preference", "loss of selection"}
    assert all(0 < loss < 10 for loss in result.valid.values())
    assert comparison.accuracy_table() == []
    assert "### Task: preference" in markdown(comparison)
    line = read_run(run_dir()).network.rating_line
    assert line.line.tolist() != [0, 1, 0] and result.tasks[0]["notes"][-1] == line.note
    assert personalize(read_run(run_dir()), PersonalRequest("preference", user="u1", item="i1")).answer
    with pytest.raises(ValueError, match="this run has not learned to rank items"):
        load(run_dir(), device="cpu").recommend(users=["u1"])


def test_unseen_users_are_tested_after_a_staged_training(settings):
    result = run(settings, "UniMP", user_split="by_user", task_sampling="staged", epochs=len(TASKS)).results[0]
    assert len(result.users) == 3  # of 30
    assert {task["task"]: task["cases"] for task in result.tasks} == dict.fromkeys(TASKS[1:], 3)
    assert all(0 < value < 10 for name, value in result.valid.items() if name.startswith("loss of "))


@pytest.fixture
def trainer(settings):
    def make(**changes):
        config = make_config("UniMP", "tiny", [], {**settings, **changes})
        init_seed(1, True)
        train, valid, test = data_preparation(config, create_dataset(config))
        init_seed(1, True)
        return UniMPTrainer(config, UniMP(config, train._dataset)), valid, test

    return make


def test_one_task_is_validated_by_its_ranking_and_several_by_the_geometric_mean_of_their_losses(trainer):
    ours, valid, _ = trainer(tasks="rec")
    ours.eval_collector.data_collect(valid)
    score, result = ours._valid_epoch(valid)
    assert score == result["ndcg@10"]
    for tasks in ("preference,selection", "rec,preference"):
        ours, valid, _ = trainer(tasks=tasks, train_batch_size=7)
        ours.eval_collector.data_collect(valid)
        score, result = ours._valid_epoch(valid)
        one, other = (loss for name, loss in result.items() if name.startswith("loss of "))
        assert score == pytest.approx(-((one * other) ** 0.5))
    assert "ndcg@10" in result


@torch.no_grad()
def test_the_validation_loss_is_that_of_unseen_targets_whatever_the_batches(trainer):
    one, _, _ = trainer(tasks="preference", train_batch_size=1)
    many, _, _ = trainer(tasks="preference", train_batch_size=16)
    heavy, _, _ = trainer(tasks="preference", task_weights={"preference": 3})
    for other in (many, heavy):
        other.model.load_state_dict(one.model.state_dict())
        assert one._valid_losses() == pytest.approx(other._valid_losses(), rel=1e-5)


def test_the_schedule_counts_the_steps_of_the_mixture(trainer):
    ours, _, _ = trainer(tasks="rec,search", lr_scheduler="linear", learning_rate=1.0, warmup_epochs=0)
    steps = len(ours.mixture.epoch(0))
    ours._schedule(1)
    for _ in range(steps):  # one of two epochs
        ours.optimizer.step()
    assert ours.optimizer.param_groups[0]["lr"] == pytest.approx(0.5)


def test_the_schedule_of_stages_ends_with_the_last_one(trainer):
    ours, _, _ = trainer(
        tasks="rec,search", task_sampling="staged", train_batch_size=4, lr_scheduler="linear", warmup_epochs=0
    )
    lengths = [len(ours.mixture.epoch(epoch)) for epoch in range(ours.epochs)]
    assert len(set(lengths)) > 1
    ours._schedule(1)
    rates = []
    for _ in range(sum(lengths)):
        ours.optimizer.step()
        rates.append(ours.optimizer.param_groups[0]["lr"])
    assert rates[-1] < 0.05 * rates[0] < rates[-lengths[-1]]


def test_a_killed_run_ends_with_the_same_weights(settings):
    settings = {**settings, "tasks": "rec,preference", "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2}
    run({**settings, "checkpoint_dir": "whole"}, "UniMP")
    settings["checkpoint_dir"] = "killed"
    package_path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", KILLED_RUN, json.dumps(settings)], env=package_path)
    assert killed.returncode == -signal.SIGKILL
    run(settings, "UniMP")
    states = [load_checkpoint(run_dir(name) / "best.pth")["state_dict"] for name in ("whole", "killed")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_item_can_be_ranked(trainer):
    ours, _, test = trainer(tasks="rec")
    users = test._dataset.inter_feat
    everything = ours.model.eval().generate(users, NUM_ITEMS).item_ids
    assert (everything.sort(dim=1).values == torch.arange(1, NUM_ITEMS + 1)).all()


def test_recommendation_and_search_choose_weights_of_their_own_and_a_run_keeps_them(settings):
    asked = {"tasks": "rec,search", "query_words": True, "memory": True, "memory_options": {"content_weight": 0}}
    (result,) = run(settings, "UniMP", **asked, epochs=1).results
    (search,) = result.tasks
    loaded = read_run(run_dir())
    weights = loaded.network.search_weights.as_dict()
    assert list(weights) == ["codes", "query_words", "memory"]
    assert list(loaded.network.part_weights.as_dict()) == ["codes", "memory"]
    assert weights["query_words"] > 0 and weights["query_words"] != 1  # what it starts with is too much
    note = ", ".join(f"{part} {weight:g}" for part, weight in weights.items())
    assert search["notes"][-1].endswith(f"weights (chosen on validation): {note}")
    for kind in KINDS:
        found = personalize(loaded, PersonalRequest("search", user="u1", query=kind, k=6)).items
        assert found[0].title.endswith(kind)
