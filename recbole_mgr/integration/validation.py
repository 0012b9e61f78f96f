"""Rules that involve two settings or more; the type and range of each one are in :mod:`recbole_mgr.settings`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_mgr.generation.item_memory import MemorySettings
from recbole_mgr.integration.registry import BASELINES, MODELS
from recbole_mgr.integration.trackers import PACKAGES
from recbole_mgr.settings.model_keys import QUANTIZER_OPTIONS
from recbole_mgr.settings.schema import Key, shown

_SCORE_METRICS = ("gauc", "auc", "mae", "rmse", "logloss")  # need a score for every item and have no cut-off


def validate(config: Config) -> Config:
    """Refuse settings that contradict each other; their types and ranges are checked already.

    Raises:
        ValueError: Naming the key(s), the value(s) and the remedy.
    """
    values = config.final_config_dict
    _check_metrics(values, config.external_config_dict)
    _check_columns(values)
    _check_negatives(values)
    _check_tracker(values)
    if values["model"] in BASELINES:
        config.model_class.check_settings(values)
    if values["model"] in MODELS:
        _check_semantic_ids(values)
        _check_network(values)
        _check_priors(values)
        _check_training(values)
        _check_ranking(values)
        config.model_class.check_settings(values)
    return config


def _check_tracker(values: dict[str, Any]) -> None:
    name = values["tracker"]
    if values["log_wandb"]:
        if name not in (None, "wandb"):
            raise ValueError(f"log_wandb: True and tracker: {name} contradict each other; leave one of them out")
        name = "wandb"
    if name and find_spec(name) is None:
        asked = "log_wandb: True" if values["log_wandb"] else f"tracker: {name}"
        raise ValueError(f"{asked} needs the package {name}, which is not installed; pip install {PACKAGES[name]}")


def require_comparable(config: Config) -> None:
    """What a table of several models needs beyond RecBole's own checks.

    Raises:
        ValueError: If the split is not leave-one-out by time, is read from files, or nothing is validated.
    """
    eval_args = config["eval_args"]
    split, group_by, order, modes = (eval_args[key] for key in ("split", "group_by", "order", "mode"))
    if (split, group_by, order) != ({"LS": "valid_and_test"}, "user", "TO") or "labeled" in modes.values():
        raise ValueError(
            f"eval_args: split {split}, group_by {group_by}, order {order}, mode {modes['test']}: a table compares "
            "models on the last interaction of each user; use split {'LS': 'valid_and_test'}, group_by user, order TO "
            "and mode full, uniN or popN"
        )
    if config["benchmark_filename"]:
        raise ValueError(
            f"benchmark_filename: {config['benchmark_filename']}: a table splits every model's data by eval_args; give "
            "one .inter file and leave it out"
        )
    if not 1 <= config["eval_step"] <= config["epochs"]:
        raise ValueError(
            f"eval_step: {config['eval_step']} of {config['epochs']} epochs validates nothing, so that no epoch is "
            "chosen; use a whole number from 1 to epochs"
        )


def require_enough_items(topk: list[int], num_items: int) -> None:
    """Refuse cut-offs that no list of the data set's items reaches.

    Raises:
        ValueError: Naming the cut-off, the number of items and the remedy.
    """
    if max(topk) > num_items:
        raise ValueError(
            f"topk: {max(topk)} is more than the {num_items} items that can be ranked; use cut-offs up to {num_items}"
        )


def require(legal: bool, values: dict[str, Any], key: str, rule: str) -> None:
    """Raise ValueError naming a setting, its value and the rule, unless it is legal."""
    if not legal:
        raise ValueError(f"{key}: {shown(values[key])} must be {rule}")


def _check_metrics(values: dict[str, Any], given: dict[str, Any]) -> None:
    cuts = values["topk"]
    require(bool(cuts), values, "topk", "a list of whole numbers >= 1")
    metric, _, cut = values["valid_metric"].partition("@")
    if metric.lower() not in [name.lower() for name in values["metrics"]]:
        raise ValueError(
            f"valid_metric: {values['valid_metric']} needs {metric} in metrics, which is {values['metrics']}; add it "
            "there"
        )
    if metric.lower() not in _SCORE_METRICS and cut not in map(str, cuts):
        remedy = f"; add {cut} to topk" if cut.isdecimal() else ""
        raise ValueError(
            f"valid_metric: {values['valid_metric']} must be written {metric}@k with k in topk: {cuts}{remedy}"
        )
    if "tail_ratio" in given and "tailpercentage" not in [name.lower() for name in values["metrics"]]:
        raise ValueError(
            f"tail_ratio: {given['tail_ratio']} means nothing without TailPercentage in metrics, which is "
            f"{values['metrics']}; add it or leave tail_ratio out"
        )
    bigger = values["valid_metric_bigger"]  # RecBole has set it by the metric
    if given.get("valid_metric_bigger", bigger) != bigger:
        raise ValueError(
            f"valid_metric_bigger: {not bigger} contradicts valid_metric: {metric}, of which "
            f"{'more' if bigger else 'less'} is better; leave it out"
        )


def _check_columns(values: dict[str, Any]) -> None:
    needed = [values[f"{field}_FIELD"] for field in ("USER_ID", "ITEM_ID", "TIME")]
    if len(set(needed)) < 3:
        raise ValueError(f"USER_ID_FIELD, ITEM_ID_FIELD and TIME_FIELD name {needed}; they must be three columns")
    loaded = (values["load_col"] or {}).get("inter", "*")
    missing = [column for column in needed if loaded != "*" and column not in loaded]
    if missing:
        raise ValueError(f"load_col: {values['load_col']} needs {', '.join(missing)} in inter, which every model reads")


def _check_negatives(values: dict[str, Any]) -> None:
    sampling = values["train_neg_sample_args"]
    if sampling and bool(sampling["dynamic"]) != bool(sampling["candidate_num"]):
        raise ValueError(
            f"train_neg_sample_args: dynamic: {sampling['dynamic']} and candidate_num: {sampling['candidate_num']} go "
            "together: True and a whole number >= 1, or False and 0"
        )


def _check_semantic_ids(values: dict[str, Any]) -> None:
    modalities = values["modalities"]
    require(
        bool(modalities) and len(set(modalities)) == len(modalities),
        values,
        "modalities",
        "a list of at least one modality, each once",
    )
    if values["item2id"] and not str(values["semantic_ids"]).endswith(".json"):
        raise ValueError(
            f"item2id: {values['item2id']} belongs to semantic_ids in a .json file, which is {values['semantic_ids']}; "
            "leave it out"
        )
    options = Key("quantizer_options", QUANTIZER_OPTIONS[values["quantizer"]], "")
    values["quantizer_options"] = options.checked(values["quantizer_options"])
    if values["semantic_ids"]:
        require(Path(values["semantic_ids"]).is_file(), values, "semantic_ids", "the path of a file that exists")
        if values["item2id"]:
            require(Path(values["item2id"]).is_file(), values, "item2id", "the path of a file that exists")
    elif values["missing_modality"] == "drop":
        values["drop_items_without"] = values.get("drop_items_without") or modalities


def _check_network(values: dict[str, Any]) -> None:
    if values["backbone"] == "hierarchical":  # a T5 has heads of a size of their own, a language model checks its own
        require_whole_heads(values)
    for key in ("branch_size", "learn_repeats"):
        if values[key] and (values["backbone"], values["code_softmax"]) != ("hierarchical", "legal"):
            raise ValueError(
                f"{key}: {values[key]} needs backbone: hierarchical and code_softmax: legal, not {values['backbone']} "
                f"and {values['code_softmax']}; {_without_preset(values)}leave it out or change those"
            )


def _without_preset(values: dict[str, Any]) -> str:
    """The remedy where it was a preset that asked for something."""
    return f"preset: {values['preset']} asks for it, preset: None does not; " if values["preset"] else ""


def _check_priors(values: dict[str, Any]) -> None:
    if values["item_softmax"] and values["backbone"] != "hierarchical":
        raise ValueError(
            f"item_softmax: needs backbone: hierarchical, not {values['backbone']}; "
            f"{_without_preset(values)}leave it out or change that"
        )
    if values["code_weight"] == 0 and not values["item_softmax"]:
        raise ValueError("code_weight: 0 leaves nothing to learn without item_softmax: True; give it a weight")
    if values["item_vector_dropout"] and not (values["item_softmax"] and values["item_vectors"]):
        raise ValueError(
            f"item_vector_dropout: {values['item_vector_dropout']} leaves out vectors that there are not; set "
            "item_softmax and item_vectors to True, or it to 0"
        )
    on = [part for part in ("item_softmax", "memory", "popularity", "query_words") if values.get(part)]
    if values["memory"]:
        MemorySettings.of(values["memory_options"])
    weights = values["prior_weights"]
    if weights != "auto":
        wrong = [name for name, weight in weights.items() if type(weight) not in (int, float)]
        if wrong:
            raise ValueError(f"prior_weights: {wrong[0]} must be a number, not {weights[wrong[0]]!r}")
        unknown = set(weights) - {"codes", *on}
        if unknown:
            raise ValueError(
                f"prior_weights: {sorted(unknown)} is not among {['codes', *on]}; switch it on or leave it out"
            )
        parts = [*(["codes"] if values["code_weight"] else []), *on]
        of_search_too = [part for part in parts if part != "query_words"]  # what words weigh ranks a search alone
        for ranking in (parts, of_search_too if of_search_too != ["codes"] else parts):
            if not any(weights.get(part, 1) for part in ranking):
                raise ValueError(f"prior_weights: {weights} leaves nothing to rank by; give one of {ranking} a weight")
    if on and values["ranking"] == "beams":
        if values["code_softmax"] != "legal" or values["code_weight"] == 0:
            raise ValueError(
                "ranking: beams pushes priors down the trie, which needs code_softmax: legal and a code_weight"
            )
        if weights == "auto":
            raise ValueError(
                "prior_weights: auto is chosen for ranking: union; for beams name them, e.g. {" + f"{on[0]}: 0.5" + "}"
            )


def _check_training(values: dict[str, Any]) -> None:
    require_stride(values)
    stride, backbone = values["window_stride"], values["backbone"]
    if stride is not None and backbone != "hierarchical":
        raise ValueError(
            f"window_stride: {stride} means nothing to backbone: {backbone}, which trains on one row per target; leave "
            "it out"
        )


def require_whole_heads(values: dict[str, Any]) -> None:
    """Refuse a ``hidden_size`` that ``n_heads`` cannot share out; raises ValueError naming both."""
    heads = values["n_heads"]
    require(values["hidden_size"] % heads == 0, values, "hidden_size", f"a multiple of n_heads: {heads}")


def require_stride(values: dict[str, Any]) -> None:
    """Refuse a ``window_stride`` beyond the longest history; raises ValueError naming both."""
    stride, longest = values["window_stride"], values["MAX_ITEM_LIST_LENGTH"]
    rule = f"None or a whole number from 1 to MAX_ITEM_LIST_LENGTH: {longest}"
    require(stride is None or stride <= longest, values, "window_stride", rule)


def _check_ranking(values: dict[str, Any]) -> None:
    longest = max(values["topk"])
    require(values["beam_size"] >= longest, values, "beam_size", f"at least the largest topk: {longest}")
    steering = int(values["valid_metric"].partition("@")[2])
    rule = f"at least the k of valid_metric: {steering}"
    require(values["valid_beam_size"] >= steering, values, "valid_beam_size", rule)
    for name in values["metrics"]:
        if name.lower() in _SCORE_METRICS:
            raise ValueError(
                f"metrics: {name} needs a score for every item, a generating model returns a ranked list; "
                "use Recall, NDCG, MRR, Hit, Precision, MAP, ItemCoverage, AveragePopularity, "
                "ShannonEntropy, GiniIndex or TailPercentage"
            )
