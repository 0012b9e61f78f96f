"""The floors of a table: which there are, that they are tested as its rows are, and that they can be left out."""

from pathlib import Path

import pytest

from recbole_mgr.data.interactions import takes_again
from recbole_mgr.integration.config import make_config
from recbole_mgr.run.experiments.definition import Experiment, Row
from recbole_mgr.run.experiments.plan import make_plan
from recbole_mgr.run.experiments.run import run_experiment
from recbole_mgr.run.floors import floor_configs
from recbole_mgr.run.identity import RunIdentity
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.table_page import markdown

# Ten users go from a to d and take a once more at the end; two have taken few items.
AGAIN = [(f"u{user}", item, time) for user in range(10) for time, item in enumerate("abcdea")]
FEW = [("v", "a", 1), ("v", "b", 2), ("w", "b", 1), ("w", "c", 2), ("w", "d", 3)]


@pytest.fixture
def settings(tmp_path, write_dataset, tiny_settings, monkeypatch):
    """(interactions, ...) -> settings of tables on them, with floors."""
    monkeypatch.chdir(tmp_path)

    def settings(interactions=None, **changes):
        write_dataset(tmp_path, interactions=interactions)
        small = {"n_layers": 1, "codebook_size": 2, "topk": [2], "valid_metric": "NDCG@2", "floors": True}
        return {**tiny_settings(tmp_path, **small), **changes}

    return settings


def ranks(results, label):
    (result,) = (result for result in results if result.label == label)
    return dict(zip(result.users.tolist(), result.ranks.tolist(), strict=True))


def test_a_table_has_popularity_and_where_items_are_taken_again_the_own_history(settings, capsys):
    shared = settings(AGAIN + FEW)
    comparison = run_comparison(
        [ModelRequest("TIGER", {"modalities": ["text"]})], "tiny", settings=shared, seeds=[1, 2]
    )
    assert list(comparison.rows) == ["Popularity", "HistoryAgain", "TIGER (modalities=text)"]
    assert [len(runs) for runs in comparison.rows.values()] == [1, 1, 2]
    page = markdown(comparison)
    assert "Seeds: 1, 2 (mean" in page and "TIGER (modalities=text) against HistoryAgain: NDCG@2" in page
    popular, again = (ranks(comparison.results, label) for label in ("Popularity", "HistoryAgain"))
    assert popular["u0"] == 2 and popular["w"] == 0  # b stands first, for w took it too; then a
    assert again["u0"] == 0 and set(again) == set(popular)  # e and d are newer than a
    printed = capsys.readouterr()
    assert "Popularity" not in printed.out + printed.err


def test_where_nobody_takes_an_item_again_there_is_popularity_alone(settings):
    shared = settings()
    config = make_config("SASRec", "tiny", [], {key: shared[key] for key in ("data_path", "topk", "valid_metric")})
    assert not takes_again(Path("tiny/tiny.inter"))
    assert list(floor_configs([config], {"data_path": shared["data_path"]})) == ["Popularity"]


def configs(shared, *requests):
    """Settings of rows, each a model or a model and its own settings, as a table makes them."""
    common = {key: shared[key] for key in ("data_path", "checkpoint_dir", "floors", "gpu_id")}
    return [make_config(name, "tiny", [], {**common, **own}) for name, own in requests]


def test_floors_are_tested_as_the_rows_are_whatever_the_rows_are_trained_by(settings):
    rows = {"topk": [3], "valid_metric": "MRR@3", "user_inter_num_interval": "[3,inf)", "MAX_ITEM_LIST_LENGTH": 7}
    shared = {**settings(AGAIN), **rows}
    training = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}, "epochs": 7, "loss_type": "BPR"}
    found = floor_configs(configs(shared, ("GRU4Rec", {**rows, **training})), {**shared, **training})
    assert list(found) == ["Popularity", "HistoryAgain"]
    for config in found.values():
        assert {key: config[key] for key in rows} == rows
        assert config["train_neg_sample_args"]["distribution"] == "none" and config["epochs"] != 7
        assert config["state"] == "WARNING" and not config["show_progress"]


@pytest.mark.parametrize(
    ("rows", "floors"),
    [
        ([("BPR", {})], ["Pop"]),  # general models alone, which split in another way
        ([("BPR", {}), ("SASRec", {"train_neg_sample_args": None})], ["Popularity", "HistoryAgain"]),
        ([("HistoryAgain", {}), ("TIGER", {"modalities": ["text"]})], ["Popularity"]),
        ([("Pop", {}), ("TIGER", {"modalities": ["text"]})], ["HistoryAgain"]),
        ([("TIGER", {"modalities": ["text"], "floors": False})], []),
        ([("UniMP", {"tasks": ["search"]})], []),
        ([("UniMP", {"tasks": ["rec", "search"]})], ["Popularity", "HistoryAgain"]),
    ],
)
def test_which_floors_a_table_gets(settings, rows, floors):
    shared = settings(AGAIN)
    assert list(floor_configs(configs(shared, *rows), shared)) == floors


def test_the_setting_makes_no_other_run(settings):
    shared = settings(AGAIN)
    on, off = (configs(shared, ("SASRec", {"floors": floors}))[0] for floors in (True, False))
    assert RunIdentity.of(on) == RunIdentity.of(off)


def test_an_experiment_has_them_beside_its_rows(settings, tmp_path):
    rows = [Row("baseline", "SASRec", {}), Row("text", "TIGER", {"modalities": ["text"]})]
    plan = make_plan(Experiment("mine", "Mine", "tiny", settings(AGAIN + FEW), [1, 2], "once", "baseline", rows), {})
    without = make_plan(plan.experiment, {"floors": False})
    assert [run.row.label for run in plan.floors] == ["Popularity", "HistoryAgain"] and not without.floors
    assert plan.folder_name == without.folder_name and len(plan.all_runs) == 4
    folder = run_experiment(plan, tmp_path / "results", labels=["text"], seeds=[2])
    page = (folder / "table.md").read_text()
    shown = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")]
    assert shown[:4] == ["| Model", "| Popularity", "| HistoryAgain", "| text (1 of 2 seeds)"]
    assert "1 of 4 runs are done" in page and len((folder / "runs.tsv").read_text().splitlines()) == 4
