"""What a run is: which settings and files decide what it learns, which what its test says, and where it stands.

A run directory is named by its *training*: a format number, the settings that change what is learned, and the content
of the files that the model reads. Its *evaluation* (protocol, metrics, cut-offs, beams) may change afterwards: then the
stored checkpoint is tested again. The *environment* (versions, hardware) is recorded with every result and decides
nothing.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recbole.config import Config

from recbole_mgr.cleaners import print_line
from recbole_mgr.data.features import feature_files
from recbole_mgr.data.interaction_histories import InteractionHistories
from recbole_mgr.data.interactions import check_interactions
from recbole_mgr.data.provenance import Provenance, read_provenance
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import remembered_digest
from recbole_mgr.integration.config import keys_of, model_properties, plain_settings
from recbole_mgr.integration.histories import are_plain, plain_histories
from recbole_mgr.integration.registry import OURS
from recbole_mgr.run.results import RunResult
from recbole_mgr.semantic_id.user_supplied import require_items
from recbole_mgr.serving.run_files import ABOUT_FILE, SETTINGS_FILE, read_about, read_settings
from recbole_mgr.settings.recbole_keys import Overall

# Raise it when the same settings and files teach a model something else than before: every model, or one.
TRAINING_FORMAT = 2
TRAINING_FORMATS = {"UniMP": 3}
EVALUATIONS = "evaluations"  # below a run directory, a folder for each evaluation but the one it was trained with

# Settings that change where, how loudly or how fast a run goes, not what it computes, or only set others (preset).
OPERATIONAL = frozenset(
    "preset seed gpu_id use_gpu device state show_progress checkpoint_dir data_path worker local_rank single_spec "
    "num_threads tracker log_wandb wandb_project eval_batch_size config_files save_dataset save_dataloaders "
    "dataset_save_path dataloaders_save_path keep_histories loss_decimal_place nproc world_size offset ip port "
    "floors fsdp".split()
)
# Settings that change what is tested and not what is learned; ``eval_args`` is both, see `_split`.
EVALUATION = frozenset("topk metrics beam_size eval_type test_neg_sample_args bert_score".split())

# What ``settings.yaml`` of a run directory holds beside settings.
_NO_SETTINGS = ("data", "data_fingerprint", "recbole_mgr", "training_format", "files_read")

# What RecBole reads of a data set where ``load_col`` names no kinds of files.
_ATOMIC_KINDS = ("inter", "user", "item", "kg", "link", "net")


class RunIdentity(NamedTuple):
    """What tells one run from another, as plain data.

    Attributes:
        training_format: a number, of the model, that is raised when the same settings and files teach something else.
        settings: that change what is learned.
        files: name -> SHA-256 of what the model reads.
        evaluation: settings that change what is tested.
    """

    training_format: int
    settings: dict[str, Any]
    files: dict[str, str]
    evaluation: dict[str, Any]

    @classmethod
    def of(cls, config: Config) -> RunIdentity:
        """Of a run that is asked for; reads the files' content, once for a process."""
        files = files_read(config)
        settings, evaluation = _split(plain_settings(config), given_as_files=files)
        training_format = TRAINING_FORMATS.get(config["model"], TRAINING_FORMAT)
        return cls(
            training_format, settings, {name: remembered_digest(path) for name, path in files.items()}, evaluation
        )

    @property
    def training_digest(self) -> str:
        return _digest([self.training_format, self.settings, self.files])

    @property
    def evaluation_digest(self) -> str:
        return _digest(self.evaluation)


def files_read(config: Config) -> dict[str, Path]:
    """All files and folders that exist and whose content decides what a run learns, by name."""
    folder, name = Path(config["data_path"]), config["dataset"]
    kinds = [*(config["load_col"] or _ATOMIC_KINDS), *(config["additional_feat_suffix"] or [])]
    parts = [f"{part}." for part in config["benchmark_filename"] or []]
    files = {f"{name}.{part}{kind}" for kind in kinds for part in (["", *parts] if kind == "inter" else [""])}
    found = {file: folder / file for file in sorted(files)}
    for modality in config["drop_items_without"] or []:
        found |= feature_files(folder, name, modality)
    if config["model"] in OURS:
        found |= config.model_class.files_read(config.final_config_dict)
    return {name: path for name, path in found.items() if path.exists()}


def require_files(rows: Iterable[tuple[str, Config]]) -> None:
    """Refuse a table of which a row reads files that are not there, or goes on from a run that does not fit it, before
    any row is trained.

    Args:
        rows: their labels and settings.

    Raises:
        ValueError: Naming the row, the setting and the remedy.
    """
    for label, config in rows:
        if config["model"] in OURS:
            try:
                config.model_class.require_files(config.final_config_dict)
                if config["initial_run"]:  # a setting of UniMP's alone
                    folder = Path(config["initial_run"])
                    initial = read_settings(folder, read_about(folder))
                    config.model_class.check_initial_run(folder, initial, config.final_config_dict)
            except ValueError as error:
                raise ValueError(f"{label}: {error}") from error


def shared_data(configs: Mapping[str, Config], dataset: str, *, keeps: bool = True) -> tuple[Provenance, list[str]]:
    """What the rows of one table have in common, looked at before any of them is trained.

    Args:
        configs: the settings of each row by its label, for messages.
        dataset: its name.
        keeps: whether the histories that are made are kept for the rows; nothing is written otherwise.

    Returns:
        Where the data come from, and the modalities without whose features an item is dropped: one table ranks one set
        of items, so what one row drops, all drop.

    Raises:
        ValueError: If rows read different folders, or data, features or semantic IDs are not fit to be read.
    """
    if len({config["data_path"] for config in configs.values()}) > 1:
        raise ValueError("data_path: all rows of a table read the same files; give it for all, or as --data_path")
    dropped = sorted({modality for config in configs.values() for modality in config["drop_items_without"] or []})
    first = next(iter(configs.values()))
    histories = _checked_histories(first, dataset, dropped=dropped, keeps=keeps)
    require_files(configs.items())
    if histories is not None:
        _require_semantic_ids(configs, histories.item_tokens)
    return read_provenance(Path(first["data_path"]), dataset), dropped


def _require_semantic_ids(configs: Mapping[str, Config], item_tokens: list[str]) -> None:
    """Refuse a row of which the user's semantic IDs are malformed, or lack items."""
    found = set()
    for label, config in configs.items():
        files = [config[key] and Path(config[key]) for key in ("semantic_ids", "item2id")]
        if config["model"] not in OURS or not files[0] or not config["modalities"] or tuple(files) in found:
            continue
        try:
            require_items(files[0], item_tokens, item2id=files[1])
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from error
        found.add(tuple(files))


def checked_provenance(config: Config, dataset: str) -> Provenance:
    """Label, origin and fingerprint of a data set; raises ValueError where its interactions are not fit to be read."""
    _checked_histories(config, dataset)  # which are kept for what follows
    return read_provenance(Path(config["data_path"]), dataset)


def _checked_histories(config: Config, dataset: str, **options: Any) -> InteractionHistories | None:
    """The histories, by the options of `plain_histories`; None where RecBole makes them, of interactions that are fit
    to be read."""
    if are_plain(config):
        return plain_histories(config, dataset, **options)
    check_interactions(Path(config["data_path"]) / f"{dataset}.inter", AtomicFormat.of(config))
    return None


def run_directory(config: Config, provenance: Provenance, identity: RunIdentity | None = None) -> Path:
    """Where a run stands: one that was trained before by the same settings and files, or else where it belongs.

    A run with other settings that came later, or of a data set that was renamed, is found by what its folder says. One
    that an earlier release trained otherwise is not used, and a line says so.
    """
    identity = identity or RunIdentity.of(config)
    saved = Path(config["checkpoint_dir"])
    own = (
        saved
        / f"{slug(provenance.label)}-{provenance.fingerprint}"
        / f"{config['model']}-{identity.training_digest}"
        / f"seed-{config['seed']}"
    )
    if not own.exists():
        for run_dir, about in _runs_below(saved, config):
            if learned_differences(about, identity, config):
                continue
            if about.get("training_format") != identity.training_format:
                print_line(
                    f"{run_dir} has the same settings, but an earlier release trained it otherwise; it is not used"
                )
            elif about.get("files_read") == identity.files:
                return run_dir
    return own


def result_directory(run_dir: Path, identity: RunIdentity) -> Path:
    """Where the result of an evaluation stands: in the run directory that of the evaluation that it was trained with,
    below it the others."""
    if is_trained(run_dir) and _evaluation_of(_stored_settings(run_dir)) != _canonical(identity.evaluation):
        return run_dir / EVALUATIONS / identity.evaluation_digest
    return run_dir


def run_of_result(folder: Path) -> Path:
    """The run directory of a folder that `result_directory` named."""
    return folder.parent.parent if folder.parent.name == EVALUATIONS else folder


def is_trained(run_dir: Path) -> bool:
    """Whether training has ended there; the results of 0.1 say so, later run directories themselves."""
    return (run_dir / SETTINGS_FILE).is_file() and ((run_dir / ABOUT_FILE).is_file() or RunResult.exists(run_dir))


def about_run(config: Config, provenance: Provenance, identity: RunIdentity, version: str) -> dict[str, Any]:
    """What ``settings.yaml`` of a run directory holds: what the run is, and all settings."""
    return {
        "data": provenance.label,
        "data_fingerprint": provenance.fingerprint,
        "recbole_mgr": version,
        "training_format": identity.training_format,
        "files_read": identity.files,
        **plain_settings(config),
    }


def learned_differences(about: Mapping[str, Any], identity: RunIdentity, config: Config) -> list[str]:
    """Settings that change what is learned and differ from those of a run, whose ``settings.yaml`` is given.

    A setting that came after the run has a default that changes nothing; one that is gone, or that the model never
    reads, changed nothing either.
    """
    asked, stored = (_canonical(part) for part in (identity.settings, _split(about, identity.files)[0]))
    defaults = _canonical(model_properties(config.model_class))
    different = [key for key, value in asked.items() if stored.get(key, defaults.get(key, value)) != value]
    unread = Overall.all().keys() - keys_of(config["model"])
    return [key for key in different if key not in unread]


def training_digest_of(run_dir: Path) -> str:
    """What a run learned from and how, as its folder says: equal for runs that differ in their seed alone."""
    about = _stored_settings(run_dir)
    files = about.get("files_read") or {}
    settings = {key: value for key, value in about.items() if key not in _NO_SETTINGS}
    return _digest([about.get("training_format"), _split(settings, files)[0], files])


def apart(labels: Sequence[str], trainings: Sequence[str]) -> list[str]:
    """Labels of n runs under which only those of one training (a digest) are averaged: where a label stands for several
    trainings, their digests are added."""
    counts = Counter(label for label, _ in set(zip(labels, trainings, strict=True)))
    return [
        label if counts[label] == 1 else f"{label}-{digest}" for label, digest in zip(labels, trainings, strict=True)
    ]


def slug(text: str) -> str:
    """``text`` as a file name."""
    return re.sub(r"[^A-Za-z0-9.=+]+", "-", text).strip("-")


def _split(settings: Mapping[str, Any], given_as_files: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that change what is learned, and those that change what is tested."""
    learned = {
        key: value
        for key, value in settings.items()
        if key not in OPERATIONAL and key not in EVALUATION and key not in given_as_files
    }
    tested = {key: value for key, value in settings.items() if key in EVALUATION}
    protocol = dict(settings["eval_args"])
    tested["eval_args"] = protocol
    modes = protocol.get("mode")
    learned["eval_args"] = {**protocol, "mode": modes["valid"] if isinstance(modes, dict) else modes}
    return learned, tested


def _canonical(value: Any) -> Any:
    """Plain data in which equal numbers look alike: 0 and 0.0 are one setting."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(_canonical(value), sort_keys=True).encode()).hexdigest()[:12]


# --- runs that stand under other names


def _runs_below(saved: Path, config: Config) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Trained runs of the model and seed, with what their ``settings.yaml`` says."""
    for run_dir in sorted(saved.glob(f"*/{config['model']}-*/seed-{config['seed']}")):
        if is_trained(run_dir):
            about = _stored_settings(run_dir)
            if about.get("model") == config["model"] and about.get("dataset") == config["dataset"]:
                yield run_dir, about


def _stored_settings(run_dir: Path) -> dict[str, Any]:
    path = run_dir / SETTINGS_FILE
    return _read_settings(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _read_settings(path: Path, _modified: int) -> dict[str, Any]:
    return read_yaml(path, remedy=f"remove {path.parent} and run the same command again")


def _evaluation_of(about: Mapping[str, Any]) -> Any:
    return _canonical(_split(about, {})[1])
