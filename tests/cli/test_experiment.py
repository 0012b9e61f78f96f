"""``recbole-mgr experiment`` and ``analyse`` as a user types them, on runs of a second."""

from pathlib import Path

import pytest
import yaml

from recbole_mgr.cli.main import main
from recbole_mgr.run.experiments.definition import FOLDER, read_experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dataset, tiny_settings):
    """A working folder with a data set and an experiment, run once."""
    folder = tmp_path_factory.mktemp("experiment")
    write_dataset(folder)
    settings = {**tiny_settings(folder), "n_layers": 1, "num_threads": 1, "data_path": ".", "checkpoint_dir": "saved"}
    rows = [
        {"label": "SASRec", "model": "SASRec"},
        {"label": "MGR-EF", "model": "MGREF"},
        {"label": "MGR-LF++, no token", "model": "MGRLFpp", "settings": {"transitions": False}},
        {"label": "MGR-LF++", "model": "MGRLFpp"},
    ]
    content = {"title": "Tiny", "dataset": "tiny", "seeds": [1, 2], "settings": settings, "rows": rows}
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["experiment", "mine.yaml", "--seeds", "1"]) == 0
    return folder


@pytest.fixture(autouse=True)
def _there(folder, monkeypatch):
    monkeypatch.chdir(folder)


def test_the_help_names_the_experiments_that_come_along_with_their_titles(capsys):
    with pytest.raises(SystemExit):
        main(["experiment", "--help"])
    printed = capsys.readouterr().out
    for file in FOLDER.glob("*.yaml"):
        assert f"  {file.stem:<24} {read_experiment(file.stem).title}\n" in printed


def test_plan_says_what_is_left_and_runs_nothing(capsys):
    before = sorted(Path("saved").rglob("*"))
    assert main(["experiment", "mine.yaml", "--plan", "--rows", "4", "SASRec"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("done   ") == 2 and printed.count("to do  ") == 2
    assert printed.endswith("2 runs to do\n")
    assert sorted(Path("saved").rglob("*")) == before
    assert main(["experiment", "mine.yaml", "--plan", "--checkpoint_dir=elsewhere"]) == 0
    assert "8 runs to do" in capsys.readouterr().out and not Path("elsewhere").exists()
    assert main(["experiment", "mine.yaml", "--plan", "--rows", "MGRLF+"]) == 2
    assert "--rows MGRLF+: the experiment has" in capsys.readouterr().err


def test_the_table_is_written_and_printed(capsys):
    assert main(["experiment", "mine.yaml", "--seeds=1"]) == 0
    printed = capsys.readouterr().out
    assert "4 of 8 runs are done" in printed and "Not finished, seeds 2: SASRec; MGR-EF; " in printed
    (table,) = Path("results").glob("mine-*/table.md")
    assert table.read_text(encoding="utf-8") in printed


@pytest.mark.parametrize("what", ["results", "saved"])
def test_analyse_takes_tables_and_run_directories(what, capsys, tmp_path):
    source = str(next(Path("results").glob("mine-*"))) if what == "results" else "saved"
    assert main(["analyse", source, "--results", str(tmp_path), "--users", "10"]) == 0
    printed = capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    assert (folder / "analysis.md").read_text(encoding="utf-8") in printed
    names = {"modality_dominance", "modality_correspondence", "overlap_sets", "cross_modal"}
    assert {file.stem for file in folder.glob("*.csv")} == names | {"overlap_pairs"}
    assert {file.stem for file in folder.glob("*.html")} == names
    assert (folder / "plotly.min.js").is_file()
    if what == "results":
        assert "| MGR-LF++, no token | image |" in printed
        assert "fused (concat) against text" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("experiment", "mine.yaml", "--seeds", "one"), "--seeds one: expected whole numbers"),
        (("experiment", "mine.yaml", "--seeds", "7"), "--seeds 7: the experiment has 1, 2"),
        (("experiment", "mine.yaml", "--rows", "9"), "--rows 9: the experiment has SASRec"),
        (("experiment", "none"), "experiment none:"),
        (("experiment", "mine.yaml", "--dataset", "other"), "other.inter does not exist"),
        (("analyse", "results/none"), "results/none: no finished run is here or below"),
        (("analyse", "saved", "--users", "0"), "--users: 0 must be a whole number >= 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message, capsys):
    assert main(list(arguments)) == 2
    assert message in capsys.readouterr().err
