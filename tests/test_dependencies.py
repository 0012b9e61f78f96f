"""The policy for dependencies (CONTRIBUTING.md): bounds, the versions that passed, and commands that install them."""

import ast
import re
import runpy
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
# Libraries of which we use what their documentation promises, and nothing else: no upper bound.
STABLE = """accelerate gguf hypothesis jinja2 markupsafe networkx packaging pillow playwright plotly psutil pytest
    pytest-xdist pyyaml requests rouge-score ruff sacrebleu safetensors scikit-learn tensorboard texttable tqdm urllib3
    uv""".split()


# Imported only where a user has them: RecBole's ray, and trackers that would bring twenty packages for few.
WHERE_THEY_ARE = ("ray", "mlflow", "wandb")


@pytest.fixture(scope="module")
def setup_arguments() -> dict:
    arguments = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
        runpy.run_path(str(ROOT / "setup.py"))
    return arguments


@pytest.fixture(scope="module")
def requirements(setup_arguments) -> list[Requirement]:
    extras = setup_arguments["extras_require"].values()
    listed = {*setup_arguments["install_requires"], *(line for lines in extras for line in lines)}
    return [Requirement(line) for line in sorted(listed)]


def constraints(python: str) -> dict[str, str]:
    """Name and version of what constraints.txt says for a Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment | {"platform_machine": "x86_64"}):
            ((specifier,), name) = (list(requirement.specifier), canonicalize_name(requirement.name))
            assert specifier.operator == "==" and name not in pinned, line
            pinned[name] = specifier.version
    return pinned


def test_every_requirement_has_a_lower_bound(requirements):
    for requirement in requirements:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators & {">=", "=="}, f"{requirement}: say from which version on it was run"


def test_what_may_change_under_us_has_an_upper_bound(requirements):
    for requirement in requirements:
        operators = {specifier.operator for specifier in requirement.specifier}
        if canonicalize_name(requirement.name) not in STABLE:
            assert operators & {"<", "=="}, f"{requirement}: give an upper bound, or a place among STABLE"


def test_contributing_says_why_there_is_an_upper_bound(requirements):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for requirement in requirements:
        if canonicalize_name(requirement.name) not in STABLE:
            assert f"`{requirement.name}`" in text, requirement.name


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tested_versions_lie_within_the_bounds(python, requirements):
    pinned = constraints(python)
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name}: run .ci/constraints"
        assert requirement.specifier.contains(pinned[name]), (
            f"{requirement}: {pinned[name]} was tested; run .ci/constraints"
        )


def test_what_the_package_imports_is_required(requirements):
    names = {canonicalize_name(requirement.name) for requirement in requirements} | {"recbole"}
    distributions_of = _distributions_of_modules()
    for path in (ROOT / "recbole_mgr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            for module in (module.split(".")[0] for module in modules):
                if module in sys.stdlib_module_names or module in ("recbole_mgr", *WHERE_THEY_ARE):
                    continue
                found = {canonicalize_name(name) for name in distributions_of.get(module, [module])}
                assert found & names, f"{path.relative_to(ROOT)} imports {module}, which setup.py does not name"


def _distributions_of_modules() -> dict[str, set[str]]:
    """Which distributions install a module; Python 3.10 itself misses those without top_level.txt."""
    found: dict[str, set[str]] = {}
    for distribution in distributions():
        name = distribution.name  # which is read from its file each time
        for file in distribution.files or ():
            found.setdefault(file.parts[0].removesuffix(".py"), set()).add(name)
    return found


def test_the_two_commands_install_the_tested_versions(setup_arguments):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^pip install .*&& python .*$", readme, flags=re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert "-c constraints.txt" in command
        assert "pip install --no-deps recbole==1.2.1" in command  # with its requirements ray would come along
    assert not any("recbole" in line for line in setup_arguments["install_requires"])


def test_hosted_checks_run_every_python_and_every_end_of_the_bounds():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert matrix["versions"] == ["lowest", "tested", "newest"]
    assert "schedule" in workflow[True]  # YAML reads the key "on" as true
