"""Runs of a table where people follow them: what stands there is what was measured, and nothing where nobody asked."""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from recbole_mgr.integration.trackers import TENSORBOARD_FOLDER
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

REQUESTS = [ModelRequest("TIGER", {"modalities": ["text"]}), ModelRequest("BPR", {})]


@pytest.fixture
def run_table(tmp_path, write_dataset, tiny_settings, monkeypatch):
    """(**settings) -> comparison of a generating model and one of RecBole's, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path)

    def run_table(**changes):
        shared = {"n_layers": 1, "num_threads": 1, "checkpoint_dir": "saved", "epochs": 2, **changes}
        return run_comparison(REQUESTS, "tiny", settings=tiny_settings(tmp_path, **shared))

    return run_table


def test_tensorboard_has_a_run_for_each_row(run_table):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    comparison = run_table(tracker="tensorboard")
    runs = {path.parent for path in TENSORBOARD_FOLDER.rglob("events*")}
    assert runs == {TENSORBOARD_FOLDER / path.relative_to("saved") for path in Path("saved").glob("*/*/seed-*")}
    for result, name in zip(comparison.results, ("TIGER", "BPR"), strict=True):
        (folder,) = (run for run in runs if run.parent.name.startswith(name))
        events = EventAccumulator(str(folder)).Reload()
        scalars = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        assert scalars["test/ndcg@10"] == [pytest.approx(result.test["ndcg@10"])]
        assert scalars["best_valid/ndcg@10"] == [pytest.approx(result.valid["ndcg@10"])]
        assert len(scalars["train/train_loss"]) == result.epochs
        kept = json.loads(next(Path("saved").glob(f"*/{name}*/seed-*/epochs.json")).read_text())
        assert scalars["valid/ndcg@10"] == pytest.approx([epoch["valid"]["ndcg@10"] for epoch in kept])
        texts = {tag.partition("/")[0] for tag in events.Tags()["tensors"]}
        assert {"settings", "settings.yaml", "table.md"} <= texts
        assert ("best.semantic_ids.yaml" in texts) == ("semantic_ids/used" in scalars) == (name == "TIGER")

    before = sorted(TENSORBOARD_FOLDER.rglob("events*"))
    run_table(tracker="tensorboard")  # finished before, so there is nothing to follow
    assert sorted(TENSORBOARD_FOLDER.rglob("events*")) == before


def test_where_nobody_asked_nothing_is_written(run_table):
    run_table()
    assert sorted(path.name for path in Path().iterdir()) == ["log", "saved", "tiny"]


def test_mlflow_has_a_run_for_each_row(run_table, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    comparison = run_table(tracker="mlflow")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name(comparison.provenance.label)
    found = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(found) == 2
    for result in comparison.results:
        run = found[f"{result.label}, seed {result.seed}"]
        assert run.data.metrics["test/ndcg_at_10"] == pytest.approx(result.test["ndcg@10"])
        assert run.data.params["model"] == result.model
        assert run.info.status == "FINISHED"
        assert "table.md" in {file.path for file in client.list_artifacts(run.info.run_id)}


class RecordedRun:
    """Stands for a run of Weights & Biases, which needs an account, and keeps what it is told."""

    def __init__(self, number, given):
        self.id, self.given, self.summary, self.logged, self.saved = f"run-{number}", given, {}, [], []
        self.dir, self.steps = ".", {}

    @property
    def group(self):  # like the real one it cannot be set
        return self.given["group"]

    def define_metric(self, name, *, step_metric):
        self.steps[name] = step_metric

    def log(self, values):
        assert self.is_open
        self.logged.append(values)

    def save(self, path, **options):
        assert self.is_open
        self.saved.append(Path(path).name)

    def finish(self):
        self.is_open = False


class RecordedWandb(ModuleType):
    """Stands for the package."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.runs = {}

    def init(self, *, id=None, resume=None, **given):
        run = self.runs[id] if id else RecordedRun(len(self.runs), given)
        run.is_open = True
        self.runs[run.id] = run
        return run


def test_wandb_has_a_run_for_each_row(run_table, monkeypatch):
    wandb = RecordedWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    comparison = run_table(tracker="wandb", wandb_project="shop")
    assert len(wandb.runs) == 2
    for result, run in zip(comparison.results, wandb.runs.values(), strict=True):
        assert (run.given["name"], run.group) == (f"{result.label}, seed {result.seed}", comparison.provenance.label)
        assert run.given["project"] == "shop"
        assert run.steps == {"train/*": "epoch", "valid/*": "epoch"}
        assert not run.is_open
        assert run.given["config"]["model"] == result.model
        assert run.summary["test/ndcg@10"] == pytest.approx(result.test["ndcg@10"])
        assert sum("train/train_loss" in values for values in run.logged) == result.epochs
        assert {"settings.yaml", "table.md"} <= set(run.saved)
