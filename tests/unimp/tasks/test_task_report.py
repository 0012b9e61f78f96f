"""Tables of task results, and the way to JSON and back."""

import json
import math

import pytest

from recbole_mgr.unimp.tasks.estimate import Estimate
from recbole_mgr.unimp.tasks.report import from_plain, plain, task_tables
from recbole_mgr.unimp.tasks.task import TaskResult

RESULT = TaskResult(
    task="explanation",
    cases=1234,
    metrics={"bleu": Estimate(31.5, 30.0, 33.25), "distinct_2": Estimate(0.5, math.nan, math.nan)},
    baselines={"a review": {"bleu": Estimate(1.0, 0.5, 1.5), "distinct_2": Estimate(math.nan, math.nan, math.nan)}},
    notes=["Higher is better."],
)


def test_a_table_has_a_row_for_the_model_and_each_baseline():
    assert task_tables([RESULT], label="UniMP small").splitlines() == [
        "### Task: explanation (1,234 cases, 95 % intervals over cases)",
        "",
        "| | bleu ↑ | distinct_2 ↑ |",
        "|---|---|---|",
        "| UniMP small | 31.5000 [30.0000, 33.2500] | 0.5000 |",
        "| a review | 1.0000 [0.5000, 1.5000] | none |",
        "",
        "- Higher is better.",
    ]


def test_errors_are_better_when_low():
    errors = RESULT._replace(task="preference", metrics={"rmse": Estimate(1, 0.5, 1.5)}, baselines={})
    assert "| | rmse ↓ |" in task_tables([errors])


def test_several_tasks_are_parted_by_a_blank_line():
    assert task_tables([RESULT, RESULT]).count("\n\n### Task") == 1


def test_json_and_back():
    stored = json.dumps(plain(RESULT), allow_nan=False)
    back = from_plain(json.loads(stored))
    assert back._replace(metrics={}, baselines={}) == RESULT._replace(metrics={}, baselines={})
    assert back.metrics["bleu"] == RESULT.metrics["bleu"]
    assert math.isnan(back.metrics["distinct_2"].low)
    assert back.baselines["a review"]["distinct_2"] == pytest.approx((math.nan,) * 3, nan_ok=True)
    assert task_tables([back]) == task_tables([RESULT])
