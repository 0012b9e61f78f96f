"""The rooms of the package: imports go one way, from the pipeline's end to its beginning, and never in a circle."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up: a room may import the rooms before it. A new room takes its place here.
ROOMS = (
    "version files documents hints cleaners import_hooks settings distributed data preparation encoding semantic_id "
    "checking generation integration model baselines unimp serving run reporting cli"
).split()


class Import(NamedTuple):
    """One import of one module of the package by another."""

    source: str
    target: str
    line: int


def imports_of(package: Path) -> list[Import]:
    """All imports inside a package, those in functions and for type checkers too."""
    modules = {_name(path, package): path for path in package.rglob("*.py")}
    found = []
    for source, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [name if name in modules else node.module for name in inside]
            else:
                continue
            found += [Import(source, target, node.lineno) for target in targets if target in modules]
    return found


def circles_of(imports: list[Import]) -> list[list[str]]:
    """Groups of modules each of which imports, directly or not, all others of the group."""
    targets: dict[str, set[str]] = {}
    for entry in imports:
        targets.setdefault(entry.source, set()).add(entry.target)

    def reached(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for target in targets.get(waiting.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    reach = {module: reached(module) for module in targets}
    circles = {
        tuple(sorted(other for other in reach[module] if module in reach.get(other, ())))
        for module in targets
        if module in reach[module]
    }
    return [list(circle) for circle in sorted(circles)]


def arrows_back(imports: list[Import], rooms: list[str]) -> list[str]:
    """Imports of a room by a room before it, as text."""
    place = {room: number for number, room in enumerate(rooms)}

    def room(module: str) -> str:
        return module.split(".")[1] if "." in module else module

    return [
        f"{entry.source}, line {entry.line}, imports {entry.target}"
        for entry in imports
        if room(entry.source) in place and place.get(room(entry.target), len(rooms)) > place[room(entry.source)]
    ]


def _name(path: Path, package: Path) -> str:
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_room_has_its_place():
    package = ROOT / "recbole_mgr"
    rooms = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__", "__main__"} <= set(ROOMS)


def test_imports_go_one_way():
    assert arrows_back(imports_of(ROOT / "recbole_mgr"), ROOMS) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circles_of(imports_of(ROOT / "recbole_mgr")) == []


@pytest.fixture
def crooked_house(tmp_path):
    """``low`` imports ``high`` in a function, and two modules of ``high`` import each other."""
    package = tmp_path / "house"
    for name, text in {
        "__init__": "",
        "low/__init__": "",
        "low/cellar": "def look():\n    from house.high import roof\n    return roof",
        "high/__init__": "",
        "high/roof": "from house.high.attic import floor\nimport house.low.cellar",
        "high/attic": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.high import roof\nfloor = 1",
    }.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def test_arrows_back_and_circles_are_found(crooked_house):
    imports = imports_of(crooked_house)
    assert arrows_back(imports, ["low", "high"]) == ["house.low.cellar, line 2, imports house.high.roof"]
    assert circles_of(imports) == [["house.high.attic", "house.high.roof", "house.low.cellar"]]
