"""Runs of an experiment side by side, by commands of their own."""

import csv
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from recbole_mgr.cli.main import main
from recbole_mgr.run.experiments.jobs import Jobs

TEXT = {"label": "TIGER, text", "model": "TIGER", "settings": {"modalities": ["text"]}}
ROWS = [TEXT, {"label": "LF", "model": "MGRLF"}]


@pytest.fixture
def experiment(tmp_path, monkeypatch, write_dataset, tiny_settings):
    """A function that runs the experiment with options, in the test's folder, and gives the exit status."""
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path, num_users=20)
    settings = tiny_settings(tmp_path, epochs=1, n_layers=1)

    def experiment(*options, rows=ROWS):
        file = {"title": "Two rows", "dataset": "tiny", "seeds": [1], "settings": settings, "rows": rows}
        (tmp_path / "table.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
        return main(["experiment", "table.yaml", *options])

    return experiment


def rows_of(results):
    """The first table's rows, without their seconds."""
    (file,) = results.glob("*/table.csv")
    with file.open(encoding="utf-8", newline="") as lines:
        return [row[:-2] for row in csv.reader(lines)]


def test_the_rows_are_those_of_one_after_the_other_and_one_that_fails_is_named(experiment, tmp_path, capsys):
    lost = {"label": "lost", "model": "MGRLF", "settings": {"learning_rate": 1e30, "train_batch_size": 4}}
    rows = [lost, *ROWS]
    jobs = ("--jobs", "2", "--results", "jobs", "--checkpoint_dir=saved_jobs", "--num_threads=1")
    assert experiment(*jobs, rows=rows) == 2
    told = capsys.readouterr()
    assert "1 of 3 runs failed (logs in jobs/" in told.err and "lost, seed 1: " in told.err and "nan" in told.err
    assert "TIGER, text, seed 1: finished, see jobs/" in told.out and "LF, seed 1: finished" in told.out
    (logs,) = tmp_path.glob("jobs/*/logs")
    assert sorted(log.name for log in logs.iterdir()) == ["LF-seed-1.log", "TIGER-text-seed-1.log", "lost-seed-1.log"]
    alone = ("--rows", "2", "3", "--results", "alone", "--checkpoint_dir=saved_alone", "--num_threads=1")
    assert experiment(*alone, rows=rows) == 0
    assert len(rows_of(tmp_path / "alone")) == 3  # with the header
    assert rows_of(tmp_path / "jobs") == rows_of(tmp_path / "alone")
    assert experiment(*jobs, "--rows", "2", "3", rows=rows) == 0
    assert "finished, see jobs" not in capsys.readouterr().out  # nothing was done again


def test_jobs_share_the_cores_and_take_gpus_by_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    jobs = Jobs(3, ["table.yaml", "--epochs=2"], gpus=["4", "6"])
    commands = [jobs.command("LF", 1, place, tmp_path) for place in range(3)]
    assert commands[0][:4] == [sys.executable, "-m", "recbole_mgr", "experiment"]
    assert commands[0][4:] == [
        *("table.yaml", "--epochs=2", "--num_threads=2", "--gpu_id=4"),
        *("--rows", "LF", "--seeds", "1", "--results", str(tmp_path)),
    ]
    assert ["--gpu_id=6" in command for command in commands] == [False, True, False]
    given = Jobs(3, ["table.yaml", "--num_threads=1", "--gpu_id="], gpus=["4", "6"]).command("LF", 1, 1, tmp_path)
    assert [argument for argument in given if argument.startswith(("--num_threads", "--gpu_id"))] == [
        "--num_threads=1",
        "--gpu_id=",
    ]


@pytest.mark.parametrize("count", ["0", "two", "-1"])
def test_a_number_of_jobs_is_at_least_one(count, experiment, capsys):
    assert experiment("--jobs", count) == 2
    assert "--jobs" in capsys.readouterr().err


def test_torchrun_and_jobs_do_not_go_together(experiment, monkeypatch, capsys):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    import recbole_mgr.cli.experiment as command

    with pytest.raises(ValueError, match="--jobs 2: torchrun's processes make each run together"):
        command.main(["table.yaml", "--jobs", "2"])


def test_a_command_that_is_ended_ends_its_jobs(experiment, tmp_path):
    assert experiment("--plan") == 0  # writes the file
    command = [sys.executable, "-m", "recbole_mgr", "experiment", "table.yaml", "--jobs", "2", "--results", "jobs"]
    with subprocess.Popen([*command, "--epochs=100000", "--stopping_step=100000"], cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.rglob("progress.pth"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        jobs = psutil.Process(process.pid).children(recursive=True)
        assert len(jobs) == 2
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert not [job for job in jobs if job.is_running() and job.status() != psutil.STATUS_ZOMBIE]
