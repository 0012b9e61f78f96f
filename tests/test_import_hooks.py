"""Functions called around a module's first import; and recbole_mgr, which imports nothing heavy until it has to."""

import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from recbole_mgr.import_hooks import ImportHook

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "recbole", "numpy", "pandas", "polars", "scipy", "sklearn", "transformers", "plotly")


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """What happened to the package ``watched``, in order; it is not imported yet."""
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "__init__.py").write_text("import builtins\nbuiltins.watched_calls.append('own code')\n")
    (tmp_path / "watched" / "part.py").write_text("import builtins\nbuiltins.watched_calls.append('part')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    happened: list[str] = []
    monkeypatch.setattr("builtins.watched_calls", happened, raising=False)
    importlib.invalidate_caches()
    yield happened
    for name in [name for name in sys.modules if name.partition(".")[0] == "watched"]:
        del sys.modules[name]


def hook(calls, **given) -> ImportHook:
    return ImportHook("watched", **{"before": lambda: calls.append("before"), **given})


def test_functions_are_called_around_the_modules_own_code_and_once(calls):
    def after():
        calls.append("after")
        import watched.part  # what is called may import the module and its parts

        assert watched.part

    hook(calls, after=after).install()
    import watched

    importlib.reload(watched)
    assert calls == ["before", "own code", "after", "part", "own code"]
    assert type(watched.__spec__.loader).__name__ == type(watched.__loader__).__name__ == "SourceFileLoader"
    assert not any(isinstance(finder, ImportHook) and finder.name == "watched" for finder in sys.meta_path)


def test_looking_for_the_module_is_not_importing_it(calls):
    hook(calls, after=lambda: calls.append("after")).install()
    assert find_spec("watched").origin.endswith("__init__.py") and calls == []
    import watched  # noqa: F401

    assert calls == ["before", "own code", "after"]


def test_where_a_function_fails_the_import_fails_and_is_tried_again(calls):
    errors = [OSError("not yet")]

    def after():
        if errors:
            raise errors.pop()
        calls.append("after")

    hook(calls, after=after).install()
    with pytest.raises(OSError, match="not yet"):
        import watched
    import watched  # noqa: F401, F811

    assert calls == ["before", "own code", "before", "own code", "after"]


def test_a_module_that_is_there_already_gets_its_function_at_once(calls):
    import watched  # noqa: F401

    hook(calls, after=lambda: calls.append("after")).install()
    assert calls == ["own code", "after"]


def python(code: str) -> str:
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_importing_the_package_and_asking_for_help_import_nothing_heavy():
    code = """
import sys
import recbole_mgr
from recbole_mgr.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
print("heavy:", *[name for name in {heavy} if name in sys.modules])
"""
    assert python(code.format(heavy=HEAVY)).splitlines()[-1] == "heavy:"


def test_the_help_of_no_command_imports_torch_or_recbole():
    code = """
import sys
from recbole_mgr.cli.main import COMMANDS, main
for command in COMMANDS:
    try:
        main([command, "--help"])
    except SystemExit as stop:
        assert stop.code == 0, command
    slow = [name for name in ("torch", "recbole", "transformers", "sklearn", "plotly") if name in sys.modules]
    assert not slow, (command, slow)
"""
    assert "usage: recbole-mgr analyse" in python(code)


@pytest.mark.parametrize("first", ["recbole.config", "recbole_mgr.integration.config", "recbole_mgr.model.mgr"])
def test_recbole_knows_our_models_whatever_is_imported_first(first):
    code = f"""
import recbole_mgr, {first}
from recbole.quick_start import run_recbole
from recbole.utils import get_model, get_trainer, ModelType
print(get_model("MGRLFpp").__module__, get_trainer(ModelType.SEQUENTIAL, "MGRLFpp").__name__)
"""
    assert python(code) == "recbole_mgr.model.mgr GenerativeTrainer"
