"""What UniMP's settings may be."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from recbole_mgr.model.unimp.language_model import TRAINING_MODES, LanguageModelSettings
from recbole_mgr.model.unimp.rows import CLOSING_SEES, IMAGE_ATTENTION
from recbole_mgr.model.unimp.tasks import TASKS, task_names

_CHOICES = {
    "task_sampling": ("proportional", "uniform", "staged"),
    "user_split": ("leave_one_out", "by_user"),
    "ask_after": ("every", "last"),
    "image_attention": IMAGE_ATTENTION,
    "closing_sees": CLOSING_SEES,
    "item_ids": ("semantic", "atomic"),
    "context_targets": (True, False),
    "selection_by": (None, "likelihood", "marks"),
}
_LOWEST = {
    "history_items": 1,
    "max_tokens": 16,
    "search_title_words": 0,
    "selection_candidates": 3,
    "explanation_words": 1,
    "picture_size": 8,
    "picture_code_count": 2,
    "bpe_vocabulary": 300,  # 256 bytes, the marks, and some words
    "cross_attention_every": 1,
    "visual_latents": 1,
    "resampler_layers": 1,
}
_LOWEST_OR_NONE = {"task_cases": 1, "max_batch_tokens": 1}


def check_unimp_settings(settings: dict[str, Any]) -> None:
    """Refuse values out of range and settings that contradict each other; spell out the tasks.

    Args:
        settings: all settings; ``tasks`` becomes the list of full names.

    Raises:
        ValueError: Naming key, value and remedy.
    """
    tasks = settings["tasks"] = task_names(settings["tasks"])
    settings["image_attention"] = settings["image_attention"] or "none"  # the command line reads the word as None
    for key, choices in _CHOICES.items():
        _require(settings[key] in choices, settings, key, f"one of {', '.join(map(str, choices))}")
    for key, low in _LOWEST.items():
        _require(_is_whole(settings[key], low), settings, key, f"a whole number >= {low}")
    for key, low in _LOWEST_OR_NONE.items():
        value = settings[key]
        _require(value is None or _is_whole(value, low), settings, key, f"None or a whole number >= {low}")
    _require(_is_number(settings["focal_gamma"]), settings, "focal_gamma", "a number >= 0")
    fields = settings["text_fields"]
    legal = isinstance(fields, dict) and all(_is_whole(most, 1) for most in fields.values())
    _require(bool(fields) and legal, settings, "text_fields", "columns of .item with the most tokens of each, >= 1")
    weights = settings["task_weights"]
    legal = isinstance(weights, dict) and set(weights) <= set(TASKS)
    legal = legal and all(_is_number(weight) and weight > 0 for weight in weights.values())
    _require(legal, settings, "task_weights", f"weights > 0 by task name: {', '.join(TASKS)}")
    source = settings["language_model"]
    _require(source is None or isinstance(source, str), settings, "language_model", "None, a path or a hub name")
    _require(settings["lm_training"] in TRAINING_MODES, settings, "lm_training", f"one of {', '.join(TRAINING_MODES)}")
    LanguageModelSettings.from_config(settings)
    if settings["picture_codec"]:
        _require(Path(settings["picture_codec"]).is_dir(), settings, "picture_codec", "a folder that exists")
    if settings["selection_by"] == "likelihood" and "selection" in tasks and "recommendation" not in tasks:
        raise ValueError("selection_by: likelihood needs recommendation among the tasks; add it, or take marks")
    if settings["semantic_ids"] and settings["item_ids"] == "atomic":
        raise ValueError("semantic_ids: atomic item_ids would ignore the file; leave one of the two out")
    if settings["compile"]:
        raise ValueError("compile: True means nothing to UniMP; leave it out")
    if "search" in tasks and set(settings["eval_args"]["mode"].values()) != {"full"}:
        raise ValueError(
            f"eval_args: mode {settings['eval_args']['mode']['test']}: search ranks all items, because its query tells "
            "of the target; use mode full or leave search out of tasks"
        )


def _require(legal: bool, settings: dict[str, Any], key: str, rule: str) -> None:
    if not legal:
        raise ValueError(f"{key}: {settings[key]!r} must be {rule}")


def _is_whole(value: Any, low: int) -> bool:
    return type(value) is int and value >= low


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf
