"""One run: a model trained with one seed, its run directory completed, and tested; or tested again.

Atomic files -> data set and semantic IDs -> model -> RecBole's training loop -> run directory -> ranked lists ->
RecBole's metrics -> :mod:`recbole_mgr.run.results`. What is done is read back, and what was interrupted goes on.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from recbole.config import Config
from recbole.data import data_preparation
from recbole.utils import ModelType, get_trainer, init_logger, init_seed

from recbole_mgr.cleaners import print_line
from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import read_item_fields, read_item_texts
from recbole_mgr.data.provenance import Provenance
from recbole_mgr.data.semantic_id_file import description_path
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.distributed import processes
from recbole_mgr.distributed.environment import place_on_machine
from recbole_mgr.documents import read_yaml
from recbole_mgr.encoding.description import keep_encoders
from recbole_mgr.files import sweep, write_text
from recbole_mgr.integration.checkpoint import load_weights
from recbole_mgr.integration.collector import Ranking
from recbole_mgr.integration.config import plain_settings
from recbole_mgr.integration.dataset import read_dataset, tokens_of
from recbole_mgr.integration.environment import environment
from recbole_mgr.integration.histories import histories_of
from recbole_mgr.integration.parallel import shares_parameters
from recbole_mgr.integration.registry import is_generative
from recbole_mgr.integration.resume import PROGRESS_FILE
from recbole_mgr.integration.seen_items import mark_seen_items
from recbole_mgr.integration.trackers import Followed, Tracker, make_tracker
from recbole_mgr.integration.trainer import ComparableTrainer, Tested, comparable
from recbole_mgr.integration.user_sample import users_that_steer
from recbole_mgr.integration.validation import require_enough_items
from recbole_mgr.run.id_level import id_level_metrics
from recbole_mgr.run.identity import RunIdentity, about_run, is_trained, result_directory, run_directory
from recbole_mgr.run.results import RunResult
from recbole_mgr.serving.run_directory import export_run, forget_histories, read_run
from recbole_mgr.serving.run_files import ABOUT_FILE, CHECKPOINT_FILE, SETTINGS_FILE, TABLE_FILE
from recbole_mgr.version import __version__

_LONGEST_FIELD = 200  # characters of an item's field that a run directory keeps, to be shown


def tracker_of(config: Config, label: str, provenance: Provenance) -> Tracker:
    """What follows a run, by its settings; nothing is written before the run begins, and by the owner alone."""
    settings, identity = plain_settings(config), RunIdentity.of(config)
    run_dir = run_directory(config, provenance, identity)
    name = "wandb" if settings["log_wandb"] else settings["tracker"]
    folder = result_directory(run_dir, identity).parts[len(run_dir.parts) - 3 :]
    followed = Followed(provenance.label, f"{label}, seed {config['seed']}", folder, settings)
    return make_tracker(name if processes.is_owner() else None, followed)


def run_one(config: Config, label: str, provenance: Provenance, tracker: Tracker | None = None) -> RunResult:
    """Train and test one model with one seed, or do what of it is not done yet, or read back what was done before.

    Args:
        config: validated settings.
        label: the row's name in tables.
        provenance: of the data.
        tracker: that follows the run; by default that of :func:`tracker_of`. It hears nothing of a run that was
            finished before.

    Returns:
        Metrics, ranked lists and costs of the run, as stored in its run directory; the same in every process.
    """
    identity = RunIdentity.of(config)
    run_dir = processes.on_owner(lambda: run_directory(config, provenance, identity))
    folder = processes.on_owner(lambda: result_directory(run_dir, identity))
    if processes.on_owner(lambda: RunResult.exists(folder)):
        print_line(f"{label}, seed {config['seed']}: finished before, read from {folder}")
        return processes.on_owner(lambda: _read_back(config, label, run_dir, folder))
    with processes.owned(run_dir):
        followed = tracker or tracker_of(config, label, provenance)
        return _begun(config, label, provenance, identity, run_dir, followed).result(folder)


def _read_back(config: Config, label: str, run_dir: Path, folder: Path) -> RunResult:
    if not config["keep_histories"]:
        forget_histories(run_dir)
    return dataclasses.replace(RunResult.load(folder, run_dir), label=label)


def _begun(
    config: Config, label: str, provenance: Provenance, identity: RunIdentity, run_dir: Path, tracker: Tracker
) -> _Work:
    """The work on a run, in a folder that was cleared of what a killed command left and says what it will hold."""
    processes.on_owner(lambda: sweep(run_dir))
    if is_trained(run_dir):
        print_line(f"{label}, seed {config['seed']}: trained before, tested anew from {run_dir}")
    work = _Work(config, label, provenance, run_dir, tracker)
    # the folder begins when the data have been read, and nothing is left of a refusal
    processes.on_owner(lambda: _describe(config, provenance, identity, run_dir))
    return work


def _describe(config: Config, provenance: Provenance, identity: RunIdentity, run_dir: Path) -> None:
    if not is_trained(run_dir):
        about = about_run(config, provenance, identity, __version__)
        write_text(run_dir / SETTINGS_FILE, yaml.safe_dump(about, sort_keys=False))


def train_one(config: Config, label: str, provenance: Provenance) -> dict[str, Any]:
    """Train one model with one seed and complete its run directory, without a test, where that is not done yet.

    Args:
        config, label, provenance: as of :func:`run_one`, which tests afterwards what was trained here.

    Returns:
        What the training tells of itself: ``valid`` (metrics of the best epoch), ``epochs``, ``seconds``, ...
    """
    identity = RunIdentity.of(config)
    run_dir = processes.on_owner(lambda: run_directory(config, provenance, identity))
    if processes.on_owner(lambda: is_trained(run_dir)):
        return processes.on_owner(lambda: _trained_before(run_dir))
    with processes.owned(run_dir):
        nobody = Tracker(Followed(provenance.label, label, run_dir.parts[-3:], {}))  # follows what is not tested
        return _begun(config, label, provenance, identity, run_dir, nobody).trained()


def test_again(config: Config, label: str, provenance: Provenance, run_dir: Path) -> RunResult:
    """Test a trained run by the settings of ``config``, whatever was tested before, and complete its folder anew."""
    folder = result_directory(run_dir, RunIdentity.of(config))
    with processes.owned(run_dir):
        processes.on_owner(lambda: sweep(run_dir))
        return _Work(config, label, provenance, run_dir, tracker_of(config, label, provenance)).result(folder)


class _Work:
    """Data, model and trainer of a run, from the settings to the result."""

    def __init__(self, config: Config, label: str, provenance: Provenance, run_dir: Path, tracker: Tracker) -> None:
        self.config, self.label, self.provenance, self.run_dir = config, label, provenance, run_dir
        self.tracker = tracker
        _start_logging(config)
        logging.getLogger().info(
            f"{label} on {provenance.label}, data {provenance.fingerprint}, run directory {run_dir}"
        )
        _set_threads(config["num_threads"])
        init_seed(config["seed"], config["reproducibility"])
        with processes.owner_first():  # who builds what is cached: the histories and the semantic IDs
            self.dataset = read_dataset(config)
            if is_generative(config["model"]):
                self.dataset.read_initial_run(read_run)
            require_enough_items(config["topk"], self.dataset.item_num - 1)
            self.histories = histories_of(self.dataset)
            if processes.is_owner():
                self._read_items()
            self.train_data, self.valid_data, self.test_data = data_preparation(config, self.dataset)
            config["valid_users"] = users_that_steer(config["valid_users"], self.valid_data)
        for part, data in (("validate on", self.valid_data), ("test", self.test_data)):
            if not len(data._dataset):
                raise ValueError(
                    f"{config['dataset']}: the split {config['eval_args']['split']} leaves no interaction to {part}; "
                    "where users have fewer than 3 interactions each, leave-one-out has none: get more of them"
                )
        if not hasattr(self.test_data._dataset, "seen_items"):  # of RecBole's models
            mark_seen_items(self.histories, self.valid_data._dataset, self.test_data._dataset)
        init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
        self.tracker.begin()
        self.model = config.model_class(config, self.train_data._dataset)
        if not shares_parameters(config):  # else the trainer deals them out; a GPU may be too small for all
            self.model.to(config["device"])
        self.trainer: ComparableTrainer = comparable(get_trainer(config["MODEL_TYPE"], config["model"]))(
            config, self.model
        )
        self.trainer.use_run_dir(run_dir)
        self.trainer.follow(tracker)

    def trained(self) -> dict[str, Any]:
        """Train where that is not done, and complete the run directory."""
        trained = _trained_before(self.run_dir) if is_trained(self.run_dir) else self._train()
        processes.on_owner(lambda: self._export(trained))
        return trained

    def _read_items(self) -> None:
        """What the run directory will say of the items, read before the training, so that a malformed file is told in
        time."""
        config, tokens = self.config, tokens_of(self.dataset, self.dataset.iid_field)
        items = Path(config["data_path"]) / f"{config['dataset']}.item", tokens, AtomicFormat.of(config)
        self.item_texts = read_item_texts(*items)
        self.item_fields = read_item_fields(*items, longest=_LONGEST_FIELD)

    def result(self, folder: Path) -> RunResult:
        """Train where that is not done, complete the run directory, test, and keep the result in ``folder``."""
        trained = self.trained()
        config, trainer = self.config, self.trainer
        # a test that draws candidates draws the same ones whether training went before it or not
        init_seed(config["seed"] + config["local_rank"], config["reproducibility"])
        started = time.perf_counter()
        tested = self._test()
        seconds = time.perf_counter() - started
        tasks = trainer.evaluate_tasks(self.test_data, show_progress=config["show_progress"])
        return processes.on_owner(lambda: self._keep(folder, trained, tested, seconds, tasks))

    def _keep(
        self,
        folder: Path,
        trained: dict[str, Any],
        tested: tuple[Tested, Tested],
        seconds: float,
        tasks: list[dict[str, Any]],
    ) -> RunResult:
        (test, test_masked), config, id_level = tested, self.config, {}
        if is_generative(config["model"]) and self.trainer.recommends:
            id_level = id_level_metrics(test.ranking, self.model.semantic_ids, config["topk"])
        result = RunResult(
            data=self.provenance.label,
            label=self.label,
            model=config["model"],
            seed=config["seed"],
            valid=trained["valid"],
            test=test.metrics,
            test_masked=test_masked.metrics,
            id_level=id_level,
            ranks=test.ranking.ranks,
            ranks_masked=test_masked.ranking.ranks,
            users=self.dataset.id2token(self.dataset.uid_field, test.ranking.users).astype(str),
            targets=self.dataset.id2token(self.dataset.iid_field, test.ranking.targets).astype(str),
            num_items=self.dataset.item_num - 1,
            epochs=trained["epochs"],
            train_seconds=trained["seconds"],
            test_seconds=seconds,
            parameters=trained["parameters"],
            alignment=trained["alignment"],
            settings=plain_settings(config),
            environment=environment(config["device"]),
            tasks=tasks,
            notes=trained["notes"] + (self.model.notes if is_generative(config["model"]) else []),
            repeated=test.ranking.repeated,
            semantic_ids=self._semantic_id_facts(),
        )
        result.save(folder, self.run_dir)
        self.tracker.finish(*self._told_at_the_end(result))
        return result

    def _told_at_the_end(self, result: RunResult) -> tuple[dict[str, float], list[Path]]:
        """What a tracker hears of the whole run: its metrics and costs, its settings and the report on semantic IDs."""
        parts = {"best_valid": result.valid, "test": result.test, "test_masked": result.test_masked}
        parts["id_level"] = result.id_level
        parts["semantic_ids"] = {key: float(value) for key, value in result.semantic_ids.items()}
        parts["cost"] = {"train_seconds": result.train_seconds, "test_seconds": result.test_seconds}
        metrics = {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}
        files = [self.run_dir / SETTINGS_FILE, description_path(self.run_dir / TABLE_FILE)]
        return metrics, [path for path in files if path.is_file()]

    def _train(self) -> dict[str, Any]:
        """Train, from where an interrupted training was; what it tells of itself as plain data."""
        trainer = self.trainer
        _, best_valid = trainer.fit(
            self.train_data, self.valid_data, saved=True, show_progress=self.config["show_progress"]
        )
        return {
            "valid": {key: float(value) for key, value in (best_valid or {}).items()},
            "epochs": trainer.epochs_run,
            "seconds": trainer.train_seconds,
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "alignment": dict(trainer.alignment.accuracy) if getattr(trainer, "alignment", None) else {},
            "notes": list(trainer.notes),
        }

    def _export(self, trained: dict[str, Any]) -> None:
        """Complete the run directory with the weights that validated best."""
        network = self.model
        if self.trainer.shares_parameters:  # of which the owner has a part
            network = self.config.model_class(self.config, self.train_data._dataset)
        load_weights(network, self.run_dir / CHECKPOINT_FILE, self.trainer.loads_to)
        network.eval()
        tokenizer = getattr(self.dataset, "item_tokenizer", None)
        if tokenizer is not None:  # so that items to come can be encoded as these were
            keep_encoders(Path(self.config["data_path"]), self.config["dataset"], tokenizer.modalities, self.run_dir)
        keeps = self.config["keep_histories"]
        histories = UserHistories.of_all(self.histories) if keeps else None
        knows_users = self.config["MODEL_TYPE"] != ModelType.SEQUENTIAL  # and is built from what they took in training
        export_run(
            self.run_dir,
            network=network,
            tokenizer=tokenizer,
            item_vectors=getattr(self.dataset, "item_vectors", None),
            item_tokens=tokens_of(self.dataset, self.dataset.iid_field),
            item_texts=self.item_texts,
            item_fields=self.item_fields,
            num_users=self.dataset.user_num - 1,
            histories=histories,
            provenance=self.provenance,
            trained=trained,
            training_pairs=self._pairs(self.train_data._dataset.inter_feat) if keeps and knows_users else None,
        )
        (self.run_dir / PROGRESS_FILE).unlink(missing_ok=True)

    def _semantic_id_facts(self) -> dict[str, Any]:
        """What a table says of a row's semantic IDs; nothing of a model without."""
        if not is_generative(self.config["model"]):
            return {}
        report = self.model.semantic_id_report
        digits = report["digits"]
        return {
            "colliding": report["collisions"]["whole"]["share"],
            "used": sum(digit["used"] for digit in digits) / sum(digit["size"] for digit in digits),
            "user_supplied": bool(self.config["semantic_ids"]),
        }

    def _test(self) -> tuple[Tested, Tested]:
        """The test of recommendation with seen items ranked and with them kept out; empty where the model learned other
        tasks alone."""
        if not self.trainer.recommends:
            nobody = np.empty(0, dtype=np.int64)
            return (Tested({}, Ranking(nobody, nobody, nobody.reshape(0, 1), nobody.astype(bool))),) * 2
        return self.trainer.test(self.test_data, load_best_model=True, show_progress=self.config["show_progress"])

    def _pairs(self, interactions: Any) -> np.ndarray:
        """Internal user and item ids int64 [n, 2]."""
        columns = (interactions[field] for field in (self.dataset.uid_field, self.dataset.iid_field))
        return np.stack([np.asarray(column, dtype=np.int64) for column in columns], axis=1)


def _trained_before(run_dir: Path) -> dict[str, Any]:
    """What a training that ended before told of itself: ``run.yaml`` knows, of a run of 0.1 its result."""
    about = run_dir / ABOUT_FILE
    if about.is_file():
        remedy = f"remove it and run recbole-mgr evaluate {run_dir}"
        trained = read_yaml(about, remedy=remedy).get("trained")
        if trained:
            return trained
    before = RunResult.load(run_dir)
    return {
        "valid": before.valid,
        "epochs": before.epochs,
        "seconds": before.train_seconds,
        "parameters": before.parameters,
        "alignment": before.alignment,
        "notes": before.notes,
    }


def _start_logging(config: Config) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:  # one log file per run
        root.removeHandler(handler)
        handler.close()
    if processes.is_owner():
        init_logger(config)
    else:
        root.addHandler(logging.NullHandler())


def _set_threads(count: int | None) -> None:
    """Those of the setting, or all cores up to 8, from where on small models lose time to more; several processes of a
    machine share its cores."""
    _, neighbours = place_on_machine()
    cores = torch.get_num_threads() if neighbours == 1 else _cores() // neighbours
    torch.set_num_threads(count or max(1, min(cores, 8)))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
