"""Task results as tables that people read and as data that files keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_mgr.unimp.tasks import task_class
from recbole_mgr.unimp.tasks.estimate import Estimate
from recbole_mgr.unimp.tasks.task import TaskResult


def task_tables(results: Sequence[TaskResult], label: str = "UniMP") -> str:
    """One Markdown table a task: the model's row, those of the baselines, and notes; arrows point to the better side.

    Args:
        results: of any tasks.
        label: the name of the model's row.
    """
    return "\n".join(_table(result, label) for result in results)


def plain(result: TaskResult) -> dict[str, Any]:
    """A result as data that JSON can hold; bounds that do not exist are None."""
    baselines = {name: _plain_metrics(metrics) for name, metrics in result.baselines.items()}
    return {**result._asdict(), "metrics": _plain_metrics(result.metrics), "baselines": baselines}


def from_plain(data: Mapping[str, Any]) -> TaskResult:
    """The result that :func:`plain` wrote."""
    baselines = {name: _metrics(metrics) for name, metrics in data["baselines"].items()}
    return TaskResult(**{**data, "metrics": _metrics(data["metrics"]), "baselines": baselines})


def _table(result: TaskResult, label: str) -> str:
    names = list(result.metrics)
    higher_is_better = task_class(result.task).higher_is_better
    arrows = [f"{name} {'↑' if higher_is_better.get(name, True) else '↓'}" for name in names]
    lines = [
        f"### Task: {result.task} ({result.cases:,} cases, 95 % intervals over cases)",
        "",
        "| | " + " | ".join(arrows) + " |",
        "|" + "---|" * (1 + len(names)),
    ]
    for row, metrics in {label: result.metrics, **result.baselines}.items():
        lines.append(f"| {row} | " + " | ".join(_cell(metrics[name]) for name in names) + " |")
    return "\n".join([*lines, "", *(f"- {note}" for note in result.notes), ""])


def _cell(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "none"
    if math.isnan(estimate.low):
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _plain_metrics(metrics: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    return {
        name: {key: None if math.isnan(number) else number for key, number in estimate._asdict().items()}
        for name, estimate in metrics.items()
    }


def _metrics(data: Mapping[str, Mapping[str, float | None]]) -> dict[str, Estimate]:
    return {
        name: Estimate(**{key: math.nan if number is None else number for key, number in estimate.items()})
        for name, estimate in data.items()
    }
