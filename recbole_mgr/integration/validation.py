"""What settings may be: ranges, choices, and combinations that contradict each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mgr.integration.registry import MODELS

_SCORE_METRICS = ("gauc", "auc", "mae", "rmse", "logloss")  # need a score for every item and have no cut-off

# Whole numbers and the lowest that makes sense: settings of every model, and of ours.
_LOWEST = {
    "epochs": 1,
    "stopping_step": 0,
    "train_batch_size": 1,
    "eval_batch_size": 1,
    "metric_decimal_place": 1,
    "MAX_ITEM_LIST_LENGTH": 1,
}
_LOWEST_OF_OURS = {
    "codebook_levels": 1,
    "semantic_id_seed": 0,
    "hidden_size": 1,
    "n_layers": 1,
    "n_heads": 1,
    "inner_size": 1,
    "branch_size": 0,
    "t5_head_size": 1,
    "warmup_epochs": 0,
    "beam_size": 1,
    "valid_beam_size": 1,
}


def validate(config: Config) -> Config:
    """Refuse values out of range and settings that contradict each other; make lists of single names.

    Raises:
        ValueError: Naming the key(s), the value(s) and the remedy.
    """
    values = config.final_config_dict
    for key in ("modalities", "drop_items_without"):
        if isinstance(values.get(key), str):
            values[key] = [values[key]]
    require_whole_numbers(values, _LOWEST)
    for key in ("num_threads", "valid_users"):
        if values.get(key) is not None:
            require_whole_numbers(values, {key: 1})
    _check_metrics(values)
    if values["model"] in MODELS:
        _check_semantic_ids(values)
        _check_network(values, config.model_class.backbones)
        _check_training(values)
        _check_ranking(values)
        config.model_class.check_settings(values)
    return config


def require_one_target_per_user(eval_args: dict[str, Any]) -> None:
    """What a table of several models needs beyond RecBole's own checks.

    Raises:
        ValueError: If the split is not leave-one-out by time.
    """
    split, order, modes = eval_args["split"], eval_args["order"], eval_args["mode"]
    if split != {"LS": "valid_and_test"} or order != "TO" or "labeled" in modes.values():
        raise ValueError(
            f"eval_args: split {split}, order {order}, mode {modes['test']}: a table compares models on the last "
            "interaction of each user; use split {'LS': 'valid_and_test'}, order TO and mode full, uniN or popN"
        )


def require(legal: bool, values: dict[str, Any], key: str, rule: str) -> None:
    """Raise ValueError naming a setting, its value and the rule, unless it is legal."""
    if not legal:
        raise ValueError(f"{key}: {values[key]!r} must be {rule}")


def require_whole_numbers(values: dict[str, Any], lowest: dict[str, int]) -> None:
    """Raise ValueError for the first setting in ``lowest`` that is no whole number from there on."""
    for key, low in lowest.items():
        require(is_whole(values[key], low), values, key, f"a whole number >= {low}")


def require_choice(values: dict[str, Any], key: str, choices: tuple[Any, ...]) -> None:
    """Raise ValueError for a setting that is none of ``choices``."""
    require(values[key] in choices, values, key, f"one of {', '.join(map(str, choices))}")


def is_whole(value: Any, low: int) -> bool:
    """Whether a value is a whole number (True is none) of at least ``low``."""
    return type(value) is int and value >= low


def is_number(value: Any) -> bool:
    """Whether a value is a finite number (True is none)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_metrics(values: dict[str, Any]) -> None:
    cuts = values["topk"]
    require(bool(cuts) and all(type(k) is int for k in cuts), values, "topk", "a list of whole numbers >= 1")
    metric, _, cut = values["valid_metric"].partition("@")
    if metric.lower() not in [name.lower() for name in values["metrics"]]:
        raise ValueError(
            f"valid_metric: {values['valid_metric']} needs {metric} in metrics, which is {values['metrics']}"
        )
    if metric.lower() not in _SCORE_METRICS and cut not in map(str, cuts):
        raise ValueError(f"valid_metric: {values['valid_metric']} must be written {metric}@k with k in topk: {cuts}")


def _check_semantic_ids(values: dict[str, Any]) -> None:
    from recbole_mgr.semantic_id.quantizer import QUANTIZERS

    modalities = values["modalities"]
    require(
        bool(modalities) and len(set(modalities)) == len(modalities),
        values,
        "modalities",
        "a list of at least one modality, each once",
    )
    require_choice(values, "missing_modality", ("mean", "zero", "drop"))
    require_choice(values, "quantizer", tuple(QUANTIZERS))
    require_choice(values, "early_fusion", ("concat", "mean", "sum"))
    if values["semantic_ids"]:
        require(Path(values["semantic_ids"]).is_file(), values, "semantic_ids", "the path of a file that exists")
    elif values["missing_modality"] == "drop":
        values["drop_items_without"] = values.get("drop_items_without") or modalities


def _check_network(values: dict[str, Any], backbones: tuple[str, ...]) -> None:
    require_choice(values, "backbone", backbones)
    require_choice(values, "code_softmax", ("legal", "full"))
    require_whole_numbers(values, _LOWEST_OF_OURS)
    if values["backbone"] == "hierarchical":  # a T5 has heads of a size of their own, a language model checks its own
        heads = values["n_heads"]
        require(values["hidden_size"] % heads == 0, values, "hidden_size", f"a multiple of n_heads: {heads}")
    require(type(values["learn_repeats"]) is bool, values, "learn_repeats", "True or False")
    for key in ("branch_size", "learn_repeats"):
        if values[key] and (values["backbone"], values["code_softmax"]) != ("hierarchical", "legal"):
            raise ValueError(
                f"{key}: {values[key]} needs backbone: hierarchical and code_softmax: legal, not {values['backbone']} "
                f"and {values['code_softmax']}; leave it out or change those"
            )
    for key in ("hidden_dropout_prob", "attn_dropout_prob"):
        require(is_number(values[key]) and 0 <= values[key] < 1, values, key, "a number in [0, 1)")


def _check_training(values: dict[str, Any]) -> None:
    rate, decay, stride = values["learning_rate"], values["weight_decay"], values["window_stride"]
    require(is_number(rate) and rate > 0, values, "learning_rate", "a number > 0")
    require(is_number(decay) and decay >= 0, values, "weight_decay", "a number >= 0")
    require_choice(values, "lr_scheduler", ("constant", "cosine", "linear"))
    require_choice(values, "learner", ("adam", "adamw", "sgd", "adagrad", "rmsprop"))  # else RecBole takes adam
    require_choice(values, "loss_type", ("CE",))
    if stride is not None:
        longest = values["MAX_ITEM_LIST_LENGTH"]
        rule = f"None or a whole number from 1 to MAX_ITEM_LIST_LENGTH: {longest}"
        require(type(stride) is int and 1 <= stride <= longest, values, "window_stride", rule)
        if values["backbone"] != "hierarchical":
            raise ValueError(
                f"window_stride: {stride} means nothing to backbone: {values['backbone']}, which trains on one row per "
                "target; leave it out"
            )


def _check_ranking(values: dict[str, Any]) -> None:
    longest = max(values["topk"])
    for key in ("beam_size", "valid_beam_size"):
        require(values[key] >= longest, values, key, f"at least the largest topk: {longest}")
    for name in values["metrics"]:
        if name.lower() in _SCORE_METRICS:
            raise ValueError(
                f"metrics: {name} needs a score for every item, a generating model returns a ranked list; "
                "use Recall, NDCG, MRR, Hit, Precision, MAP, ItemCoverage, AveragePopularity, "
                "ShannonEntropy, GiniIndex or TailPercentage"
            )
