"""Settings: property files and their precedence on top of RecBole's ``Config``.

Precedence, stated once (later wins): RecBole's defaults < ``properties/overall.yaml`` <
``properties/model/<Class>.yaml`` (a class adds to its parents') < ``properties/preset/<name>.yaml`` (setting
``preset``) < ``properties/dataset/<name>.yaml`` <
``--config_files`` < ``--key=value`` < a model's own settings (``--model Name:key=value``).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from recbole.config import Config
from recbole.utils import ModelType

from recbole_mgr.data.provenance import require_data_name
from recbole_mgr.distributed.environment import gpu_of_process
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import PROPERTIES
from recbole_mgr.hints import near_miss
from recbole_mgr.integration.registry import OURS, model_class
from recbole_mgr.integration.validation import require_comparable, validate
from recbole_mgr.settings import KnowledgeGraph, Overall, Processes, declared_keys, ignored_reason
from recbole_mgr.settings.baseline_keys import baseline_keys
from recbole_mgr.settings.recbole_keys import Training
from recbole_mgr.settings.schema import Key, check_values


class CommandConfig(Config):
    """RecBole's ``Config`` for our command, which owns its arguments: ``sys.argv`` is not read here."""

    is_checked = True  # what the data are read by, see `install_shared_histories`

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}


def parse_value(text: str) -> Any:
    """Parse a command-line value as a literal; what is no literal stays a string and nothing is evaluated.

    ``true``/``false``/``none``/``~`` are understood in any case, numbers may be written ``1e-3``, and ``a+b`` is the
    list [a, b] where a and b are words or numbers, whose words need no quotation marks in ``[a, b]`` either.
    """
    spelled = {"true": True, "false": False, "none": None, "null": None, "~": None}
    if text.lower() in spelled:
        return spelled[text.lower()]
    with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ast.literal_eval(text)
    if re.fullmatch(r"\w+(\+\w+)+", text):
        return [parse_value(entry) for entry in text.split("+")]
    if re.fullmatch(r"\[\s*[a-zA-Z][\w.@-]*(\s*,\s*[a-zA-Z][\w.@-]*)*\s*\]", text):
        return [parse_value(entry.strip()) for entry in text[1:-1].split(",")]
    return text


def make_config(model: str, dataset: str, config_files: list[str], settings: dict[str, Any]) -> Config:
    """Build the validated settings of one model of a comparison.

    Our models read their property files. RecBole's read theirs, plus ``properties/overall.yaml``, so that all
    models of a comparison share data, split, metrics and protocol; losses over the whole catalogue
    (``loss_type: CE``) and our models get no sampled negatives.

    Args:
        model: model name.
        dataset: data set name; its files are ``<data_path>/<dataset>/<dataset>.*``.
        config_files: YAML files; later ones win.
        settings: parsed values that win over all files.

    Raises:
        ValueError: For an unknown key, a missing or malformed file, or settings that contradict each other.
    """
    class_ = model_class(model)
    require_data_name(dataset)
    overall = _read_yaml(PROPERTIES / "overall.yaml")
    merged = {**read_config_files(config_files), **settings}
    refuse_unknown_keys(merged, known_keys(model), f"model {model}")
    for key, value in (("model", model), ("dataset", dataset)):
        if merged.get(key, value) != value:
            raise ValueError(f"{key}: {merged[key]} contradicts --{key} {value}; leave it out of the settings")
    if isinstance(merged.get("eval_args"), dict):  # RecBole would fill up what is left out with a random split
        merged["eval_args"] = {**overall["eval_args"], **merged["eval_args"]}
    if model not in OURS:
        merged = {**overall, **_dataset_properties(dataset), **merged}
        if merged.get("loss_type", recbole_model_properties(model).get("loss_type")) == "CE":
            merged.setdefault("train_neg_sample_args", None)
    try:
        config = CommandConfig(model=class_, dataset=dataset, config_dict=merged)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError) as error:  # RecBole's own checks
        raise ValueError(f"settings of {model}: {error}") from error
    require_comparable(config)
    return config


def read_config_files(paths: list[str]) -> dict[str, Any]:
    """Settings of YAML files, later ones winning; raises ValueError naming a file that is missing or malformed."""
    merged: dict[str, Any] = {}
    for path in paths:
        if not Path(path).is_file():
            raise ValueError(f"--config_files: {path} does not exist")
        merged.update(_read_yaml(Path(path)))
    return merged


def install_property_hooks() -> None:
    """Let every RecBole ``Config`` of one of our models read our property files and refuse unknown keys."""
    if getattr(Config, "_reads_mgr_properties", False):
        return
    Config._reads_mgr_properties = True
    load, merge, defaults, choose_device = (
        Config._load_internal_config_dict,
        Config._get_final_config_dict,
        Config._set_default_parameters,
        Config._init_device,
    )

    @functools.wraps(load)
    def load_internal(self, model, model_class, dataset):
        load(self, model, model_class, dataset)
        if model in OURS:
            # not what RecBole found in sys.argv: the host program's own options stand there too
            given = {**self.file_config_dict, **self.variable_config_dict}
            known = known_keys(model) | set(Processes.model_fields)  # RecBole's own launcher gives the latter
            refuse_unknown_keys(given, known, f"model {model}")
            properties = model_properties(model_class)
            self.internal_config_dict.update(properties)
            preset = given.get("preset", properties.get("preset"))
            if preset is not None:
                self.internal_config_dict.update(_preset(preset, known))
            self.internal_config_dict.update(_dataset_properties(dataset))

    @functools.wraps(merge)
    def merge_and_check(self):
        settings = merge(self)
        if _is_ours(self):
            for key, value in check_values(settings, keys_of(self.model)).items():
                # a default that only looks different, as 1 for True, stays as it is written: runs are found by it
                if value != settings[key] or key in self.external_config_dict:
                    settings[key] = value
            if "eval_step" not in self.external_config_dict:  # a preset's, beside the epochs of a user
                settings["eval_step"] = min(settings["eval_step"], settings["epochs"])
            if settings["load_col"] == _read_yaml(PROPERTIES / "overall.yaml")["load_col"]:
                settings["load_col"] = {"inter": [settings[f"{name}_FIELD"] for name in ("USER_ID", "ITEM_ID", "TIME")]}
            if not settings["use_gpu"]:
                settings["gpu_id"] = ""  # which is what RecBole chooses the device by
            chosen = "gpu_id" in self.external_config_dict
            settings["gpu_id"] = gpu_of_process(_joined(settings["gpu_id"]), chosen=chosen)
        return settings

    @functools.wraps(defaults)
    def set_defaults(self):
        data_path = self.final_config_dict["data_path"]
        defaults(self)
        if self.dataset == "ml-100k" and (self.model in OURS or "data_path" in self.external_config_dict):
            # RecBole overwrites data_path with its bundled copy for this one name (configurator.py:330).
            self.final_config_dict["data_path"] = str(Path(data_path) / self.dataset)
        if _is_ours(self):
            validate(self)

    @functools.wraps(choose_device)
    def choose_device_and_batch(self):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        choose_device(self)
        if self.final_config_dict["device"].type == "cpu" and torch.cuda.is_available():
            # RecBole hides the GPUs of a process that has found them already: torch would only miscount them later
            if visible is None:
                del os.environ["CUDA_VISIBLE_DEVICES"]
            else:
                os.environ["CUDA_VISIBLE_DEVICES"] = visible
        if self.final_config_dict["eval_batch_size"] == "auto":
            # a search of a batch is some hundred kernels, for whose start a GPU waits whatever the batch
            self.final_config_dict["eval_batch_size"] = 256 if self.final_config_dict["device"].type == "cpu" else 1024

    Config._load_internal_config_dict = load_internal
    Config._get_final_config_dict = merge_and_check
    Config._set_default_parameters = set_defaults
    Config._init_device = choose_device_and_batch


def _joined(gpu_id: Any) -> str:
    return ",".join(map(str, gpu_id)) if isinstance(gpu_id, list | tuple) else str(gpu_id)


def _is_ours(config: Config) -> bool:
    """Whether settings are checked: those of our models, whoever builds them, and all of our command."""
    return config.model in OURS or isinstance(config, CommandConfig)


def model_properties(class_: type) -> dict[str, Any]:
    """Our default settings of a model class: ``overall.yaml`` and one file per class of its ancestry."""
    properties = _read_yaml(PROPERTIES / "overall.yaml")
    for ancestor in reversed(class_.__mro__):
        file = PROPERTIES / "model" / f"{ancestor.__name__}.yaml"
        if file.is_file():
            properties.update(_read_yaml(file))
    return properties


def keys_of(model: str) -> dict[str, Key]:
    """All keys that mean something for ``model``; raises ValueError if there is no such model."""
    class_ = model_class(model)
    if model in OURS:
        keys = declared_keys(ancestor.__name__ for ancestor in class_.__mro__)
        if getattr(class_, "fusion", "early") == "late":
            del keys["early_fusion"]
        return keys
    keys = {**keys_of_its_own(model), **Overall.all()}
    if class_.type == ModelType.TRADITIONAL:  # made in one go: RecBole trains one epoch, whatever is asked for
        keys = {name: key for name, key in keys.items() if name not in Training.model_fields}
    return {**keys, **KnowledgeGraph.all()} if class_.type == ModelType.KNOWLEDGE else keys


def keys_of_its_own(model: str) -> dict[str, Key]:
    """The keys of one of RecBole's models alone, from its property file; the model need not be installed."""
    file = _recbole_properties() / "model" / f"{model}.yaml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return baseline_keys(model, recbole_model_properties(model), text)


def default_settings(model: str) -> dict[str, Any]:
    """What the settings of ``model`` are where nobody sets them; raises ValueError if there is no such model."""
    class_ = model_class(model)
    settings = {}
    for name in ("overall", "dataset/sample"):
        settings |= _read_yaml(_recbole_properties() / f"{name}.yaml")
    settings |= recbole_model_properties(model)
    if class_.type == ModelType.SEQUENTIAL:
        settings["repeatable"] = True
    settings |= model_properties(class_)
    if settings.get("preset"):
        settings |= _preset(settings["preset"], known_keys(model))
    if settings.get("loss_type") == "CE":
        settings["train_neg_sample_args"] = None
    return settings


def recbole_models() -> list[str]:
    """Names of RecBole's own models but the decision trees, whose packages RecBole does not install."""
    names = {file.stem for file in (_recbole_properties() / "model").glob("*.yaml")}
    return sorted(names - {"lightgbm", "xgboost"}, key=str.lower)


def known_keys(model: str) -> set[str]:
    """Names of the keys that mean something for ``model``; raises ValueError if there is no such model."""
    return {*keys_of(model), "model", "dataset"}


def settings_read(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings that hold for several models those that mean something to ``model``."""
    known = known_keys(model)
    return {key: value for key, value in settings.items() if key in known}


def plain_settings(config: Config) -> dict[str, Any]:
    """The final settings as plain YAML-able data (enums and devices as strings)."""
    return {key: _plain(value) for key, value in sorted(config.final_config_dict.items())}


def refuse_unknown_keys(settings: dict[str, Any], known: set[str], where: str) -> None:
    """Raise ValueError for the first setting that ``where`` does not know, with the nearest one it knows."""
    for key in settings:
        if key not in known:
            if reason := ignored_reason(key):
                raise ValueError(f"{key}: means nothing to {where}: {reason}; leave it out")
            raise ValueError(f"unknown setting {key!r} for {where}{near_miss(key, known)}")


def _read_yaml(path: Path) -> dict[str, Any]:
    return read_yaml(path, remedy="correct it", may_be_empty=True, loader=_PropertyLoader)


def _preset(name: str, known: set[str]) -> dict[str, Any]:
    """The settings of ``properties/preset/<name>.yaml`` that a model knows; the schema refuses other names."""
    file = PROPERTIES / "preset" / f"{name}.yaml"
    return {key: value for key, value in _read_yaml(file).items() if key in known} if file.is_file() else {}


def _dataset_properties(dataset: str) -> dict[str, Any]:
    file = PROPERTIES / "dataset" / f"{dataset}.yaml"
    return _read_yaml(file) if file.is_file() else {}


def _recbole_properties() -> Path:
    import recbole

    return Path(recbole.__file__).parent / "properties"


def recbole_model_properties(model: str) -> dict[str, Any]:
    """The defaults in the property file of one of RecBole's models; empty for other names."""
    file = _recbole_properties() / "model" / f"{model}.yaml"
    return _read_yaml(file) if file.is_file() else {}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


class _PropertyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # the C one where PyYAML was built with it
    """YAML without object construction, that reads ``1e-3`` as a number as RecBole's loader does."""


_PropertyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)
