"""What UniMP is asked: one file per task, their estimates and their tables.

Adding a task: a class in a file here, which says all that is particular to it, and its name in ``TASKS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tasks.explanation import ExplanationTask
from recbole_mgr.unimp.tasks.image_generation import ImageGenerationTask
from recbole_mgr.unimp.tasks.preference import PreferenceTask
from recbole_mgr.unimp.tasks.recommendation import RecommendationTask
from recbole_mgr.unimp.tasks.search import SearchTask
from recbole_mgr.unimp.tasks.selection import SelectionTask
from recbole_mgr.unimp.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (RecommendationTask, SearchTask, PreferenceTask, ExplanationTask, SelectionTask, ImageGenerationTask)
}


def task_names(value: str | Sequence[str]) -> list[str]:
    """The full names in a value of the setting ``tasks``, in the order of ``TASKS``.

    Args:
        value: names or short names (``rec``, ``image``), as a list or as words parted by ``,`` or ``+``.

    Raises:
        ValueError: If a name is unknown or stands twice, or none is given.
    """
    words = value.replace("+", ",").split(",") if isinstance(value, str) else list(value)
    short_names = {task.short_name: name for name, task in TASKS.items() if task.short_name}
    names = [short_names.get(word.strip(), word.strip()) for word in words]
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"tasks: {value!r} must name one or more of {', '.join(TASKS)}, each once "
            f"({', '.join(short_names)} for short)"
        )
    return [name for name in TASKS if name in names]


def make_tasks(names: Sequence[str], data: PersonalData, settings: Mapping[str, Any]) -> list[Task]:
    """The tasks of these full names; raises ValueError naming the first task that the data cannot serve."""
    return [TASKS[name](data, settings) for name in names]


def needs_of(names: Iterable[str]) -> frozenset[str]:
    """What the tasks of these full names read beside items and histories: ratings, reviews, pictures."""
    return frozenset().union(*(TASKS[name].needs for name in names))


def ranking_tasks(names: Iterable[str]) -> list[str]:
    """Those of the full names whose answer is a ranked list of items."""
    return [name for name in names if TASKS[name].tested_as != "answers"]


def instructions() -> list[str]:
    """The sentences that all tasks ask with, for the tokenizer to know their words."""
    return [task.instruction for task in TASKS.values()]
