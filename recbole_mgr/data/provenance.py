"""Where a data set comes from: its provenance file, and the fingerprint of its content."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from recbole_mgr.documents import read_yaml
from recbole_mgr.files import remembered_digest


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
        raise ValueError(f"data set {name!r}: no name; a data set is called as its folder, and --data_path says where")


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
