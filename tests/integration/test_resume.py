"""A run that is killed ends, once resumed, as if it had never been: bit for bit on a CPU."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed

from recbole_mgr.integration import resume
from recbole_mgr.integration.checkpoint import load_checkpoint, save_checkpoint
from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.resume import random_state, set_random_state
from recbole_mgr.integration.trainer import comparable
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

REQUEST = ModelRequest("MGRLFpp", {"alignment_epochs": 3, "alignment_losses": ["infonce", "id_to_id"]})

# Imports once, then lives and dies three times, each time further in the same run.
KILLED_RUNS = """
import json, os, signal, sys
import torch
from recbole_mgr.model.alignment import AlignmentStage
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.integration.resume import ResumableTrainer

torch.set_num_threads(1)
request, settings = json.loads(sys.argv[1])
places = {"alignment": 0, "epoch": 0, "no improvement": 0}

def kill_when(place, due):
    places[place] += 1
    if place == sys.argv[2 + life] and due(places[place]):
        os.kill(os.getpid(), signal.SIGKILL)

align, loss, epoch = AlignmentStage.loss, GenerativeRecommender.calculate_loss, ResumableTrainer._train_epoch

def noted_align(self, item_ids):
    kill_when("alignment", lambda count: count == 5)  # 3 steps an epoch
    return align(self, item_ids)

def noted_loss(self, interaction):
    kill_when("epoch", lambda count: count == 7)  # 4 steps an epoch
    if self.waits:
        kill_when("no improvement", lambda count: count == 2)
    return loss(self, interaction)

def noted_epoch(self, *args, **kwargs):
    self.model.waits = self.cur_step > 0
    return epoch(self, *args, **kwargs)

AlignmentStage.loss, GenerativeRecommender.calculate_loss = noted_align, noted_loss
ResumableTrainer._train_epoch = noted_epoch
for life in range(len(sys.argv) - 2):
    child = os.fork()
    if not child:
        run_comparison([ModelRequest(*request)], "tiny", settings=settings)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (life, status)
"""


def assert_same(first, second, place: str = "") -> None:
    """Bit for bit, through dictionaries and lists."""
    assert type(first) is type(second), place
    if isinstance(first, dict):
        assert list(first) == list(second), place
        for key in first:
            assert_same(first[key], second[key], f"{place}[{key!r}]")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), place
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same(*pair, f"{place}[{index}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), place
    else:
        assert first == second, place


@pytest.fixture(scope="module")
def runs(tmp_path_factory, write_dataset, tiny_settings):
    """One run without interruption, and one that was killed three times before it was resumed to the end."""
    folder = tmp_path_factory.mktemp("resume")
    write_dataset(folder)
    settings = tiny_settings(
        folder,
        epochs=12,
        stopping_step=2,
        n_layers=1,
        train_batch_size=8,
        alignment_batch_size=8,
        learning_rate=0.3,  # so much that it soon stops to improve
        lr_scheduler="cosine",
        warmup_epochs=1,
        num_threads=1,
    )
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(folder)
    whole = run_comparison([REQUEST], "tiny", settings={**settings, "checkpoint_dir": "whole"}).results[0]
    settings = {**settings, "checkpoint_dir": "killed"}
    lives = [json.dumps([REQUEST, settings]), "alignment", "epoch", "no improvement"]
    package_path = {**os.environ, "PYTHONPATH": str(Path(resume.__file__).parents[2])}
    subprocess.run([sys.executable, "-c", KILLED_RUNS, *lives], check=True, env=package_path)
    (run_dir,) = (folder / "killed").glob("*/*/seed-*")
    left = load_checkpoint(run_dir / resume.PROGRESS_FILE)
    assert not (run_dir / "result.json").exists()
    killed = run_comparison([REQUEST], "tiny", settings=settings).results[0]
    monkeypatch.undo()
    return SimpleNamespace(folder=folder, whole=whole, killed=killed, left=left)


def checkpoints(folder, name: str) -> dict:
    (file,) = folder.glob(f"*/*/seed-*/{name}")
    checkpoint = load_checkpoint(file)
    checkpoint.pop("train_seconds", None)
    checkpoint["config"].pop("checkpoint_dir")
    return checkpoint


@pytest.mark.parametrize("name", ["best.pth"])
def test_a_run_killed_three_times_ends_with_the_same_bits(runs, name):
    assert_same(checkpoints(runs.folder / "killed", name), checkpoints(runs.folder / "whole", name))


def test_its_result_is_the_same(runs):
    for name in ("valid", "test", "test_masked", "id_level", "alignment", "epochs", "parameters", "num_items"):
        assert getattr(runs.killed, name) == getattr(runs.whole, name)
    for name in ("ranks", "ranks_masked", "users", "targets"):
        assert np.array_equal(getattr(runs.killed, name), getattr(runs.whole, name))


def test_it_was_killed_while_early_stopping_was_counting_and_then_stopped_early(runs):
    assert runs.left["cur_step"] == 1
    assert runs.left["best_valid_result"]["ndcg@10"] == runs.left["best_valid_score"]
    assert 2 < runs.whole.epochs < 12
    assert runs.left["epoch"] < runs.whole.epochs
    assert runs.whole.valid["ndcg@10"] >= runs.left["best_valid_score"]
    assert runs.killed.train_seconds > runs.left["train_seconds"] > 0


KNOWLEDGE = {
    "inter": ["user_id", "item_id", "timestamp"],
    "kg": ["head_id", "relation_id", "tail_id"],
    "link": ["item_id", "entity_id"],
}


class Interrupted(Exception):
    pass


def train(folder, name: str, run_dir, interrupt_at: int | None = None, **settings):
    """A trainer after its fit, or when the loss was computed ``interrupt_at`` times."""
    settings = {"data_path": str(folder), "checkpoint_dir": str(folder), "state": "ERROR", "gpu_id": "", **settings}
    config = make_config(name, "tiny", [], {"epochs": 4, "topk": [10], "valid_metric": "NDCG@10", **settings})
    init_seed(7, True)
    loaders = data_preparation(config, create_dataset(config))
    model = config.model_class(config, loaders[0]._dataset)
    trainer = comparable(get_trainer(config["MODEL_TYPE"], name))(config, model)
    trainer.use_run_dir(run_dir)
    calls, calculate_loss = [], model.calculate_loss

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == interrupt_at:
            raise Interrupted
        return calculate_loss(*args, **kwargs)

    model.calculate_loss = counted
    if interrupt_at:
        with pytest.raises(Interrupted):
            trainer.fit(*loaders[:2], verbose=False)
    else:
        trainer.fit(*loaders[:2], verbose=False)
    return trainer, loaders[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_dataset):
    folder = tmp_path_factory.mktemp("baselines")
    files = write_dataset(folder)
    items = range(24)
    facts = ["head_id:token\trelation_id:token\ttail_id:token", *(f"e{i}\tr{i % 2}\te{i // 3}" for i in items)]
    (files / "tiny.kg").write_text("\n".join(facts) + "\n")
    (files / "tiny.link").write_text(
        "\n".join(["item_id:token\tentity_id:token", *(f"i{i}\te{i}" for i in items)]) + "\n"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("BPR", {"train_batch_size": 64}),  # draws a negative for each row
        ("SASRec", {"train_batch_size": 64, "n_layers": 1, "hidden_size": 16, "inner_size": 16}),
        ("CKE", {"train_batch_size": 64, "load_col": KNOWLEDGE}),  # two loaders
        ("RecVAE", {"train_batch_size": 16, "hidden_dimension": 8, "latent_dimension": 4}),  # two optimisers
    ],
)
def test_recboles_models_resume_too(data, tmp_path, monkeypatch, name, settings):
    monkeypatch.chdir(tmp_path)
    whole, test = train(data, name, tmp_path / "whole", **settings)
    steps = len(whole.train_loss_dict)
    assert steps == 4
    train(data, name, tmp_path / "interrupted", interrupt_at=9, **settings)
    resumed, _ = train(data, name, tmp_path / "interrupted", **settings)
    assert 0 < resumed.start_epoch < 4
    assert resumed.train_loss_dict == whole.train_loss_dict
    assert resumed.best_valid_score == whole.best_valid_score
    assert resumed.best_valid_result == whole.best_valid_result
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert_same(resumed._optimizers().keys(), whole._optimizers().keys())
    assert_same(
        load_checkpoint(tmp_path / "interrupted/best.pth")["state_dict"],
        load_checkpoint(tmp_path / "whole/best.pth")["state_dict"],
    )
    assert resumed.evaluate(test) == whole.evaluate(test)


def test_the_random_state_comes_back_through_a_checkpoint(tmp_path):
    def draw():
        return random.random(), np.random.normal(), np.random.rand(3).tolist(), torch.rand(3).tolist()

    np.random.normal()  # NumPy keeps every second normal number for later
    save_checkpoint({"random": random_state()}, tmp_path / "state.pth")
    first = draw()
    assert draw() != first
    set_random_state(load_checkpoint(tmp_path / "state.pth")["random"])
    assert draw() == first
