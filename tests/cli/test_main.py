"""The command line: how models and settings are written, what each model gets, and exit statuses."""

import errno
import json
import os
import runpy
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from recbole_mgr.cli.main import main
from recbole_mgr.cli.run import parse_model, parse_settings
from recbole_mgr.integration.config import plain_settings
from recbole_mgr.run import pipeline as quick_start
from recbole_mgr.run.results import RunResult


@pytest.fixture
def folder(tmp_path, write_dataset, monkeypatch):
    """A synthetic data set called Beauty in a folder that is the current one."""
    write_dataset(tmp_path, "Beauty", synthetic=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(monkeypatch):
    """Configs and labels of the runs of the rows that the command asks for; nothing is trained."""
    asked = []
    monkeypatch.setattr(quick_start, "floor_configs", lambda *_: {})

    def run_one(config, label, provenance, tracker):
        asked.append((label, config))
        metrics = {f"{metric}@{k}": 0.5 for metric in ("recall", "ndcg", "mrr") for k in config["topk"]}
        values = dict.fromkeys((field.name for field in fields(RunResult)), 1)
        values |= dict.fromkeys(("valid", "id_level", "alignment", "environment"), {})
        values |= {
            "tasks": [],
            "notes": [],
            "repeated": None,
            "semantic_ids": {},
            "label": label,
            "model": config["model"],
            "seed": config["seed"],
        }
        values |= {"settings": plain_settings(config), "test": metrics, "test_masked": metrics}
        values |= {"users": np.array(["u1", "u2"]), "targets": np.array(["i1", "i2"]), "ranks": np.array([1, 0])}
        return RunResult(**values)

    monkeypatch.setattr(quick_start, "run_one", run_one)
    return asked


def command(*arguments: str) -> int:
    return main([*arguments, "--dataset=Beauty", "--data_path=."])


# -- how it is written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("recomend", "'recomend' is no command; did you mean 'recommend'?"),
        ("MGRLFpp", "'MGRLFpp' is no command; the commands are run, recommend,"),
    ],
)
def test_a_mistyped_command_is_not_taken_for_an_option_of_run(word, said, capsys):
    assert main([word, "saved/run"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "typed_for_one"),
    [
        ("recommend one two three --users u1", "recommend one --users u1"),
        ("recommend --fields title --users u1 one two three", "recommend --fields title --users u1 one"),
        ("personalize one two three --task search --user u1 --query 'hand cream'", None),
        ("export one two three out", "export one out"),
        ("share one two three --hub owner/name", "share one --hub owner/name"),
    ],
)
def test_a_command_that_takes_one_run_names_the_several_and_what_to_type(
    typed, typed_for_one, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "three"):
        Path(name).mkdir()
        Path(name, "settings.yaml").touch()
    assert main(shlex.split(typed)) == 2
    command = typed.split()[0]
    typed_for_one = typed_for_one or typed.replace(" two three", "")
    assert capsys.readouterr().err == (
        f"error: recbole-mgr {command} takes one run folder and was given 3: one, two, three; for the first one type "
        f"recbole-mgr {typed_for_one}\n"
    )


def test_settings_are_pairs():
    assert parse_settings(["--epochs=20", "--learning_rate", "1e-3", "--data_path=a=b"]) == {
        "epochs": 20,
        "learning_rate": 1e-3,
        "data_path": "a=b",
    }
    for bad, message in (
        (["epochs=20"], "'epochs=20' is not understood"),
        (["--epochs"], "--epochs needs a value: --epochs=value"),
        (["--epochs", "--seed=1"], "--epochs needs a value"),
        (["--=1"], "'--=1' is not understood"),
        (["-e=1"], "'-e=1' is not understood"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_settings(bad)


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("SASRec", "SASRec", {}),
        ("SASRec:", "SASRec", {}),
        ("TIGER:modalities=text", "TIGER", {"modalities": "text"}),
        (
            "MGRLFpp:beam_size=50,modalities=text+image",
            "MGRLFpp",
            {"beam_size": 50, "modalities": ["text", "image"]},
        ),
        ("BPR:topk=[5,10],epochs=3", "BPR", {"topk": [5, 10], "epochs": 3}),
        ("BPR:eval_args={'mode':'full','order':'TO'}", "BPR", {"eval_args": {"mode": "full", "order": "TO"}}),
        ("BPR:user_inter_num_interval=[4,inf)", "BPR", {"user_inter_num_interval": "[4,inf)"}),
        ("TIGER:semantic_ids=C:/a+b/x.tsv", "TIGER", {"semantic_ids": "C:/a+b/x.tsv"}),
    ],
)
def test_models_with_their_settings(text, name, settings):
    request = parse_model(text)
    assert (request.name, request.settings) == (name, settings)


@pytest.mark.parametrize("text", ["BPR:epochs", "BPR:=3", "BPR:epochs=3,4"])
def test_bad_model_settings_are_refused(text):
    with pytest.raises(ValueError, match=f"--model {text}: .* is not key=value"):
        parse_model(text)


# -- what each model gets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [["1,2"], ["1", "2"]])
def test_each_row_gets_its_settings_and_seeds(folder, runs, capsys, seeds):
    status = command(
        *("run", "--model", "SASRec", "TIGER:modalities=image,epochs=7", "MGRLF", "--seeds", *seeds),
        *("--epochs=5", "--beam_size", "30", "--topk=[5,10]"),
    )
    assert status == 0
    labels = ["SASRec", "TIGER (modalities=image, epochs=7)", "MGRLF"]
    assert [label for label, _ in runs] == [label for label in labels for _ in (1, 2)]
    assert [config["seed"] for _, config in runs] == [1, 2] * 3
    assert [config["epochs"] for _, config in runs] == [5, 5, 7, 7, 5, 5]  # a model's own settings win
    assert [config["topk"] for _, config in runs] == [[5, 10]] * 6
    assert [config["beam_size"] for _, config in runs] == [None, None, 30, 30, 30, 30]  # SASRec has no beams
    assert [config["modalities"] for _, config in runs[::2]] == [None, ["image"], ["text", "image"]]
    assert {config["data_path"] for _, config in runs} == {"./Beauty"}
    printed = capsys.readouterr().out.splitlines()[-7:]
    assert printed[0].startswith("Written to results/Beauty-") and "the runs" in printed[0]
    assert [line.partition(": saved")[0] for line in printed[1:]] == [
        f"  {label}, seed {seed}" for label in labels for seed in (1, 2)
    ]
    assert printed[-1].endswith("/seed-2")


def test_settings_of_the_command_win_over_files(folder, runs):
    (folder / "a.yaml").write_text("epochs: 3\nlearning_rate: 0.5\n")
    (folder / "b.yaml").write_text("learning_rate: 0.25\n")
    assert command("--config_files", "a.yaml", "b.yaml", "--epochs=4", "--model", "BPR", "BPR:epochs=5") == 0
    assert [(config["epochs"], config["learning_rate"]) for _, config in runs] == [(4, 0.25), (5, 0.25)]
    assert [config["seed"] for _, config in runs] == [2020, 2020]


def test_options_given_twice_add_up_and_are_never_abbreviated(folder, runs):
    assert command("--model", "BPR", "--model", "Pop", "--seed=3") == 0
    assert [(label, config["seed"]) for label, config in runs] == [("BPR", 3), ("Pop", 3)]


def test_values_may_hold_blanks(folder, runs):
    assert command("--model", "BPR", "--eval_args={'mode': 'uni100'}", "--wandb_project", "my project") == 0
    assert runs[0][1]["eval_args"]["mode"] == {"valid": "uni100", "test": "uni100"}
    assert runs[0][1]["wandb_project"] == "my project"


def test_run_is_the_default(folder, runs):
    assert command("run", "--model", "Pop") == command("--model", "Pop") == 0
    assert [label for label, _ in runs] == ["Pop", "Pop"]


def test_results_are_printed_and_written_under_the_datas_label(folder, runs, capsys):
    assert command("--model", "Pop", "BPR", "--results", "tables") == 0
    (written,) = (folder / "tables").iterdir()
    printed = capsys.readouterr().out
    assert "### Beauty (synthetic sample)" in printed
    assert str(written.relative_to(folder)) in printed
    assert written.name.startswith("Beauty-synthetic-sample-")
    assert sorted(os.listdir(written)) == ["runs.tsv", "table.csv", "table.json", "table.md"]
    assert json.loads((written / "table.json").read_text())["data"]["label"] == "Beauty (synthetic sample)"
    assert command("--model", "Pop", "BPR", "--results", "tables", "--epochs=2") == 0
    assert len(list((folder / "tables").iterdir())) == 2  # other settings, other table


# -- exit statuses ------------------------------------------------------------------------------------------------

WRONG_INPUT = {
    "no model": ([], "the following arguments are required: --model"),
    "no such model": (["--model", "TIGRE"], "--model TIGRE: no such model. Did you mean TIGER"),
    "no such model with a setting of its own": (["--model", "TIGRE", "--beam_size=50"], "no such model"),
    "unknown to every model": (["--model", "SASRec", "TIGER", "--beem_size=50"], "unknown setting 'beem_size'"),
    "meaningless to the only model": (["--model", "SASRec", "--beam_size=50"], "unknown setting 'beam_size'"),
    "unknown to the model it is given to": (["--model", "BPR:beam_size=5", "TIGER"], "unknown setting 'beam_size'"),
    "loose word": (["--model", "BPR", "--epochs=3", "quickly"], "'quickly' is not understood"),
    "second model after =": (["--model=BPR", "Pop"], "unrecognized arguments: Pop"),
    "no value": (["--model", "BPR", "--epochs"], "--epochs needs a value"),
    "not key=value": (["--model", "BPR:epochs"], "'epochs' is not key=value"),
    "list by commas": (
        ["--model", "TIGER:modalities=text,image"],
        "'image' is not key=value; the values of one setting",
    ),
    "seeds in words": (["--model", "BPR", "--seeds=one"], "--seeds one: expected whole numbers"),
    "seed twice": (["--model", "BPR", "--seeds=1,1"], "--seeds: 1 is given twice"),
    "model twice": (["--model", "BPR", "BPR"], "--model: BPR is given twice"),
    "seed and seeds": (["--model", "BPR", "--seeds=1,2", "--seed=3"], "--seeds and the setting seed contradict"),
    "seed of a model": (["--model", "BPR:seed=3", "--seeds=1,2"], "--seeds and the setting seed contradict"),
    "no such file": (["--model", "BPR", "--config_files", "no.yaml"], "--config_files: no.yaml does not exist"),
    "no such data": (["--model", "BPR", "--data_path=nowhere"], "nowhere/Beauty/Beauty.inter does not exist"),
    "broken file": (["--model", "BPR", "--config_files", "broken.yaml"], "broken.yaml: not valid YAML"),
    "wrong value": (["--model", "BPR", "--epochs=many"], "epochs: 'many' must be a whole number >= 1"),
    "metric in RecBole's words": (
        ["--model", "BPR", "--metrics=Foo"],
        "metrics: 'Foo' must be a list of RecBole's metrics: Recall",
    ),
    "tuple": (["--model", "BPR", "--topk=0,10"], "topk: (0, 10) must be a list of whole numbers >= 1"),
    "code": (["--model", "BPR", "--epochs=__import__('os').system('touch pwned')"], "must be a whole number"),
    "no semantic IDs": (["--model", "TIGER:semantic_ids=no.tsv"], "semantic_ids: 'no.tsv' must be"),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG_INPUT.values(), ids=WRONG_INPUT)
def test_wrong_input_ends_with_2_and_one_line(folder, runs, capsys, arguments, message):
    (folder / "broken.yaml").write_text("epochs: [\nseed: 1\n")
    data_path = [] if any("data_path" in argument for argument in arguments) else ["--data_path=."]
    assert main(["--dataset=Beauty", *data_path, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert runs == []
    assert not (folder / "pwned").exists()


def test_interruption_ends_with_130(folder, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(quick_start, "run_one", interrupted)
    assert command("--model", "BPR") == 130
    assert "run the same command again to resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "saved/x"),
            "saved/x: No space left on device; free some space",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "results"), "results: Permission denied; give yourself"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "saved"), "saved: Not a directory; a file stands where"),
        (OSError("the network is down"), "the network is down"),
    ],
    ids=["disk full", "no right", "file for folder", "network"],
)
def test_what_a_disk_or_the_network_does_is_a_sentence(folder, monkeypatch, capsys, error, said):
    def failing(*_):
        raise error

    monkeypatch.setattr(quick_start, "run_one", failing)
    assert command("--model", "BPR") == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {said}") and printed.count("\n") == 1
    with pytest.raises(OSError, match=str(error.strerror or error)):
        command("--model", "BPR", "--traceback")


def test_a_defect_of_ours_is_no_wrong_input(folder, monkeypatch):
    def defective(*_):
        raise AttributeError("a defect")

    monkeypatch.setattr(quick_start, "run_one", defective)
    with pytest.raises(AttributeError, match="a defect"):
        command("--model", "BPR")


def test_help_says_how_it_is_written(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "Precedence (later wins)" in capsys.readouterr().out


def test_the_script_passes_the_exit_status_on(monkeypatch, capsys):
    script = Path(__file__).resolve().parents[2] / "run_recbole_mgr.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--model", "TIGER"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: the following arguments are required: --dataset")


def test_the_package_is_the_command_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["recbole_mgr", "recomend"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("recbole_mgr", run_name="__main__")
    assert end.value.code == 2
    assert "did you mean 'recommend'" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_ends_the_command_without_a_word():
    code = "from recbole_mgr.cli.main import main; input(); raise SystemExit(main(['settings']))"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)
    process.stdout.close()
    _, complaints = process.communicate("now nobody reads\n")
    assert "error" not in complaints.lower()
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("said", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")]
)
def test_waiting_threads_leave_the_cores_to_others_unless_the_user_says_how(said, spins):
    code = "from recbole_mgr.cli.main import main; main(['no command']); import torch"
    ours = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = {**ours, "OMP_DISPLAY_ENV": "verbose", **said}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this PyTorch has another OpenMP")
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
