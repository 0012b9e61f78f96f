"""What a run directory says of itself: which model, by which settings, and the digest of each of its files, so that a
damaged one is named instead of used."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from recbole_mgr.documents import read_yaml
from recbole_mgr.files import content_digest, remembered_digest, write_text
from recbole_mgr.integration.config import keys_of, model_properties
from recbole_mgr.integration.registry import MODELS, model_class
from recbole_mgr.settings.recbole_keys import Overall
from recbole_mgr.settings.schema import check_values

FORMAT = 1  # raise it when an older reader could not read the folder
ABOUT_FILE, SETTINGS_FILE, CHECKPOINT_FILE = "run.yaml", "settings.yaml", "best.pth"
TABLE_FILE, ITEMS_FILE, WEIGHTS_FILE = "best.semantic_ids.tsv", "items.tsv", "model.safetensors"
COPY_AGAIN = "copy the run directory again"
_ABOUT = {"model": str, "data": dict, "items": int, "users": (int, NoneType), "files": (dict, NoneType)}


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


def read_about(run_dir: Path) -> dict[str, Any]:
    """What ``run.yaml`` says; raises ValueError where there is none, or one of a newer version."""
    about = _read(run_dir / ABOUT_FILE)
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{run_dir / ABOUT_FILE}: format {about.get('format')!r}, this version reads {FORMAT}; install the "
            f"recbole_mgr that wrote it ({about.get('environment')})"
        )
    for key, kind in _ABOUT.items():
        if (key in about or key == "model") and not isinstance(about.get(key), kind):
            found = repr(about.get(key))[:80]
            raise ValueError(f"{run_dir / ABOUT_FILE}: {key}: {found} is not what belongs there; {COPY_AGAIN}")
    if about["model"] in MODELS and not isinstance(about.get("semantic_id_fingerprint"), str):
        raise ValueError(f"{run_dir / ABOUT_FILE}: semantic_id_fingerprint is missing; {COPY_AGAIN}")
    return about


def is_generative_run(run_dir: Path) -> bool:
    """Whether a run directory is of one of our models; raises ValueError where there is none."""
    return read_about(run_dir)["model"] in MODELS


def read_settings(run_dir: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The settings of a finished run of one of our models, whose files are there and undamaged.

    Args:
        run_dir: of the run.
        about: what its ``run.yaml`` says.

    Raises:
        ValueError: Naming the file and the remedy.
    """
    settings = _read(run_dir / SETTINGS_FILE)
    model = about["model"]
    if model not in MODELS and not (run_dir / TABLE_FILE).exists():
        raise ValueError(
            f"{run_dir}: a run of {model}, which has no semantic IDs; name one of {', '.join(sorted(MODELS))}"
        )
    if model not in MODELS or settings.get("model") != model:
        raise ValueError(
            f"{run_dir / ABOUT_FILE}: model {model!r} is not one of {sorted(MODELS)} or not that of {SETTINGS_FILE} "
            f"({settings.get('model')!r}); copy the run directory whole"
        )
    for name in (TABLE_FILE, ITEMS_FILE, WEIGHTS_FILE):
        require_file(run_dir / name)
    for name in about.get("files") or {}:
        if name != CHECKPOINT_FILE and Path(name).name not in ("ranking.npz", "result.json"):
            check_file(run_dir, about, name, remedy=mending(run_dir))
    # a setting that came later has a default that changes nothing
    settings = {**model_properties(model_class(model)), **settings}
    try:
        check_values(settings, {key: kind for key, kind in keys_of(model).items() if key not in Overall.all()})
    except ValueError as error:
        raise ValueError(f"{run_dir / SETTINGS_FILE}: {error}; copy the run directory whole") from error
    return settings


def require_file(path: Path) -> None:
    """Raise ValueError where a file of a run directory is not there."""
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist; name the folder of a finished run (saved/<data>/<model>/seed-<n>), copied whole"
        )


def _read(path: Path) -> dict[str, Any]:
    require_file(path)
    return read_yaml(path, remedy=COPY_AGAIN)
