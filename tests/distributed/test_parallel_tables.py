"""Experiments, analyses and searches under torchrun: the tables and pages that one process makes."""

import json
from pathlib import Path

import pytest
import yaml
from parallel_work import commanded
from together import together

SMALL = ("hidden_size", "inner_size", "codebook_size", "codebook_levels", "beam_size")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset, tiny_settings):
    """The current folder, with a data set, an experiment and a search of tiny networks."""
    folder = tmp_path_factory.mktemp("tables")
    write_dataset(folder)
    settings = tiny_settings(folder, epochs=1, num_threads=1, show_progress=False)
    small = {key: settings.pop(key) for key in SMALL} | {"n_layers": 1}
    experiment = {
        "title": "Early and late fusion",
        "dataset": "tiny",
        "seeds": [1],
        "settings": settings,
        "reference": "late",
        "rows": [
            {"label": "early", "model": "MGREF", "settings": small},
            {"label": "late", "model": "MGRLF", "settings": small},
            {"label": "popularity", "model": "Popularity"},
            {"label": "history again", "model": "HistoryAgain"},
        ],
    }
    search = {"dataset": "tiny", "model": "MGRLF", "settings": {**settings, **small, "floors": False}, "trials": 3}
    search |= {"search": {"learning_rate": {"low": 1e-4, "high": 0.1, "log": True}}, "sampler": "random"}
    for name, content in {"experiment": experiment, "search": search}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def tables(folder):
    """What the experiment printed in one process, and in two."""
    printed = {}
    for name, count in (("alone", 1), ("together", 2)):
        command = ["experiment", "experiment.yaml", f"--checkpoint_dir={name}", "--results", f"{name}-results"]
        answers = [commanded(command)] if count == 1 else together(count, commanded, command, join=False)
        assert [answer[0] for answer in answers] == [0] * count, answers
        printed[name] = [said for _, said, _ in answers]
    return printed


def rows_of(folder: Path, name: str) -> dict[str, dict]:
    """What an experiment measured, by row."""
    (table,) = folder.glob(f"{name}-results/*/table.json")
    return {run["label"]: run for run in json.loads(table.read_text())["runs"]}


def test_an_experiment_and_its_floors_make_the_table_of_one_process(folder, tables):
    alone, shared = rows_of(folder, "alone"), rows_of(folder, "together")
    assert list(shared) == list(alone) and set(alone) == {"early", "late", "popularity", "history again"}
    for label in ("popularity", "history again"):  # nothing of them is drawn or added up
        for measured in ("valid", "test", "test_masked"):
            assert shared[label][measured] == alone[label][measured]
    assert "early" in tables["together"][0] and not tables["together"][1]  # the owner alone speaks


def test_an_analysis_is_that_of_one_process(folder, tables):
    runs = sorted(str(run) for run in folder.glob("alone/*/MGR*"))
    command = ["analyse", *runs, "--users=9", "--results"]
    alone = commanded([*command, "one"])
    assert alone[0] == 0, alone
    answers = together(2, commanded, [*command, "two"], join=False)
    assert [answer[0] for answer in answers] == [0, 0] and not answers[1][1], answers
    one, two = ({path.relative_to(name): path for path in Path(name).rglob("*.*")} for name in ("one", "two"))
    assert set(one) == set(two) and any(path.name == "analysis.md" for path in one)
    for path in one:
        if path.suffix != ".html":  # plotly names its figures at random
            assert one[path].read_bytes() == two[path].read_bytes()


def test_a_search_by_two_processes_tries_each_setting_once_and_tests_the_best(folder):
    pytest.importorskip("optuna")
    answers = together(2, commanded, ["tune", "search.yaml", "--checkpoint_dir=search"], join=False)
    assert [answer[0] for answer in answers] == [0, 0] and not answers[1][1], answers
    (table,) = folder.glob("results/tune-search-*/trials.tsv")
    header, *trials = (line.split("\t") for line in table.read_text().splitlines())
    assert len({trial[header.index("learning_rate")] for trial in trials}) == len(trials) == 3
    runs = list(folder.glob("search/*/MGRLF-*/seed-*"))
    assert len(runs) == 3 and len([run for run in runs if (run / "result.json").is_file()]) == 1
    assert "MGRLF" in answers[0][1]
