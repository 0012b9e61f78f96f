"""Commands under torchrun: one run directory, one file, one sentence, and what one process makes."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from parallel_work import commanded, run_by_recbole
from recbole import quick_start
from together import together

from recbole_mgr.integration.checkpoint import load_checkpoint
from recbole_mgr.serving import load

MODEL = "MGRLFpp:n_layers=1,alignment_epochs=1"


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_dataset, tiny_settings):
    """A data set, and a run of two models by one process and by two."""
    folder = tmp_path_factory.mktemp("commands")
    write_dataset(folder)
    settings = tiny_settings(folder, epochs=3, train_batch_size=16, eval_batch_size=8, num_threads=1)
    sizes = {key: settings.pop(key) for key in ("hidden_size", "inner_size", "codebook_size", "codebook_levels")}
    model = ",".join([MODEL, f"beam_size={settings.pop('beam_size')}", *(f"{key}={sizes[key]}" for key in sizes)])
    shared = [f"--{key}={value}" for key, value in {**settings, "floors": False}.items()]
    command = ["run", "--model", model, "BPR", "--dataset=tiny", *shared]
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    for name in ("alone", "together"):
        arguments = [*command, f"--checkpoint_dir={name}", f"--results={name}-results"]
        answers = [commanded(arguments)] if name == "alone" else together(2, commanded, arguments, join=False)
        assert [answer[0] for answer in answers] == [0] * len(answers), answers
    yield folder, command, answers
    patch.undo()


def run_of(folder: Path, name: str, model: str) -> Path:
    (result,) = (folder / name).glob(f"*/{model}-*/seed-*/result.json")
    return result.parent


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_two_processes_make_one_run_directory_and_one_table(world):
    folder, _, answers = world
    assert files(folder / "together") == files(folder / "alone")
    names = [sorted(Path(file).name for file in files(folder / f"{name}-results")) for name in ("together", "alone")]
    assert names[0] == names[1] and "table.md" in names[0]
    assert "MGRLFpp" in answers[0][1] and not answers[1][1]  # the owner alone speaks
    epochs = json.loads((run_of(folder, "together", "MGRLFpp") / "epochs.json").read_text())
    alone = json.loads((run_of(folder, "alone", "MGRLFpp") / "epochs.json").read_text())
    assert [entry["epoch"] for entry in epochs] == [entry["epoch"] for entry in alone]


def test_what_several_trained_one_process_uses(world):
    folder, _, _ = world
    for model in ("MGRLFpp", "BPR"):
        assert load(run_of(folder, "together", model), device="cpu").recommend(users=["u1"], k=3).item_ids[0]


def figures(run_dir: Path) -> dict:
    result = json.loads((run_dir / "result.json").read_text())
    return {name: result[name] for name in ("valid", "test", "test_masked", "id_level", "num_items")}


def ranking(run_dir: Path) -> dict[str, list]:
    with np.load(run_dir / "ranking.npz") as arrays:
        return {name: arrays[name].tolist() for name in arrays.files}


def test_evaluation_by_three_processes_is_that_of_one(world, tmp_path):
    folder, _, _ = world
    runs = [run_of(folder, "alone", model) for model in ("MGRLFpp", "BPR")]
    before = [figures(run) for run in runs]
    lists = [ranking(run) for run in runs]
    for run in runs:
        (run / "result.json").unlink()  # of which the folder is to be completed anew
    answers = together(3, commanded, ["evaluate", *map(str, runs)], join=False)
    assert [answer[0] for answer in answers] == [0, 0, 0], answers
    assert [figures(run) for run in runs] == before
    assert [ranking(run) for run in runs] == lists


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_lists_by_three_processes_are_those_of_one(world, tmp_path, suffix):
    folder, _, _ = world
    users = [f"u{number}" for number in range(30)]
    (tmp_path / "users.txt").write_text("\n".join([*users[:20], "stranger", *users[20:], ""]))
    options = ["--users-file", str(tmp_path / "users.txt"), "--batch-size=4", "--unknown=skip", "--device=cpu"]
    command = ["recommend", str(run_of(folder, "alone", "MGRLFpp")), *options, "--k=3", "--output"]
    alone = commanded([*command, str(tmp_path / f"alone{suffix}")])
    answers = together(3, commanded, [*command, str(tmp_path / f"together{suffix}")], join=False)
    assert [answer[0] for answer in [alone, *answers]] == [0] * 4, answers
    assert answers[0][1].startswith("30 of 31 users served") and "stranger" in answers[0][2]
    one, three = tmp_path / f"alone{suffix}", tmp_path / f"together{suffix}"
    if suffix == ".parquet":
        assert polars.read_parquet(three).equals(polars.read_parquet(one))
    else:
        assert three.read_bytes() == one.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_screen_shows_all_lists_in_order(world):
    folder, _, _ = world
    command = ["recommend", str(run_of(folder, "alone", "MGRLFpp")), "--users", "u3", "u1", "u2", "--batch-size=1"]
    alone, answers = commanded(command), together(2, commanded, command, join=False)
    assert answers[0] == alone and answers[1] == (0, "", "")


def test_a_killed_process_ends_all_and_the_same_command_resumes(world):
    folder, command, _ = world
    only_ours = [argument for argument in command if argument != "BPR"]
    arguments = [*only_ours, "--checkpoint_dir=killed", "--results=killed-results"]
    answers = together(2, commanded, arguments, 4, join=False)  # in the second of three epochs
    assert answers[1] is None and answers[0][0] == 2
    assert "another process of this command ended; run the same command again" in answers[0][2]
    shutil.copytree(folder / "killed", folder / "other")
    status, _, complaint = commanded([*only_ours, "--checkpoint_dir=other"])
    assert status == 2
    assert "progress.pth: an interrupted training by 2 process(es), which 2 can resume" in complaint
    answers = together(2, commanded, arguments, join=False)
    assert [answer[0] for answer in answers] == [0, 0], answers
    weights = [
        load_checkpoint(run_of(folder, name, "MGRLFpp") / "best.pth")["state_dict"] for name in ("killed", "together")
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name
    assert figures(run_of(folder, "killed", "MGRLFpp")) == figures(run_of(folder, "together", "MGRLFpp"))


def test_recboles_own_run_starts_the_same_processes(world, tmp_path, monkeypatch, tiny_settings):
    folder, _, _ = world
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(folder, n_layers=1, checkpoint_dir="saved", hidden_dropout_prob=0.0, attn_dropout_prob=0.0)
    alone = quick_start.run("MGRLFpp", "tiny", config_dict=dict(settings))
    owner, other = together(2, run_by_recbole, ("MGRLFpp", "tiny", None, settings, True), join=False)
    assert dict(owner["test_result"]) == pytest.approx(dict(alone["test_result"]), abs=0.04)  # a user's target or two
    assert other is None and len(list(tmp_path.glob("saved/*.pth"))) == 2  # one each


def test_what_is_the_work_of_one_process_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = together(2, commanded, ["check", "tiny"], join=False)
    assert [answer[0] for answer in answers] == [2, 2]
    assert "check: is the work of one process" in answers[0][2]
