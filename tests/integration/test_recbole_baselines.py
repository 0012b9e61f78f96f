"""RecBole's own models train, evaluate, save and load through RecBole's own functions."""

import sys
from pathlib import Path

import pytest
from tiny_recbole import settings, write_interactions

from recbole_mgr.integration import repairs

repairs.apply()

from recbole.quick_start import load_data_and_model, objective_function, run_recbole  # noqa: E402
from recbole.utils import get_trainer  # noqa: E402

METRICS = ["Recall", "NDCG", "MRR", "GiniIndex", "TailPercentage", "ItemCoverage", "AveragePopularity"]
CROSS_ENTROPY = ("SASRec", "GRU4Rec", "BERT4Rec", "NARM")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """RecBole writes to the working directory, reads the command line and measures the CPU for a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["test"])
    monkeypatch.setattr("psutil.cpu_percent", lambda interval: 0.0)
    write_interactions(tmp_path / "walks")


def config_dict(model: str) -> dict:
    negatives = {"train_neg_sample_args": None} if model in CROSS_ENTROPY else {}
    return settings(Path.cwd(), metrics=METRICS, **negatives)


@pytest.mark.parametrize("model", [*CROSS_ENTROPY, "BPR", "LightGCN", "Pop", "ItemKNN"])
def test_a_baseline_runs_and_is_loaded_back(model):
    result = run_recbole(model, "walks", config_dict=config_dict(model))["test_result"]
    assert list(result) == [f"{metric.lower()}@5" for metric in METRICS]
    assert 0 < result["itemcoverage@5"] <= 1

    (file,) = Path("saved").glob(f"{model}-*.pth")
    config, loaded, _, train, _, test = load_data_and_model(str(file))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, loaded)
    trainer.eval_collector.data_collect(train)
    assert trainer.evaluate(test, load_best_model=False) == result


def test_the_objective_of_hyper_tuning_runs_without_ray():
    result = objective_function({"model": "BPR", "dataset": "walks", **config_dict("BPR")}, saved=False)
    assert result["model"] == "BPR"
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@5"]
