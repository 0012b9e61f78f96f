"""Where a data set lies, under which name, and where it comes from: its provenance file and its fingerprint."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.documents import read_yaml
from recbole_mgr.files import remembered_digest

_NAMES_SHOWN = 5


class Provenance(NamedTuple):
    """Where a data set comes from.

    Attributes:
        label: the name results are printed and stored under, e.g. ``Beauty (synthetic sample)``.
        fingerprint: first 12 hex digits of the SHA-256 of the interactions, ``<name>.inter``; "" where there are none.
        details: content of ``<name>.provenance.yaml`` (empty where there is none).
    """

    label: str
    fingerprint: str
    details: dict


def require_data_name(name: str) -> None:
    """Raises ValueError if a data set is called what could lead out of the folder of data sets, or name none in it."""
    if not name or Path(name).name != name or name == ".." or "\\" in name or not name.isprintable():
        raise ValueError(
            f"data set {name!r}: no name; give that of its folder alone, and the folder around it as --data_path"
        )


def as_arguments(folder: Path, name: str) -> str:
    """How commands are given a data set: its name and ``--data_path``, quoted for a shell."""
    return f"{shlex.quote(name)} --data_path {shlex.quote(str(folder.parent))}"


def no_such_data(file: Path) -> str:
    """That a file of a data set, ``<data_path>/<name>/<file>``, does not exist, and what may have been meant."""
    name, data_path = file.parent.name, file.parent.parent
    message = f"{file} does not exist; --data_path must name the folder that holds {name}/{file.name}"
    if (data_path / file.name).is_file():  # the data set's own folder was given
        return f"{message}: {data_path.resolve().parent}"
    others = sorted(found.stem for found in data_path.glob("*/*.inter") if found.stem == found.parent.name)
    if not others:
        return message
    more = ", ..." if len(others) > _NAMES_SHOWN else ""
    return f"{message}. {data_path} holds {', '.join(others[:_NAMES_SHOWN])}{more}"


def read_provenance(folder: Path, name: str) -> Provenance:
    """Read ``<name>.provenance.yaml`` and fingerprint the interactions, so that runs and results of different data
    never meet under one name. Which other files count is told by what a model reads of them.

    Raises:
        ValueError: If the file is not a YAML mapping.
    """
    path = folder / f"{name}.provenance.yaml"
    details = read_yaml(path, remedy="correct it", may_be_empty=True) if path.is_file() else {}
    label = f"{name} (synthetic sample)" if details.get("synthetic") else name
    interactions = folder / f"{name}.inter"
    return Provenance(label, remembered_digest(interactions)[:12] if interactions.is_file() else "", details)
