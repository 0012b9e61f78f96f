"""An experiment: one table, as one YAML file says it (``properties/experiments/*.yaml``, or a user's own)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from recbole_mgr.files import PROPERTIES
from recbole_mgr.integration.config import read_config_files

FOLDER = PROPERTIES / "experiments"
ONCE, PER_SEED, BOTH = "once", "per_seed", "both"
_KEYS = ("title", "dataset", "settings", "seeds", "retrain_quantizer", "reference", "rows")
_ROW_KEYS = ("label", "model", "settings")


class Row(NamedTuple):
    """A row of a table: what it is called, and a model with settings of its own."""

    label: str
    model: str
    settings: dict[str, Any]


class Experiment(NamedTuple):
    """A table to be made.

    Attributes:
        name: of its file.
        title: of the table.
        dataset: name of the data set.
        settings: of all rows that know them; a row's own win.
        seeds: of training.
        retrain_quantizer: ``once`` (one table of semantic IDs for all seeds), ``per_seed`` (the quantiser's seed is
            that of the training), or ``both``: the table as with ``once``, and each row that builds semantic IDs
            ``per_seed`` too, for both variances.
        reference: label of the row that is tested against each other one.
        rows: in the order of the table.
    """

    name: str
    title: str
    dataset: str
    settings: dict[str, Any]
    seeds: list[int]
    retrain_quantizer: str
    reference: str
    rows: list[Row]


def read_experiment(name: str) -> Experiment:
    """Read an experiment.

    Args:
        name: of a file in ``properties/experiments/`` without its ending, or the path of a YAML file.

    Raises:
        ValueError: Naming the file, the key and the remedy: no such experiment, unknown or missing keys, values of
            another form, labels or seeds given twice, a reference that is no row.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(file.stem for file in sorted(FOLDER.glob("*.yaml")))
        raise ValueError(f"experiment {name}: {path} does not exist; give the path of a .yaml file, or one of: {known}")
    content = read_config_files([str(path)])
    _check_keys(f"{path}", content, _KEYS, required=("title", "dataset", "seeds", "rows"))
    seeds = content["seeds"]
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        raise ValueError(f"{path}: seeds: {seeds!r} must be a list of whole numbers, e.g. [1, 2, 3]")
    if not isinstance(content["rows"], list) or not content["rows"]:
        raise ValueError(f"{path}: rows must be a list of at least one row with label and model")
    rows = [_row(path, number, entry) for number, entry in enumerate(content["rows"], start=1)]
    _refuse_repeated(f"{path}: seeds", seeds)
    _refuse_repeated(f"{path}: rows", [row.label for row in rows])
    retrain = content.get("retrain_quantizer", ONCE)
    if retrain not in (ONCE, PER_SEED, BOTH):
        raise ValueError(f"{path}: retrain_quantizer: {retrain!r} must be {ONCE}, {PER_SEED} or {BOTH}")
    reference = content.get("reference", rows[-1].label)
    if reference not in [row.label for row in rows]:
        raise ValueError(
            f"{path}: reference: {reference!r} is the label of no row; there are {[r.label for r in rows]}"
        )
    return Experiment(
        name=path.stem,
        title=str(content["title"]),
        dataset=str(content["dataset"]),
        settings=_settings(f"{path}", content),
        seeds=seeds,
        retrain_quantizer=retrain,
        reference=reference,
        rows=rows,
    )


def _row(path: Path, number: int, entry: Any) -> Row:
    where = f"{path}: row {number}"
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected label, model and settings, found {entry!r}")
    _check_keys(where, entry, _ROW_KEYS, required=("label", "model"))
    label = str(entry["label"])
    if not label.strip() or any(mark in label for mark in "|\t\n"):
        raise ValueError(f"{where}: label {label!r} must be one line without '|' and tabs; it stands in a table")
    return Row(label, str(entry["model"]), _settings(where, entry))


def _settings(where: str, content: dict[str, Any]) -> dict[str, Any]:
    settings = content.get("settings") or {}
    if not isinstance(settings, dict):
        raise ValueError(f"{where}: settings must be 'key: value' lines, found {settings!r}")
    if "seed" in settings or "semantic_id_seed" in settings:
        raise ValueError(
            f"{where}: settings: seeds are given by the keys seeds and retrain_quantizer; leave them out here"
        )
    return settings


def _check_keys(where: str, content: dict[str, Any], known: tuple[str, ...], *, required: tuple[str, ...]) -> None:
    unknown = [key for key in content if key not in known]
    missing = [key for key in required if content.get(key) is None]
    if unknown or missing:
        problem = f"unknown key {unknown[0]!r}" if unknown else f"key {missing[0]!r} is missing"
        raise ValueError(f"{where}: {problem}; the keys are {', '.join(known)}")


def _refuse_repeated(where: str, values: list) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{where}: {value!r} is given twice; one table has each row and seed once")
