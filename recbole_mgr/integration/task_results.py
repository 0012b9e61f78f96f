"""Results of tasks beside recommendation: estimates with intervals, as tables and as plain data.

A trainer's ``evaluate_tasks`` returns them (`ComparableTrainer`), a result keeps them, a table shows them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from recbole_mgr.cleaners import for_markdown

_RESAMPLES = 1000


class Estimate(NamedTuple):
    """A metric and its 95 % bootstrap interval over the cases; ``low`` and ``high`` are NaN where there is none."""

    value: float
    low: float
    high: float


class TaskResult(NamedTuple):
    """A task's metrics beside those of its baselines; ``cases`` counts the questions all of them answered."""

    task: str
    cases: int
    metrics: dict[str, Estimate]
    baselines: dict[str, dict[str, Estimate]]
    notes: list[str]
    lower_is_better: Collection[str] = ()  # names of metrics


def estimate(
    statistics: np.ndarray, metric: Callable[[np.ndarray], float | np.ndarray] = lambda mean: mean
) -> Estimate:
    """A metric that is a function of the cases' mean, with its percentile bootstrap interval.

    Every call draws the same resamples for the same number of cases, so that a model and its baselines are resampled
    alike.

    Args:
        statistics: [n] or [n, F] numbers of each case, n >= 1.
        metric: of the mean ([] or [F]) of the statistics; the mean itself by default.

    Raises:
        ValueError: If there is no case.
    """
    statistics = np.asarray(statistics, dtype=np.float64)
    if not len(statistics):
        raise ValueError("no case to estimate a metric from; the data leave this task none")
    generator = np.random.default_rng(0)
    count = len(statistics)
    resampled = [
        float(metric(statistics[generator.integers(count, size=count)].mean(axis=0))) for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(float(metric(statistics.mean(axis=0))), float(low), float(high))


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
    return {
        **result._asdict(),
        "lower_is_better": list(result.lower_is_better),
        "metrics": _plain_metrics(result.metrics),
        "baselines": baselines,
    }


def from_plain(data: Mapping[str, Any]) -> TaskResult:
    """The result that :func:`plain` wrote."""
    baselines = {name: _metrics(metrics) for name, metrics in data["baselines"].items()}
    lower = tuple(data.get("lower_is_better", ()))
    return TaskResult(
        **{**data, "metrics": _metrics(data["metrics"]), "baselines": baselines, "lower_is_better": lower}
    )


def _table(result: TaskResult, label: str) -> str:
    names = list(result.metrics)
    arrows = [f"{name} {'↓' if name in result.lower_is_better else '↑'}" for name in names]
    lines = [
        f"### Task: {for_markdown(result.task)} ({result.cases:,} cases, 95 % intervals over cases)",
        "",
        "| | " + " | ".join(map(for_markdown, arrows)) + " |",
        "|" + "---|" * (1 + len(names)),
    ]
    for row, metrics in {label: result.metrics, **result.baselines}.items():
        lines.append(f"| {for_markdown(row)} | " + " | ".join(_cell(metrics[name]) for name in names) + " |")
    return "\n".join([*lines, "", *(f"- {for_markdown(note)}" for note in result.notes), ""])


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
