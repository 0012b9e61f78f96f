"""A search for good settings: Optuna proposes, each trial is a run judged on validation, the best is tested.

Trials stand in a journal, a file that the processes of a command append to; a killed search goes on from it, with the
trial that was interrupted, which resumes like any run.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from recbole.config import Config

from recbole_mgr.cleaners import print_line
from recbole_mgr.data.provenance import Provenance
from recbole_mgr.distributed import processes
from recbole_mgr.files import write_text
from recbole_mgr.integration.config import known_keys, make_config, read_config_files, refuse_unknown_keys
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.identity import checked_provenance, require_files, slug
from recbole_mgr.run.one_run import train_one
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

_KEYS = ("title", "dataset", "model", "settings", "search", "trials", "sampler", "seed")
_SAMPLERS = ("tpe", "random")
_RANGE_KEYS = ("low", "high", "log", "step")
_REFUSED = "refused"  # an attribute of trials whose settings do not go together: why


class Range(NamedTuple):
    """Numbers from ``low`` to ``high``, whole ones where both are, and ``step`` is; ``log`` draws their logarithm
    evenly."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def is_whole(self) -> bool:
        return all(type(number) is int for number in (self.low, self.high, self.step or 1))


class Search(NamedTuple):
    """A search as its file says it.

    Attributes:
        name: of its file.
        title: of what it prints.
        dataset, model: what is trained.
        settings: of every trial.
        space: key -> its choices, or a `Range`.
        trials: how many.
        sampler: ``tpe`` (tree-structured Parzen estimators) or ``random``.
        seed: of the sampler.
    """

    name: str
    title: str
    dataset: str
    model: str
    settings: dict[str, Any]
    space: dict[str, list[Any] | Range]
    trials: int
    sampler: str
    seed: int


def read_search(path: Path) -> Search:
    """Read the file of a search.

    Raises:
        ValueError: Naming the file, the key and the remedy.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; give the path of a .yaml file")
    content = read_config_files([str(path)])
    unknown = [key for key in content if key not in _KEYS]
    missing = [key for key in ("dataset", "model", "search", "trials") if content.get(key) is None]
    if unknown or missing:
        problem = f"unknown key {unknown[0]!r}" if unknown else f"key {missing[0]!r} is missing"
        raise ValueError(f"{path}: {problem}; the keys are {', '.join(_KEYS)}")
    for key in ("search", "settings"):
        if not isinstance(content.get(key) or {}, dict):
            raise ValueError(f"{path}: {key}: must be 'key: value' lines, found {content[key]!r}")
    for key, least in (("trials", 1), ("seed", 0)):
        value = content.get(key, least)
        if type(value) is not int or value < least:
            raise ValueError(f"{path}: {key}: {value!r} must be a whole number >= {least}")
    sampler = content.get("sampler", "tpe")
    if sampler not in _SAMPLERS:
        raise ValueError(f"{path}: sampler: {sampler!r} must be one of {', '.join(_SAMPLERS)}")
    space = {key: _values(f"{path}: search: {key}", entry) for key, entry in content["search"].items()}
    settings = dict(content.get("settings") or {})
    if both := [key for key in space if key in settings]:
        raise ValueError(f"{path}: {both[0]} stands under settings and search; leave it out of one")
    model = str(content["model"])
    refuse_unknown_keys(settings | space, known_keys(model), f"model {model}")
    return Search(
        name=path.stem,
        title=str(content.get("title", path.stem)),
        dataset=str(content["dataset"]),
        model=model,
        settings=settings,
        space=space,
        trials=content["trials"],
        sampler=sampler,
        seed=content.get("seed", 0),
    )


def _values(where: str, entry: Any) -> list[Any] | Range:
    if isinstance(entry, list) and entry:
        return entry
    expected = "a list of choices, or low and high (and log: true, or step)"
    if not isinstance(entry, dict) or not {"low", "high"} <= set(entry) <= set(_RANGE_KEYS):
        raise ValueError(f"{where}: {entry!r} must be {expected}")
    numbers = [entry[key] for key in ("low", "high", "step") if entry.get(key) is not None]
    if any(type(number) not in (int, float) for number in numbers) or entry["low"] >= entry["high"]:
        raise ValueError(f"{where}: {entry!r} must be numbers, low below high")
    if entry.get("log") and (entry["low"] <= 0 or entry.get("step") is not None):
        raise ValueError(f"{where}: {entry!r}: log wants low above 0, and no step")
    if entry.get("step") is not None and entry["step"] <= 0:
        raise ValueError(f"{where}: {entry!r}: step must be above 0")
    return Range(**entry)


def tune(search: Search, given: dict[str, Any], results: Path) -> tuple[Path, Comparison]:
    """Do the trials that are not done, and test the best on validation.

    Several processes take a trial each at a time.

    Args:
        search: what is asked for.
        given: settings of the command line, of every trial.
        results: folder of tables.

    Returns:
        The search's folder below ``results``, with ``trials.tsv`` and ``best.yaml``; and the table of the best alone.

    Raises:
        ValueError: For bad settings or data, or where no trial came to a value.
    """
    refuse_unknown_keys(given, known_keys(search.model), f"model {search.model}")
    if both := [key for key in given if key in search.space]:
        raise ValueError(f"--{both[0]}: is what the search looks for; leave it out, or take it out of the file")
    search = search._replace(settings={**search.settings, **given})
    provenance = _checked(search)
    identity = [search._replace(trials=0, title=""), provenance.fingerprint]
    digest = hashlib.sha256(json.dumps(identity, default=str, sort_keys=True).encode()).hexdigest()[:8]
    folder = results / f"tune-{search.name}-{slug(provenance.label)}-{provenance.fingerprint}-{digest}"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with processes.owned(folder):  # another command would take the trials that run for interrupted ones
        limit = processes.on_owner(lambda: _begin(search, folder))
        rank = processes.rank()
        with processes.alone():
            _work(search, _study(search, folder, rank), provenance, limit)
        processes.wait()
        best = processes.on_owner(lambda: _settings_of(search, _report(search, folder).best_trial))
    return folder, run_comparison([ModelRequest(search.model, {})], search.dataset, settings=best)


def _config(search: Search, settings: dict[str, Any]) -> Config:
    return make_config(search.model, search.dataset, [], {**search.settings, **settings})


def _checked(search: Search) -> Provenance:
    """The data, after every value that a setting may take was looked at: no trial fails for a misspelt choice."""
    first = {key: values[0] if isinstance(values, list) else values.low for key, values in search.space.items()}
    configs = [_config(search, first)]
    for key, values in search.space.items():
        for value in values[1:] if isinstance(values, list) else [values.high]:
            configs.append(_config(search, {**first, key: value}))
    provenance = checked_provenance(configs[0], search.dataset)
    require_files((search.name, config) for config in configs)
    return provenance


def _study(search: Search, folder: Path, worker: int) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    bigger = _config(search, {})["valid_metric_bigger"]
    study = optuna.create_study(
        storage=storage, study_name="trials", direction="maximize" if bigger else "minimize", load_if_exists=True
    )
    # a search that goes on, and each of its workers, must not draw again what was drawn before
    seed = int.from_bytes(hashlib.sha256(f"{search.seed} {len(study.trials)} {worker}".encode()).digest()[:4], "big")
    samplers = {"tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True)}
    study.sampler = samplers.get(search.sampler, lambda: optuna.samplers.RandomSampler(seed=seed))()
    return study


def _begin(search: Search, folder: Path) -> int:
    """Let interrupted trials be tried again; the number from which on trials are too many."""
    folder.mkdir(parents=True, exist_ok=True)
    study = _study(search, folder, 0)
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)
    failed = study.get_trials(states=[TrialState.FAIL])
    return search.trials + sum(_REFUSED not in trial.user_attrs for trial in failed)


def _work(search: Search, study: optuna.Study, provenance: Provenance, limit: int) -> None:
    """Do trials until there are enough."""
    while len([trial for trial in study.trials if trial.state != TrialState.WAITING]) < limit:
        trial = study.ask()
        if trial.number >= limit:  # another process was faster
            study.tell(trial, state=TrialState.FAIL)
            return
        settings = _proposed(search, trial)
        try:
            value = _value_before(study, trial)
            if value is None:
                value = _value(search, settings, trial.number, provenance)
        except ValueError as error:
            trial.set_user_attr(_REFUSED, str(error))
            study.tell(trial, state=TrialState.FAIL)
            print_line(f"trial {trial.number}: {error}")
            continue
        study.tell(trial, value)
        print_line(f"trial {trial.number}: {value:.4f} with {_shown(settings)}")


def _value_before(study: optuna.Study, trial: optuna.Trial) -> float | None:
    """The value of an earlier trial of the same settings, as soon as the process that has it knows; None without."""
    for earlier in study.trials[: trial.number]:
        while earlier.params == trial.params and earlier.state == TrialState.RUNNING:
            time.sleep(1)
            earlier = study.trials[earlier.number]
        if earlier.params == trial.params and earlier.state == TrialState.COMPLETE:
            return earlier.value
    return None


def _proposed(search: Search, trial: optuna.Trial) -> dict[str, Any]:
    """What Optuna proposes; choices go by their text, since a journal holds numbers and strings."""
    settings = {}
    for key, values in search.space.items():
        if isinstance(values, list):
            texts = [json.dumps(value) for value in values]
            settings[key] = json.loads(trial.suggest_categorical(key, texts))
        elif values.is_whole:
            settings[key] = trial.suggest_int(key, values.low, values.high, step=values.step or 1, log=values.log)
        else:
            settings[key] = trial.suggest_float(key, values.low, values.high, step=values.step, log=values.log)
    return settings


def _value(search: Search, settings: dict[str, Any], number: int, provenance: Provenance) -> float:
    """The validation metric of a trial, trained now or before."""
    config = _config(search, settings)
    valid = train_one(config, f"{search.model}, trial {number}", provenance)["valid"]
    metric = config["valid_metric"].lower()
    if metric not in valid:
        raise ValueError(
            f"{search.model} is not validated by {metric} with these tasks, so there is nothing to choose by"
        )
    return valid[metric]


def _settings_of(search: Search, trial: FrozenTrial) -> dict[str, Any]:
    """All that the search set in a trial."""
    chosen = {
        key: json.loads(trial.params[key]) if isinstance(values, list) else trial.params[key]
        for key, values in search.space.items()
    }
    return {**search.settings, **chosen}


def _report(search: Search, folder: Path) -> optuna.Study:
    """Write ``trials.tsv``, best first, and ``best.yaml``, which ``--config_files`` takes."""
    study = _study(search, folder, 0)
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if not done:
        reasons = [trial.user_attrs[_REFUSED] for trial in study.trials if _REFUSED in trial.user_attrs]
        raise ValueError(f"{search.name}: no trial came to a value; the last one: {reasons[-1]}")
    done.sort(key=lambda trial: trial.value, reverse=study.direction == optuna.study.StudyDirection.MAXIMIZE)
    metric = _config(search, {})["valid_metric"]
    rows = ["\t".join(["trial", f"valid {metric}", "seconds", *search.space])]
    for trial in done:
        seconds = f"{trial.duration.total_seconds():.0f}" if trial.duration else ""
        rows.append("\t".join(map(str, [trial.number, f"{trial.value:.6f}", seconds, *_shown_values(search, trial)])))
    write_text(folder / "trials.tsv", "\n".join(rows) + "\n")
    write_text(folder / "best.yaml", yaml.safe_dump(_settings_of(search, study.best_trial), sort_keys=False))
    return study


def _shown_values(search: Search, trial: FrozenTrial) -> list[Any]:
    return [trial.params[key] for key in search.space]


def _shown(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())
