"""What the documents promise: their commands are understood, their file names and setting names exist."""

import re
import shlex
from pathlib import Path

import pytest

from recbole_mgr.cli.main import COMMANDS
from recbole_mgr.cli.run import parse_model, parse_settings
from recbole_mgr.integration.config import known_keys, make_config

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def _run_commands() -> list[list[str]]:
    text = "\n".join(_blocks("bash")).replace("\\\n", " ")
    return [shlex.split(command)[2:] for command in re.findall(r"python run_recbole_mgr\.py[^\n]*", text)]


@pytest.mark.parametrize("command", _run_commands(), ids=" ".join)
def test_commands_name_models_and_settings_that_exist(command):
    assert command, "a command without arguments"
    names, rest, settings = [], list(command), []
    while rest:
        argument = rest.pop(0)
        if argument == "--model":
            while rest and not rest[0].startswith("--"):
                names.append(rest.pop(0))
        elif argument in ("--dataset", "--seeds", "--config_files", "--results"):
            rest.pop(0)
        else:
            settings.append(argument)
    requests = [parse_model(name) for name in names]
    shared = parse_settings(settings)
    for request in requests:
        assert set(request.settings) <= known_keys(request.name)
        known = {key: value for key, value in shared.items() if key in known_keys(request.name)}
        make_config(request.name, "Beauty", [], {**known, **request.settings})
    assert set(shared) <= set().union(*(known_keys(request.name) for request in requests))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_experiments_of_every_document_exist(document):
    text = document.read_text(encoding="utf-8")
    assert set(re.findall(r"recbole-mgr ([a-z]+)", text)) <= set(COMMANDS)
    experiments = {path.stem for path in (ROOT / "properties" / "experiments").iterdir()}
    assert set(re.findall(r"recbole-mgr experiment (\w+)(?![\w.])", text)) <= experiments


def test_there_are_commands_to_check():
    assert len(_run_commands()) >= 2


def test_the_two_commands_are_where_ci_looks_for_them():
    recbole = r"pip install --no-deps recbole==1\.2\.1"
    tests = rf'pip install -c constraints\.txt "\.\[test\]" && {recbole} && python -m pytest -n 2 --dist loadfile'
    run = rf"pip install -c constraints\.txt \. && {recbole} && python run_recbole_mgr\.py .*"
    assert re.search(rf"<!-- tests -->\n```bash\n{tests}\n```", README)
    assert re.search(rf"<!-- run -->\n```bash\n{run}\n```", README)


def test_the_layout_names_every_room_and_nothing_else():
    layout = re.findall(r"## Layout\n\n```\n(.*?)```", README, flags=re.DOTALL)[0]
    rooms = set()
    for line in layout.splitlines():
        folder = ROOT / "recbole_mgr" if line.startswith("  ") else ROOT
        names = re.match(r"\s*((?:[\w.]+/?\s)+)", line + " ").group(1).split()
        for name in (name for name in names if name.endswith((".py", "/"))):
            assert (folder / name).exists(), name
            rooms.add(folder / name)
    assert {file.parent for file in (ROOT / "recbole_mgr").glob("*/__init__.py")} <= rooms


def test_the_python_example_runs_with_settings_that_exist():
    (code,) = _blocks("python")
    compile(code, "README.md", "exec")
    keys = re.findall(r'config_dict=\{"(\w+)"', code)
    assert keys and set(keys) <= known_keys("MGRLFpp")
