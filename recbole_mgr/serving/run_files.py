"""The files of a run directory, each known by its digest, so that a damaged one is named instead of used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from recbole_mgr.documents import read_yaml
from recbole_mgr.files import content_digest, remembered_digest, write_text

ABOUT_FILE, SETTINGS_FILE, CHECKPOINT_FILE = "run.yaml", "settings.yaml", "best.pth"


def mending(run_dir: Path) -> str:
    """The remedy for all that the stored checkpoint can tell again."""
    return f"copy the run directory again, or mend it where its data are: recbole-mgr evaluate {run_dir}"


def record_files(run_dir: Path, names: Iterable[str], about: dict[str, Any] | None = None) -> None:
    """Note the digests of files in ``run.yaml``.

    Args:
        run_dir: holds the files, by names relative to it.
        names: of files; of one that does not exist the digest is forgotten.
        about: the whole content of ``run.yaml``; None adds to what it holds, if it exists.
    """
    path = run_dir / ABOUT_FILE
    if about is None:
        if not path.is_file():
            return
        about = read_yaml(path, remedy=mending(run_dir))
    digests = dict(about.get("files") or {})
    for name in names:
        digests.pop(name, None)
        if (run_dir / name).is_file():
            digests[name] = content_digest(run_dir / name)
    text = yaml.safe_dump({**about, "files": dict(sorted(digests.items()))}, sort_keys=False, allow_unicode=True)
    write_text(path, text)


def check_file(run_dir: Path, about: dict[str, Any], name: str, *, remedy: str) -> None:
    """Refuse a file that is not the one that was written; one without a digest (a run of 0.1) passes.

    Args:
        run_dir: of the run.
        about: content of its ``run.yaml``.
        name: of the file.
        remedy: what the error advises.

    Raises:
        ValueError: Naming the file and the remedy.
    """
    expected = (about.get("files") or {}).get(name)
    path = run_dir / name
    if expected is not None and path.is_file() and remembered_digest(path) != expected:
        raise ValueError(f"{path}: damaged, its SHA-256 is not the one in {ABOUT_FILE}; {remedy}")
