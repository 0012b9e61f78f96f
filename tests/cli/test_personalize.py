"""The command around `personalize`: what it prints and writes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recbole_mgr.cli.main import main
from recbole_mgr.serving import personalize as library
from recbole_mgr.serving import run_directory
from recbole_mgr.serving.personalize import PersonalAnswer


@pytest.fixture
def asked(monkeypatch) -> list:
    """The requests that arrive; each gets a line and a picture."""
    requests = []

    def answer(run, request):
        requests.append((run, request))
        return PersonalAnswer("a prompt", ["a.jpg", "b.jpg"], ["a line"], Image.new("RGB", (4, 4), "red"))

    monkeypatch.setattr(run_directory, "read_run", lambda run_dir: f"run in {run_dir.name}")
    monkeypatch.setattr(library, "personalize", answer)
    return requests


def test_prompt_pictures_and_answer_are_shown(asked, tmp_path, capsys):
    file = tmp_path / "new" / "drawn.png"
    arguments = ["--task", "image", "--user", "ann", "--query", "hand cream", "--output", str(file)]
    assert main(["personalize", str(tmp_path / "seed-1"), *arguments]) == 0
    ((run, request),) = asked
    assert run == "run in seed-1"
    assert (request.task, request.user, request.history, request.query) == ("image", "ann", None, "hand cream")
    printed = capsys.readouterr().out
    for part in ("a prompt", "a.jpg, b.jpg", "a line", "4 x 4", str(file)):
        assert part in printed
    assert (np.asarray(Image.open(file)) == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--task", "image", "--user", "ann", "--output", "a.txt"], "must end in .png"),
        (["--task", "image", "--user", "ann", "--temperature", "0"], "--temperature: 0 must be a number > 0"),
        (["--task", "rec"], "--user --history"),
        (["--user", "ann"], "--task"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_read(asked, capsys, arguments, named):
    assert main(["personalize", "run", *arguments]) == 2
    assert named in capsys.readouterr().err and not asked
