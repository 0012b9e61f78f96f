"""Rules that involve two of UniMP's settings or more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole_mgr.integration.validation import require
from recbole_mgr.unimp.language_model import LanguageModelSettings
from recbole_mgr.unimp.tasks import TASKS, task_names


def check_unimp_settings(settings: dict[str, Any]) -> None:
    """Refuse settings that contradict each other; spell out the tasks.

    Args:
        settings: all settings; ``tasks`` becomes the list of full names.

    Raises:
        ValueError: Naming key, value and remedy.
    """
    tasks = settings["tasks"] = task_names(settings["tasks"])
    require(bool(settings["text_fields"]), settings, "text_fields", "at least one column of .item")
    known = set(settings["task_weights"]) <= set(TASKS)
    require(known, settings, "task_weights", f"weights > 0 by task name: {', '.join(TASKS)}")
    LanguageModelSettings.from_config(settings)  # which checks them
    if settings["task_sampling"] == "staged" and settings["epochs"] < len(tasks):
        raise ValueError(
            f"epochs: {settings['epochs']} leave the last of {len(tasks)} tasks without a stage under task_sampling: "
            "staged; raise epochs or train fewer tasks"
        )
    longest = settings["MAX_ITEM_LIST_LENGTH"]
    rule = f"at most MAX_ITEM_LIST_LENGTH: {longest}, which RecBole's evaluation reads"
    require(settings["history_items"] <= longest, settings, "history_items", rule)
    if settings["image_features"] and settings["image_attention"] != "none" and not settings["language_model"]:
        layers = settings["n_layers"]
        rule = f"at most n_layers: {layers}, as the layers that see pictures are some of these"
        require(settings["cross_attention_every"] <= layers, settings, "cross_attention_every", rule)
    if settings["picture_codec"]:
        require(Path(settings["picture_codec"]).is_dir(), settings, "picture_codec", "a folder that exists")
    if settings["initial_run"]:
        require(Path(settings["initial_run"]).is_dir(), settings, "initial_run", "a run directory that exists")
        if settings["semantic_ids"]:
            raise ValueError(
                "semantic_ids: with initial_run its quantisers give the items their IDs; leave one of the two out"
            )
    for name in tasks:
        TASKS[name].check_settings(settings)
    if settings["semantic_ids"] and settings["item_ids"] == "atomic":
        raise ValueError("semantic_ids: atomic item_ids would ignore the file; leave one of the two out")
    for key, task, use in (
        ("query_words", "search", "ranks what is searched for"),
        ("rating_bias", "preference", "starts ratings"),
        ("bert_score", "explanation", "scores explanations"),
        ("picture_codec", "image_generation", "draws pictures"),
    ):
        if settings[key] and task not in tasks:
            raise ValueError(f"{key}: it {use}, and tasks: {', '.join(tasks)} has no {task}; leave it out")
    prior = next((name for name in ("memory", "popularity") if settings[name]), None)
    if prior and "recommendation" not in tasks and not settings["query_words"]:
        raise ValueError(
            f"{prior}: it ranks what is recommended, and tasks: {', '.join(tasks)} has no recommendation; leave it out"
        )
    if settings["compile"]:
        raise ValueError("compile: True means nothing to UniMP; leave it out")
