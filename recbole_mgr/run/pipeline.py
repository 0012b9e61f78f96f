"""A comparison: several models on one data set and split, each trained and tested, put into one table."""

from __future__ import annotations

from typing import Any, NamedTuple

from recbole.config import Config

from recbole_mgr.integration.config import (
    known_keys,
    make_config,
    read_config_files,
    refuse_unknown_keys,
    settings_read,
)
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.floors import floor_configs
from recbole_mgr.run.identity import RunIdentity, result_directory, run_directory, shared_data
from recbole_mgr.run.one_run import run_one, tracker_of
from recbole_mgr.run.table_page import markdown


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
    """Train and test each model with each seed on one data set and split, and the table's floors with the first seed.

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
    by_label = {request.label: config for request, config in zip(requests, configs, strict=True)}
    provenance, dropped = shared_data(by_label, dataset)
    shared = {**settings, **requests[0].settings, "seed": (seeds or [configs[0]["seed"]])[0]}
    if dropped:
        shared["drop_items_without"] = dropped
    results, trackers, rows = [], [], []
    for request, config in zip(requests, configs, strict=True):
        for seed in seeds or [config["seed"]]:
            own = {**request.settings, "seed": seed}
            if dropped:
                own["drop_items_without"] = dropped
            row = _config(request._replace(settings=own), dataset, settings)
            trackers.append(tracker_of(row, request.label, provenance))
            results.append(run_one(row, request.label, provenance, trackers[-1]))
            rows.append(row)
    Comparison(provenance, results).check_same_targets()  # where rows do not agree, that is told, and not of a floor
    floor_rows = floor_configs(configs, shared)  # last, so that a refused row leaves nothing behind
    floors = [run_one(config, name, provenance) for name, config in floor_rows.items()]
    folders = [
        result_directory(run_directory(row, provenance), RunIdentity.of(row)) for row in (*floor_rows.values(), *rows)
    ]
    comparison = Comparison(provenance, floors + results, folders)
    comparison.check_same_targets()
    for tracker in trackers:
        if tracker.has_begun:
            tracker.attach("table.md", markdown(comparison))
    return comparison


def _config(request: ModelRequest, dataset: str, settings: dict[str, Any]) -> Config:
    return make_config(request.name, dataset, [], {**settings_read(request.name, settings), **request.settings})


def _refuse_repeated(option: str, values: list) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{option}: {value} is given twice; one table has each model and seed once")


def _short(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
