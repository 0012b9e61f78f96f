"""A finished run tested again from its checkpoint: by other metrics, cut-offs or beams, or to mend its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mgr.documents import read_yaml
from recbole_mgr.integration.config import known_keys, make_config, plain_settings, refuse_unknown_keys, settings_read
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.identity import (
    OPERATIONAL,
    RunIdentity,
    apart,
    checked_provenance,
    is_trained,
    learned_differences,
)
from recbole_mgr.run.one_run import test_again
from recbole_mgr.serving.run_files import CHECKPOINT_FILE, SETTINGS_FILE

# RecBole works these out of other settings, so they are not given to it.
_DERIVED = frozenset("valid_neg_sample_args test_neg_sample_args eval_type MODEL_TYPE MODEL_INPUT_TYPE".split())
# Where and how fast a run went is told anew, but for what names its files and its seed.
_NOT_GIVEN = (OPERATIONAL | _DERIVED) - {"seed", "checkpoint_dir", "keep_histories", "eval_batch_size", "num_threads"}


def evaluate_runs(run_dirs: list[Path], settings: dict[str, Any]) -> Comparison:
    """Test finished runs of one data set again, and put them into one table.

    Args:
        run_dirs: of any models, ours or RecBole's; each needs its checkpoint ``best.pth`` and its data set.
        settings: parsed settings that change what is tested (``topk``, ``metrics``, ``beam_size``) or where
            (``data_path``, ``gpu_id``, ...), for all runs that know them; the others stay the run's own.

    Returns:
        The table; each run directory keeps its result.

    Raises:
        ValueError: For a folder that is no finished run, a setting that changes what is learned, or data that are not
            those that the run was trained on.
    """
    for number, run_dir in enumerate(run_dirs):
        if run_dir.resolve() in [other.resolve() for other in run_dirs[:number]]:
            raise ValueError(f"{run_dir}: named twice; each run once")
    stored = [_settings_of(run_dir) for run_dir in run_dirs]
    known = set().union(*(known_keys(about["model"]) for about in stored))
    refuse_unknown_keys(settings, known, "any of " + ", ".join(about["model"] for about in stored))
    configs = [_config_of(about, settings, run_dir) for about, run_dir in zip(stored, run_dirs, strict=True)]
    models = [about["model"] for about in stored]
    labels = apart(models, [RunIdentity.of(config).training_digest for config in configs])
    provenances = [checked_provenance(config, config["dataset"]) for config in configs]
    for run_dir, provenance in zip(run_dirs, provenances, strict=True):
        if provenance.fingerprint != provenances[0].fingerprint:
            raise ValueError(f"{run_dir}: of other interactions than {run_dirs[0]}; one table shows one data set")
    results = [
        test_again(config, label, provenance, run_dir)
        for config, label, provenance, run_dir in zip(configs, labels, provenances, run_dirs, strict=True)
    ]
    comparison = Comparison(provenances[0], results)
    comparison.check_same_targets()
    return comparison


def _settings_of(run_dir: Path) -> dict[str, Any]:
    if not is_trained(run_dir) or not (run_dir / CHECKPOINT_FILE).is_file():
        raise ValueError(
            f"{run_dir}: no finished run with {SETTINGS_FILE} and {CHECKPOINT_FILE} is here; name the folder of one "
            "(saved/<data>/<model>/seed-<n>)"
        )
    about = read_yaml(run_dir / SETTINGS_FILE, remedy=f"remove {run_dir} and train again")
    for key in ("model", "dataset", "data_path"):
        if not isinstance(about.get(key), str):
            raise ValueError(
                f"{run_dir / SETTINGS_FILE}: {key}: {about.get(key)!r} is no name; remove {run_dir} and train again"
            )
    return about


def _config_of(about: Mapping[str, Any], settings: Mapping[str, Any], run_dir: Path) -> Config:
    """The settings of a run with those that are given now.

    Only what differs from the defaults is given to RecBole, which works out the rest as it did then.
    """
    model, dataset = about["model"], about["dataset"]
    data_path = str(Path(about["data_path"]).parent)
    defaults = plain_settings(make_config(model, dataset, [], {"data_path": data_path}))
    stored = {
        key: value
        for key, value in settings_read(model, about).items()
        if key not in _NOT_GIVEN and defaults.get(key, value) != value
    }
    given = {"data_path": data_path, **stored, **settings_read(model, settings)}
    config = make_config(model, dataset, [], given)
    identity = RunIdentity.of(config)
    for key in learned_differences(about, identity, config):
        if key in settings:
            raise ValueError(
                f"--{key}: {settings[key]} changes what is learned, not what is tested alone; use recbole-mgr run"
            )
        raise ValueError(f"{run_dir / SETTINGS_FILE}: this version understands {key} otherwise; train again")
    files = about.get("files_read", identity.files)
    for name in sorted(files.keys() | identity.files.keys()):
        if files.get(name) != identity.files.get(name):
            raise ValueError(
                f"{name} in {config['data_path']} is not what {run_dir} was trained on; restore it, name the folder of "
                "the data sets with --data_path, or train again with recbole-mgr run"
            )
    return config
