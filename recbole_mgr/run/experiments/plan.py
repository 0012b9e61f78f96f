"""The runs that an experiment asks for: settings checked before the first one starts, and which are done."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from recbole.config import Config

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.data.semantic_id_file import coded_modalities
from recbole_mgr.files import PROPERTIES
from recbole_mgr.integration.config import (
    known_keys,
    make_config,
    read_config_files,
    refuse_unknown_keys,
    settings_read,
)
from recbole_mgr.integration.registry import is_generative
from recbole_mgr.integration.trackers import Tracker
from recbole_mgr.run.experiments.definition import BOTH, ONCE, PER_SEED, Experiment, Row
from recbole_mgr.run.floors import floor_configs
from recbole_mgr.run.identity import RunIdentity, result_directory, run_directory, shared_data, slug
from recbole_mgr.run.one_run import run_one, tracker_of
from recbole_mgr.run.results import RunResult


class PlannedRun(NamedTuple):
    """One row with one seed.

    Attributes:
        row, seed: what is run.
        quantizer: ``once`` or ``per_seed``: whether the semantic IDs are those of all seeds or of this one alone.
        config: validated settings.
        run_dir: where it is trained.
        identity: what tells it from others, its evaluation included.
    """

    row: Row
    seed: int
    quantizer: str
    config: Config
    run_dir: Path
    identity: RunIdentity

    @property
    def result_dir(self) -> Path:
        """Where its result stands when it is done; rows that differ in beams alone share their training."""
        return result_directory(self.run_dir, self.identity)

    @property
    def title(self) -> str:
        own = ", a quantiser of its own" if self.quantizer == PER_SEED else ""
        return f"{self.row.label}, seed {self.seed}{own}"

    @property
    def done(self) -> bool:
        return RunResult.exists(self.result_dir)

    @property
    def builds_semantic_ids(self) -> bool:
        """Whether a quantiser makes its IDs, or those of a modality that the user-supplied file lacks."""
        if not is_generative(self.row.model) or not self.config["semantic_ids"]:
            return is_generative(self.row.model)
        modalities = self.config["modalities"]
        if self.config.model_class.fusion != "late":
            return False
        return coded_modalities(Path(self.config["semantic_ids"]), modalities) != modalities

    def run(self, provenance: Provenance) -> Tracker:
        """Train and test, or go on where it was interrupted; leaves the result in `result_dir`.

        Returns:
            What followed the run, under the row's label.
        """
        tracker = tracker_of(self.config, self.row.label, provenance)
        # named by the model and its settings, not by the label, so that tables share runs
        run_one(self.config, self.row.model, provenance, tracker)
        return tracker

    def result(self) -> RunResult:
        """What was measured, under the row's label."""
        return dataclasses.replace(RunResult.load(self.result_dir, self.run_dir), label=self.row.label)


class Plan(NamedTuple):
    """All runs of an experiment on one data set.

    Attributes:
        experiment, provenance: what, and on which data.
        given: settings of the command line.
        runs: those of the table, seed by seed, so that a whole table of few seeds is there early.
        variance_runs: with ``retrain_quantizer: both`` the runs whose seed retrains the quantiser too.
        floors: the table's floors, with the first seed; they are no rows of the experiment.
    """

    experiment: Experiment
    provenance: Provenance
    given: dict[str, Any]
    runs: list[PlannedRun]
    variance_runs: list[PlannedRun]
    floors: list[PlannedRun]

    @property
    def all_runs(self) -> list[PlannedRun]:
        return self.runs + self.variance_runs

    @property
    def folder_name(self) -> str:
        """Of the table: other data or settings give another one."""
        runs = "\n".join(
            f"{run.identity.training_digest} {run.identity.evaluation_digest} {run.seed}" for run in self.all_runs
        )
        digest = hashlib.sha256(runs.encode()).hexdigest()[:8]
        return f"{self.experiment.name}-{slug(self.provenance.label)}-{self.provenance.fingerprint}-{digest}"


def make_plan(experiment: Experiment, given: dict[str, Any], *, keeps: bool = True) -> Plan:
    """Check an experiment's settings and data, and lay out its runs.

    Args:
        experiment: what is asked for.
        given: parsed settings of the command line; they hold for every row that knows them.
        keeps: as of `shared_data`.

    Raises:
        ValueError: For settings that are unknown or contradict each other, for two rows that come out the same, and
            for bad data.
    """
    keys = set().union(*(known_keys(row.model) for row in experiment.rows))
    for settings in (experiment.settings, given):
        refuse_unknown_keys(settings, keys, f"any row of {experiment.name}")
    for key in ("seed", "semantic_id_seed"):
        if key in given:
            raise ValueError(f"--{key}: an experiment has its seeds in its file; choose among them with --seeds")
    main_policy = PER_SEED if experiment.retrain_quantizer == PER_SEED else ONCE
    configs = [_config(experiment, row, given, experiment.seeds[0], ONCE, []) for row in experiment.rows]
    by_name = {_name(experiment, row): config for row, config in zip(experiment.rows, configs, strict=True)}
    provenance, dropped = shared_data(by_name, experiment.dataset, keeps=keeps)

    def planned(row: Row, seed: int, quantizer: str) -> PlannedRun:
        config = _config(experiment, row, given, seed, quantizer, dropped)
        return _planned(row, seed, quantizer, config, provenance)

    runs = [planned(row, seed, main_policy) for seed in experiment.seeds for row in experiment.rows]
    _refuse_equal_rows(runs[: len(experiment.rows)])
    variance_runs = []
    if experiment.retrain_quantizer == BOTH:
        builders = [run.row for run in runs[: len(experiment.rows)] if run.builds_semantic_ids]
        variance_runs = [planned(row, seed, PER_SEED) for seed in experiment.seeds for row in builders]
    shared = {**experiment.settings, **experiment.rows[0].settings, **given, "seed": experiment.seeds[0]}
    if dropped:
        shared["drop_items_without"] = dropped
    floors = [
        _planned(Row(name, name, {}), shared["seed"], ONCE, config, provenance)
        for name, config in floor_configs(configs, shared).items()
    ]
    return Plan(experiment, provenance, given, runs, variance_runs, floors)


def _planned(row: Row, seed: int, quantizer: str, config: Config, provenance: Provenance) -> PlannedRun:
    identity = RunIdentity.of(config)
    return PlannedRun(row, seed, quantizer, config, run_directory(config, provenance, identity), identity)


def _config(
    experiment: Experiment, row: Row, given: dict[str, Any], seed: int, quantizer: str, dropped: list[str]
) -> Config:
    shared, asked = (settings_read(row.model, part) for part in (experiment.settings, given))
    settings = {**shared, **row.settings, **asked, "seed": seed}
    if is_generative(row.model) and quantizer == PER_SEED:
        settings["semantic_id_seed"] = seed
    if dropped:
        settings["drop_items_without"] = dropped
    data_path = given.get("data_path", experiment.settings.get("data_path")) or _default_data_path()
    for key, value in settings.items():
        if isinstance(value, str):
            settings[key] = value.replace("{data_path}", str(data_path).rstrip("/"))
    try:
        return make_config(row.model, experiment.dataset, [], settings)
    except ValueError as error:
        raise ValueError(f"{_name(experiment, row)}: {error}") from error


def _name(experiment: Experiment, row: Row) -> str:
    return f"{experiment.name}, row {row.label!r}"


def _default_data_path() -> str:
    return read_config_files([str(PROPERTIES / "overall.yaml")])["data_path"]


def _refuse_equal_rows(runs: list[PlannedRun]) -> None:
    labels: dict[tuple[str, str], str] = {}
    for run in runs:
        digests = run.identity.training_digest, run.identity.evaluation_digest
        if digests in labels:
            raise ValueError(
                f"rows {labels[digests]!r} and {run.row.label!r} have the same settings; let them differ, or leave "
                "out the setting of the command line that makes them equal"
            )
        labels[digests] = run.row.label
