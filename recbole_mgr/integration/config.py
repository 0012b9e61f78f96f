"""Settings: property files and their precedence on top of RecBole's ``Config``.

Precedence, stated once (later wins): RecBole's defaults < ``properties/overall.yaml`` <
``properties/model/<Class>.yaml`` (a class adds to its parents') < ``properties/dataset/<name>.yaml`` <
``--config_files`` < ``--key=value`` < a model's own settings (``--model Name:key=value``).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import re
from pathlib import Path
from typing import Any

import yaml
from recbole.config import Config

from recbole_mgr.files import read_yaml
from recbole_mgr.hints import near_miss
from recbole_mgr.integration.registry import MODELS, model_class
from recbole_mgr.integration.validation import require_one_target_per_user, validate

_PACKAGE = Path(__file__).resolve().parents[1]
# Installed, the files ship inside the package; in a checkout they stand beside it.
PROPERTIES = next(p for p in (_PACKAGE / "properties", _PACKAGE.parent / "properties") if p.is_dir())

# Keys that RecBole reads although none of its property files names them.
_UNLISTED_KEYS = frozenset(
    "model dataset nproc world_size ip port offset group_offset local_rank reg_weight tail_ratio".split()
)


class CommandConfig(Config):
    """RecBole's ``Config`` for our command, which owns its arguments: ``sys.argv`` is not read here."""

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}


def parse_value(text: str) -> Any:
    """Parse a command-line value as a literal; what is no literal stays a string and nothing is evaluated.

    ``true``/``false``/``none``/``~`` are understood in any case, numbers may be written ``1e-3``, and ``a+b`` is the
    list [a, b] where a and b are words or numbers.
    """
    spelled = {"true": True, "false": False, "none": None, "null": None, "~": None}
    if text.lower() in spelled:
        return spelled[text.lower()]
    with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ast.literal_eval(text)
    if re.fullmatch(r"\w+(\+\w+)+", text):
        return [parse_value(entry) for entry in text.split("+")]
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
    overall = _read_yaml(PROPERTIES / "overall.yaml")
    merged = {**read_config_files(config_files), **settings}
    refuse_unknown_keys(merged, known_keys(model), f"model {model}")
    for key, value in (("model", model), ("dataset", dataset)):
        if merged.get(key, value) != value:
            raise ValueError(f"{key}: {merged[key]} contradicts --{key} {value}; leave it out of the settings")
    if isinstance(merged.get("eval_args"), dict):  # RecBole would fill up what is left out with a random split
        merged["eval_args"] = {**overall["eval_args"], **merged["eval_args"]}
    if model not in MODELS:
        merged = {**overall, **_dataset_properties(dataset), **merged}
        if merged.get("loss_type", _recbole_model_properties(model).get("loss_type")) == "CE":
            merged.setdefault("train_neg_sample_args", None)
    try:
        config = CommandConfig(model=class_, dataset=dataset, config_dict=merged)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError) as error:  # RecBole's own checks
        raise ValueError(f"settings of {model}: {error}") from error
    if model not in MODELS:
        validate(config)
    require_one_target_per_user(config["eval_args"])
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
    load, defaults = Config._load_internal_config_dict, Config._set_default_parameters

    @functools.wraps(load)
    def load_internal(self, model, model_class, dataset):
        load(self, model, model_class, dataset)
        if model in MODELS:
            # not what RecBole found in sys.argv: the host program's own options stand there too
            given = {**self.file_config_dict, **self.variable_config_dict}
            refuse_unknown_keys(given, known_keys(model), f"model {model}")
            self.internal_config_dict.update(model_properties(model_class))
            self.internal_config_dict.update(_dataset_properties(dataset))

    @functools.wraps(defaults)
    def set_defaults(self):
        data_path = self.final_config_dict["data_path"]
        defaults(self)
        if self.dataset == "ml-100k" and (self.model in MODELS or "data_path" in self.external_config_dict):
            # RecBole overwrites data_path with its bundled copy for this one name (configurator.py:330).
            self.final_config_dict["data_path"] = str(Path(data_path) / self.dataset)
        if self.model in MODELS:
            validate(self)

    Config._load_internal_config_dict, Config._set_default_parameters = load_internal, set_defaults


def model_properties(class_: type) -> dict[str, Any]:
    """Our default settings of a model class: ``overall.yaml`` and one file per class of its ancestry."""
    properties = _read_yaml(PROPERTIES / "overall.yaml")
    for ancestor in reversed(class_.__mro__):
        file = PROPERTIES / "model" / f"{ancestor.__name__}.yaml"
        if file.is_file():
            properties.update(_read_yaml(file))
    return properties


def known_keys(model: str) -> set[str]:
    """All keys that mean something for ``model``; raises ValueError if there is no such model."""
    from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

    class_ = model_class(model)
    keys = set(_UNLISTED_KEYS)
    keys.update(general_arguments, training_arguments, evaluation_arguments, dataset_arguments)
    for name in ("overall", "dataset/sample"):
        keys.update(_read_yaml(_recbole_properties() / f"{name}.yaml"))
    keys.update(_read_yaml(PROPERTIES / "overall.yaml"))
    keys.update(model_properties(class_) if model in MODELS else _recbole_model_properties(model))
    return keys


def plain_settings(config: Config) -> dict[str, Any]:
    """The final settings as plain YAML-able data (enums and devices as strings)."""
    return {key: _plain(value) for key, value in sorted(config.final_config_dict.items())}


def refuse_unknown_keys(settings: dict[str, Any], known: set[str], where: str) -> None:
    """Raise ValueError for the first setting that ``where`` does not know, with the nearest one it knows."""
    for key in settings:
        if key not in known:
            raise ValueError(f"unknown setting {key!r} for {where}{near_miss(key, known)}")


def _read_yaml(path: Path) -> dict[str, Any]:
    return read_yaml(path, remedy="correct it", may_be_empty=True, loader=_PropertyLoader)


def _dataset_properties(dataset: str) -> dict[str, Any]:
    file = PROPERTIES / "dataset" / f"{dataset}.yaml"
    return _read_yaml(file) if file.is_file() else {}


def _recbole_properties() -> Path:
    import recbole

    return Path(recbole.__file__).parent / "properties"


def _recbole_model_properties(model: str) -> dict[str, Any]:
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
