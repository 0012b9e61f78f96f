"""A search: trials are judged on validation, an interrupted one goes on, the best is tested."""

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("optuna")

from recbole_mgr.cli.main import main
from recbole_mgr.run import tuning
from recbole_mgr.run.tuning import Range, read_search

SEARCH = {
    "dataset": "tiny",
    "model": "TIGER",
    "settings": {"modalities": ["text"], "n_layers": 1},
    "search": {
        "learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
        "branch_size": [4, 8],
        "epochs": {"low": 1, "high": 2},
    },
    "trials": 3,
    "sampler": "random",
}


@pytest.fixture
def folder(tmp_path, write_dataset, tiny_settings, monkeypatch):
    """The current folder, with a data set, the settings of a tiny network, and ``search.yaml``."""
    write_dataset(tmp_path)
    monkeypatch.chdir(tmp_path)
    small = tiny_settings(tmp_path, checkpoint_dir="saved", floors=False)
    del small["epochs"]
    write_search(settings={**SEARCH["settings"], **small})
    return tmp_path


def write_search(**changes) -> Path:
    Path("search.yaml").write_text(yaml.safe_dump({**SEARCH, **changes}, sort_keys=False))
    return Path("search.yaml")


def trials(folder: Path) -> list[list[str]]:
    (table,) = folder.glob("results/tune-search-*/trials.tsv")
    return [line.split("\t") for line in table.read_text().splitlines()]


def test_the_best_on_validation_is_tested_and_ready(folder, capsys):
    assert main(["tune", "search.yaml"]) == 0
    header, *rows = trials(folder)
    assert header == ["trial", "valid NDCG@10", "seconds", "learning_rate", "branch_size", "epochs"]
    scores = [float(row[1]) for row in rows]
    assert len(rows) == 3 and scores == sorted(scores, reverse=True)
    (best,) = folder.glob("results/*/best.yaml")
    settings = yaml.safe_load(best.read_text())
    assert [settings[key] for key in header[3:]] == [float(rows[0][3]), int(rows[0][4]), int(rows[0][5])]
    assert 1e-4 <= settings["learning_rate"] <= 0.1 and settings["epochs"] in (1, 2)
    runs = list(folder.glob("saved/*/TIGER-*/seed-*"))
    tested = [run for run in runs if (run / "result.json").is_file()]
    assert len(runs) == 3 and len(tested) == 1  # nothing is chosen on test
    result = json.loads((tested[0] / "result.json").read_text())
    assert result["valid"]["ndcg@10"] == pytest.approx(scores[0], abs=1e-6)
    assert "TIGER" in capsys.readouterr().out
    (table,) = folder.glob("results/*/table.json")
    assert "TIGER" in [run["label"] for run in json.loads(table.read_text())["runs"]]


def test_an_interrupted_search_goes_on_with_the_trial_that_was_interrupted(folder, monkeypatch):
    asked = []

    def interrupted(config, label, provenance):
        asked.append(config["learning_rate"])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"valid": {"ndcg@10": config["learning_rate"]}}

    monkeypatch.setattr(tuning, "train_one", interrupted)
    assert main(["tune", "search.yaml"]) == 130
    monkeypatch.setattr(tuning, "run_comparison", lambda *_, settings, **__: settings)
    search = read_search(Path("search.yaml"))
    _, best = tuning.tune(search, {}, Path("results"))
    assert asked[2] == asked[1] and len(asked) == 4  # the second again, and the third
    assert best["learning_rate"] == max(asked)
    tuning.tune(search, {}, Path("results"))
    assert len(asked) == 4
    tuning.tune(search._replace(trials=5), {}, Path("results"))
    assert len(asked) == 6 and len(set(asked)) == 5


def test_a_second_command_does_not_take_running_trials_for_interrupted_ones(folder, monkeypatch):
    search, asked = read_search(Path("search.yaml")), []

    def another_command(config, *_):
        asked.append(config)
        if len(asked) == 1:
            with pytest.raises(ValueError, match="is being made by process"):
                tuning.tune(search, {}, Path("results"))
        return {"valid": {"ndcg@10": 0.5}}

    monkeypatch.setattr(tuning, "train_one", another_command)
    monkeypatch.setattr(tuning, "run_comparison", lambda *_, **__: None)
    tuning.tune(search, {}, Path("results"))
    assert len(asked) == 3


def test_whole_numbers_in_steps_that_are_none_are_numbers(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(tuning, "train_one", lambda config, *_: asked.append(config) or {"valid": {"ndcg@10": 0.5}})
    monkeypatch.setattr(tuning, "run_comparison", lambda *_, **__: None)
    write_search(search={"weight_decay": {"low": 0, "high": 2, "step": 0.5}}, trials=8)
    tuning.tune(read_search(Path("search.yaml")), {"data_path": str(folder)}, Path("results"))
    assert {config["weight_decay"] for config in asked} <= {0, 0.5, 1, 1.5, 2}


def test_what_was_tried_is_not_tried_again(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(tuning, "train_one", lambda config, *_: asked.append(1) or {"valid": {"ndcg@10": 0.5}})
    monkeypatch.setattr(tuning, "run_comparison", lambda *_, **__: None)
    write_search(search={"branch_size": [4, 8]}, trials=6)
    tuning.tune(read_search(Path("search.yaml")), {"data_path": str(folder)}, Path("results"))
    assert len(asked) <= 2


def test_settings_that_do_not_go_together_are_told_and_passed_over(folder, capsys, monkeypatch):
    def refusing(config, *_):
        if config["branch_size"] == 8:
            raise ValueError("it is too wide")
        return {"valid": {"ndcg@10": 0.5}}

    monkeypatch.setattr(tuning, "train_one", refusing)
    monkeypatch.setattr(tuning, "run_comparison", lambda *_, **__: None)
    write_search(search={"branch_size": [8]}, trials=2)
    given = {"data_path": str(folder)}
    with pytest.raises(ValueError, match="no trial came to a value; the last one: it is too wide"):
        tuning.tune(read_search(Path("search.yaml")), given, Path("results"))
    assert "trial 0: it is too wide" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trails": 3}, "search.yaml: unknown key 'trails'"),
        ({"trials": None}, "search.yaml: key 'trials' is missing"),
        ({"trials": 0}, "search.yaml: trials: 0 must be a whole number >= 1"),
        ({"sampler": "grid"}, "search.yaml: sampler: 'grid' must be one of tpe, random"),
        ({"search": {"learning_rat": [1]}}, "unknown setting 'learning_rat' for model TIGER"),
        ({"search": {"n_layers": [1, 2]}}, "n_layers stands under settings and search"),
        ({"search": {"learning_rate": 0.1}}, "search: learning_rate: 0.1 must be a list of choices, or low and high"),
        ({"search": {"learning_rate": {"low": 1, "high": 0.1}}}, "must be numbers, low below high"),
        ({"search": {"learning_rate": {"low": 0, "high": 1, "log": True}}}, "log wants low above 0"),
        ({"search": {"learning_rate": {"low": 0, "high": 1, "step": 0}}}, "step must be above 0"),
    ],
)
def test_bad_files_are_refused(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        read_search(write_search(**changes))


@pytest.mark.parametrize(
    ("key", "values", "told"),
    [
        ("code_softmax", ["legal", "ful"], "code_softmax"),
        ("modalities", [["text"], ["smell"]], "'smell' has no features"),
    ],
)
def test_a_choice_that_no_trial_could_take_is_told_before_the_first(folder, capsys, key, values, told):
    settings = yaml.safe_load(Path("search.yaml").read_text())["settings"]
    write_search(settings={name: value for name, value in settings.items() if name != key}, search={key: values})
    assert main(["tune", "search.yaml", f"--data_path={folder}"]) == 2
    assert told in capsys.readouterr().err
    assert not list(folder.glob("results/*"))


def test_what_is_searched_is_not_given(folder, capsys):
    assert main(["tune", "search.yaml", "--learning_rate=0.1"]) == 2
    assert "--learning_rate: is what the search looks for" in capsys.readouterr().err


def test_ranges_of_whole_numbers_and_others(folder):
    space = read_search(Path("search.yaml")).space
    assert space["epochs"] == Range(1, 2) and space["learning_rate"] == Range(1e-4, 0.1, log=True)
