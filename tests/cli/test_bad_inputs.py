"""A list of bad inputs over all commands: each is refused by name, in one sentence, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import pytest
from bad_inputs import BAD_INPUTS
from small_shop import write_shop

from recbole_mgr.cli.main import main
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.table_page import save

CASES = {f"{kind} {number}: {bad.command}": bad for kind, bads in BAD_INPUTS.items() for number, bad in enumerate(bads)}


@pytest.fixture(scope="session")
def world(tmp_path_factory, write_dataset, tiny_settings):
    """Good data sets, and runs on one of them."""
    base = tmp_path_factory.mktemp("world")
    write_dataset(base / "data")
    write_shop(base / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        settings = tiny_settings(base, data_path=str(base / "data"), n_layers=1, num_threads=1)
        requests = [ModelRequest("TIGER", {"modalities": ["text"]}), ModelRequest("BPR", {})]
        save(run_comparison(requests, "tiny", settings=settings), base / "table")
    runs = {path.parent.parent.name.partition("-")[0]: path.parent for path in base.rglob("run.yaml")}
    return {"data": base / "data", "run": runs["TIGER"], "bpr": runs["BPR"], "table": base / "table"}


def state(*folders: Path) -> dict[Path, str | None]:
    """Every file and empty folder below some folders, but for logs, histories that were kept whole, and the world."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for folder in folders
        for path in folder.rglob("*")
        if not {"log", "log_tensorboard", "histories", ".world"} & set(path.relative_to(folder).parts)
        and not (path.is_dir() and any(path.iterdir()))
    }


def test_the_good_of_it_is_not_refused(world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["analyse", str(world["table"]), "--users", "5"]) == 0  # the folder that run writes
    assert main(["recommend", str(world["run"]), "--device", "cpu", "--users", "u1"]) == 0
    assert main(["check", "tiny", "--data_path", str(world["data"])]) == 0


def test_the_list_is_long_and_names_what_it_expects():
    assert len(CASES) >= 300
    assert all(bad.says for bad in CASES.values())


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES)
def test_it_is_refused_by_name_and_leaves_nothing(bad, world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RECBOLE_MGR_TOKEN", raising=False)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)  # nothing is served by mistake
    (tmp_path / ".world").mkdir()
    for name in ("run", "bpr"):
        (tmp_path / ".world" / name).symlink_to(world[name])
    for name, content in bad.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = state(tmp_path, world["data"], world["run"], world["bpr"])
    status = main(shlex.split(bad.command.format(**world)))
    said = capsys.readouterr()
    text = said.out + said.err
    assert status in (1, 2)
    if status == 2:
        assert said.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in text
    missing = [words for words in bad.says.split(" & ") if not any(part in text for part in words.split("|"))]
    assert not missing, text
    assert state(tmp_path, world["data"], world["run"], world["bpr"]) == before
