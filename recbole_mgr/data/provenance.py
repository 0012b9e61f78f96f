"""Where a data set comes from: its provenance file, and the fingerprint of its content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.files import add_content, read_yaml


class Provenance(NamedTuple):
    """Where a data set comes from.

    Attributes:
        label: the name results are printed and stored under, e.g. ``Beauty (synthetic sample)``.
        fingerprint: first 12 hex digits of the SHA-256 of the data files' content.
        details: content of ``<name>.provenance.yaml`` (empty where there is none).
    """

    label: str
    fingerprint: str
    details: dict


def read_provenance(folder: Path, name: str) -> Provenance:
    """Read ``<name>.provenance.yaml`` and fingerprint the data files, so that caches and results of different
    data never meet under one name.

    Raises:
        ValueError: If the file is not a YAML mapping.
    """
    path = folder / f"{name}.provenance.yaml"
    details = read_yaml(path, remedy="correct it", may_be_empty=True) if path.is_file() else {}
    label = f"{name} (synthetic sample)" if details.get("synthetic") else name
    return Provenance(label, _fingerprint(folder, name), details)


def _fingerprint(folder: Path, name: str) -> str:
    """Of the content of all files of the data set but those that only tell how a feature file was made."""
    digest = hashlib.sha256()
    about_features = (".yaml", ".missing.tsv", ".encoder.npz")
    files = [path for path in folder.glob(f"{name}.*") if path.is_file() and not path.name.endswith(about_features)]
    provenance = folder / f"{name}.provenance.yaml"
    for file in sorted(files + [provenance] * provenance.is_file()):
        digest.update(file.name.encode())
        add_content(digest, file)
    return digest.hexdigest()[:12]
