"""What UniMP is asked: one file per task, their estimates and their tables.

Adding a task: a class in a file here, a line in ``TASKS``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_mgr.unimp.personal_data import PersonalData
    from recbole_mgr.unimp.tasks.task import Task

_PACKAGE = "recbole_mgr.unimp.tasks"
TASKS: dict[str, str] = {
    "recommendation": f"{_PACKAGE}.recommendation:RecommendationTask",
    "search": f"{_PACKAGE}.search:SearchTask",
    "preference": f"{_PACKAGE}.preference:PreferenceTask",
    "explanation": f"{_PACKAGE}.explanation:ExplanationTask",
    "selection": f"{_PACKAGE}.selection:SelectionTask",
    "image_generation": f"{_PACKAGE}.image_generation:ImageGenerationTask",
}
_SHORT_NAMES = {"rec": "recommendation", "image": "image_generation"}


def task_names(value: str | Sequence[str]) -> list[str]:
    """The full names in a value of the setting ``tasks``, in the order of ``TASKS``.

    Args:
        value: names or short names (``rec``, ``image``), as a list or as words parted by ``,`` or ``+``.

    Raises:
        ValueError: If a name is unknown or stands twice, or none is given.
    """
    words = value.replace("+", ",").split(",") if isinstance(value, str) else list(value)
    names = [_SHORT_NAMES.get(word.strip(), word.strip()) for word in words]
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"tasks: {value!r} must name one or more of {', '.join(TASKS)}, each once (rec, image for short)"
        )
    return [name for name in TASKS if name in names]


def make_tasks(names: Sequence[str], data: PersonalData, settings: Mapping[str, Any]) -> list[Task]:
    """The tasks of these full names; raises ValueError naming the first task that the data cannot serve."""
    return [task_class(name)(data, settings) for name in names]


def instructions() -> list[str]:
    """The sentences that all tasks ask with, for the tokenizer to know their words."""
    return [task_class(name).instruction for name in TASKS]


def task_class(name: str) -> type[Task]:
    """The class of a task by its full name."""
    module, class_name = TASKS[name].split(":")
    return getattr(importlib.import_module(module), class_name)
