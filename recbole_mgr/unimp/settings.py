"""What UniMP's settings may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_mgr.integration.validation import is_number, is_whole, require, require_choice, require_whole_numbers
from recbole_mgr.unimp.language_model import LanguageModelSettings
from recbole_mgr.unimp.rows import CLOSING_SEES, IMAGE_ATTENTION
from recbole_mgr.unimp.tasks import TASKS, task_names

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
_LOWEST_OR_NONE = {"task_cases": 1, "max_batch_tokens": 1, "epoch_rows": 1}


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
        require_choice(settings, key, choices)
    require_whole_numbers(settings, _LOWEST)
    for key, low in _LOWEST_OR_NONE.items():
        value = settings[key]
        require(value is None or is_whole(value, low), settings, key, f"None or a whole number >= {low}")
    gamma = settings["focal_gamma"]
    require(is_number(gamma) and gamma >= 0, settings, "focal_gamma", "a number >= 0")
    start = settings["gate_start"]
    require(start is None or (is_number(start) and start >= 0), settings, "gate_start", "None or a number >= 0")
    fields = settings["text_fields"]
    legal = isinstance(fields, dict) and all(is_whole(most, 1) for most in fields.values())
    require(bool(fields) and legal, settings, "text_fields", "columns of .item with the most tokens of each, >= 1")
    weights = settings["task_weights"]
    legal = isinstance(weights, dict) and set(weights) <= set(TASKS)
    legal = legal and all(is_number(weight) and weight > 0 for weight in weights.values())
    require(legal, settings, "task_weights", f"weights > 0 by task name: {', '.join(TASKS)}")
    source = settings["language_model"]
    require(source is None or isinstance(source, str), settings, "language_model", "None, a path or a hub name")
    LanguageModelSettings.from_config(settings)  # which checks them
    if settings["task_sampling"] == "staged" and settings["epochs"] < len(tasks):
        raise ValueError(
            f"epochs: {settings['epochs']} leave the last of {len(tasks)} tasks without a stage under task_sampling: "
            "staged; raise epochs or train fewer tasks"
        )
    longest = settings["MAX_ITEM_LIST_LENGTH"]
    rule = f"at most MAX_ITEM_LIST_LENGTH: {longest}, which RecBole's evaluation reads"
    require(settings["history_items"] <= longest, settings, "history_items", rule)
    if settings["picture_codec"]:
        require(Path(settings["picture_codec"]).is_dir(), settings, "picture_codec", "a folder that exists")
    for name in tasks:
        TASKS[name].check_settings(settings)
    if settings["semantic_ids"] and settings["item_ids"] == "atomic":
        raise ValueError("semantic_ids: atomic item_ids would ignore the file; leave one of the two out")
    if settings["compile"]:
        raise ValueError("compile: True means nothing to UniMP; leave it out")
