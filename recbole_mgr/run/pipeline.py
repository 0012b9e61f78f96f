"""The pipeline: several models on one split, trained, tested and put into one table.

Atomic files -> data set and semantic IDs -> model -> RecBole's training loop -> ranked lists -> RecBole's metrics
-> :mod:`recbole_mgr.run.results`, :mod:`recbole_mgr.run.comparison`. A finished run is read back, an unfinished one
resumed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_logger, init_seed

from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.interactions import check_interactions
from recbole_mgr.data.item_file import read_item_texts
from recbole_mgr.data.provenance import Provenance, read_provenance
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.encoding.description import keep_encoders
from recbole_mgr.files import content_digest, write_text
from recbole_mgr.integration.collector import Ranking
from recbole_mgr.integration.config import (
    known_keys,
    make_config,
    plain_settings,
    read_config_files,
    refuse_unknown_keys,
)
from recbole_mgr.integration.dataset import tokens_of
from recbole_mgr.integration.environment import environment
from recbole_mgr.integration.registry import OURS, is_generative
from recbole_mgr.integration.seen_items import mark_seen_items
from recbole_mgr.integration.trainer import ComparableTrainer, comparable
from recbole_mgr.integration.validation import require_enough_items
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.id_level import id_level_metrics
from recbole_mgr.run.results import RunResult
from recbole_mgr.serving.run_directory import export_run, forget_histories
from recbole_mgr.version import __version__

# Settings that change where, how loudly or how fast a run goes, not what it computes.
OPERATIONAL = frozenset(
    "seed gpu_id use_gpu device state show_progress checkpoint_dir data_path worker local_rank single_spec "
    "num_threads log_wandb wandb_project eval_batch_size config_files save_dataset save_dataloaders "
    "dataset_save_path dataloaders_save_path keep_histories".split()
)


class ModelRequest(NamedTuple):
    """One row of a table: a model and its own settings, e.g. ``TIGER`` with ``modalities: text``."""

    name: str
    settings: dict[str, Any]

    @property
    def label(self) -> str:
        own = ", ".join(f"{key}={_short(value)}" for key, value in self.settings.items())
        return f"{self.name} ({own})" if own else self.name


def run_comparison(
    requests: list[ModelRequest],
    dataset: str,
    *,
    config_files: list[str] | None = None,
    settings: dict[str, Any] | None = None,
    seeds: list[int] | None = None,
) -> Comparison:
    """Train and test each model with each seed on one data set and split.

    Args:
        requests: the rows of the table.
        dataset: data set name.
        config_files: YAML files for all models.
        settings: parsed settings for all models that know the key; a model's own win.
        seeds: random seeds; default: the setting ``seed``.

    Returns:
        The comparison; its files stand under ``results/``.

    Raises:
        ValueError: For unknown settings, bad data, a row or seed given twice, or models that were tested on
            different targets.
    """
    settings = {**read_config_files(config_files or []), **(settings or {})}
    # a setting for all models may be meaningless to some, never to every one of them
    known = set().union(*(known_keys(request.name) for request in requests))
    refuse_unknown_keys(settings, known, "any of " + ", ".join(request.name for request in requests))
    _refuse_repeated("--model", [request.label for request in requests])
    _refuse_repeated("--seeds", seeds or [])
    configs = [_config(request, dataset, settings) for request in requests]
    if len({config["data_path"] for config in configs}) > 1:
        raise ValueError("data_path: all models of a table read the same files; give it as --data_path")
    # one table ranks one set of items: what one row drops, all drop
    dropped = sorted({modality for config in configs for modality in config["drop_items_without"] or []})
    provenance = checked_provenance(configs[0], dataset)
    results = []
    for request, config in zip(requests, configs, strict=True):
        for seed in seeds or [config["seed"]]:
            own = {**request.settings, "seed": seed}
            if dropped:
                own["drop_items_without"] = dropped
            row = _config(request._replace(settings=own), dataset, settings)
            results.append(run_one(row, request.label, provenance))
    comparison = Comparison(provenance, results)
    comparison.check_same_targets()
    return comparison


def run_one(config: Config, label: str, provenance: Provenance) -> RunResult:
    """Train and test one model with one seed, or read back what was done before.

    Args:
        config: validated settings.
        label: the row's name in tables.
        provenance: of the data.

    Returns:
        Metrics, ranked lists and costs of the run, as stored in its run directory.
    """
    run_dir = run_directory(config, label, provenance)
    if RunResult.exists(run_dir):
        print(f"{label}, seed {config['seed']}: finished before, read from {run_dir}", flush=True)
        if is_generative(config["model"]) and not config["keep_histories"]:
            forget_histories(run_dir)
        return RunResult.load(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    about = {"data": provenance.label, "data_fingerprint": provenance.fingerprint, "recbole_mgr": __version__}
    write_text(run_dir / "settings.yaml", yaml.safe_dump({**about, **plain_settings(config)}, sort_keys=False))
    _start_logging(config)
    logging.getLogger().info(f"{label} on {provenance.label}, data {provenance.fingerprint}, run directory {run_dir}")
    _set_threads(config["num_threads"])

    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    require_enough_items(config["topk"], dataset.item_num - 1)
    pairs = dataset.inter_feat[[dataset.uid_field, dataset.iid_field]].to_numpy(dtype=np.int64)
    # read now, so that a malformed file is told before the training and not after it
    item_file = Path(config["data_path"]) / f"{config['dataset']}.item"
    item_texts = read_item_texts(item_file, tokens_of(dataset, dataset.iid_field), AtomicFormat.of(config))
    train_data, valid_data, test_data = data_preparation(config, dataset)
    mark_seen_items(pairs, valid_data._dataset, test_data._dataset)
    init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
    model = config.model_class(config, train_data._dataset).to(config["device"])
    trainer = comparable(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
    trainer.use_run_dir(run_dir)

    show_progress = config["show_progress"]
    _, best_valid = trainer.fit(train_data, valid_data, saved=True, show_progress=show_progress)
    test, test_masked = (_test(trainer, test_data, masked=masked) for masked in (False, True))
    tasks = trainer.evaluate_tasks(test_data, show_progress=show_progress)

    id_level = {}
    if is_generative(config["model"]):
        if trainer.recommends:
            id_level = id_level_metrics(test.ranking, model.semantic_ids, config["topk"])
        user_tokens = tokens_of(dataset, dataset.uid_field)
        if dataset.item_tokenizer:  # so that items to come can be encoded as these were
            folder, modalities = Path(config["data_path"]), dataset.item_tokenizer.modalities
            keep_encoders(folder, config["dataset"], modalities, run_dir)
        export_run(
            run_dir,
            network=model,
            tokenizer=dataset.item_tokenizer,
            item_texts=item_texts,
            histories=UserHistories.of(pairs, user_tokens) if config["keep_histories"] else None,
            provenance=provenance,
        )
    result = RunResult(
        data=provenance.label,
        label=label,
        model=config["model"],
        seed=config["seed"],
        valid=dict(best_valid or {}),
        test=test.metrics,
        test_masked=test_masked.metrics,
        id_level=id_level,
        ranks=test.ranking.ranks,
        ranks_masked=test_masked.ranking.ranks,
        users=dataset.id2token(dataset.uid_field, test.ranking.users).astype(str),
        targets=dataset.id2token(dataset.iid_field, test.ranking.targets).astype(str),
        num_items=dataset.item_num - 1,
        epochs=trainer.epochs_run,
        train_seconds=trainer.train_seconds,
        test_seconds=test.seconds,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        alignment=dict(trainer.alignment.accuracy) if getattr(trainer, "alignment", None) else {},
        settings=plain_settings(config),
        environment=environment(config["device"]),
        tasks=tasks,
        notes=trainer.notes,
        repeated=test.ranking.repeated,
        semantic_ids=_semantic_id_facts(config, model),
    )
    result.save(run_dir)
    return result


def _semantic_id_facts(config: Config, model) -> dict[str, Any]:
    """What a table says of a row's semantic IDs; nothing of a model without."""
    if not is_generative(config["model"]):
        return {}
    report = model.semantic_id_report
    digits = report["digits"]
    return {
        "colliding": report["collisions"]["whole"]["share"],
        "used": sum(digit["used"] for digit in digits) / sum(digit["size"] for digit in digits),
        "user_supplied": bool(config["semantic_ids"]),
    }


class _Test(NamedTuple):
    metrics: dict[str, float]
    ranking: Ranking
    seconds: float


def _test(trainer: ComparableTrainer, test_data, *, masked: bool) -> _Test:
    """RecBole's test of recommendation; empty where the model learned other tasks alone."""
    if not trainer.recommends:
        nobody = np.empty(0, dtype=np.int64)
        return _Test({}, Ranking(nobody, nobody, nobody.reshape(0, 1), nobody.astype(bool)), 0.0)
    trainer.mask_history = masked
    started = time.perf_counter()
    metrics = trainer.evaluate(test_data, load_best_model=True, show_progress=trainer.config["show_progress"])
    seconds = time.perf_counter() - started
    return _Test({key: float(value) for key, value in metrics.items()}, trainer.eval_collector.ranking, seconds)


def _config(request: ModelRequest, dataset: str, settings: dict[str, Any]) -> Config:
    known = known_keys(request.name)
    shared = {key: value for key, value in settings.items() if key in known}
    return make_config(request.name, dataset, [], {**shared, **request.settings})


def _refuse_repeated(option: str, values: list) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{option}: {value} is given twice; one table has each model and seed once")


def checked_provenance(config: Config, dataset: str) -> Provenance:
    """Label, origin and fingerprint of a data set; raises ValueError where its interactions are not fit to be read."""
    folder = Path(config["data_path"])
    check_interactions(folder / f"{dataset}.inter", AtomicFormat.of(config))
    return read_provenance(folder, dataset)


def run_directory(config: Config, label: str, provenance: Provenance) -> Path:
    """Where a run belongs: named by the content of its data, its settings and its seed."""
    settings = {key: value for key, value in plain_settings(config).items() if key not in OPERATIONAL}
    if config["model"] in OURS:  # other content under the same name is another run
        files = config.model_class.files_read(config.final_config_dict)
        settings |= {key: content_digest(path) for key, path in files.items()}
    identity = json.dumps([__version__, settings], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return (
        Path(config["checkpoint_dir"])
        / f"{slug(provenance.label)}-{provenance.fingerprint}"
        / f"{slug(label)}-{digest}"
        / f"seed-{config['seed']}"
    )


def slug(text: str) -> str:
    """``text`` as a file name."""
    return re.sub(r"[^A-Za-z0-9.=+]+", "-", text).strip("-")


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _start_logging(config: Config) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:  # one log file per run
        root.removeHandler(handler)
        handler.close()
    init_logger(config)


def _set_threads(count: int | None) -> None:
    # small models lose time to more threads than this
    torch.set_num_threads(count or min(torch.get_num_threads(), 8))
