"""Intervals hold the truth as often as they say; tables of task results, and the way to JSON and back."""

import json
import math

import numpy as np
import pytest

from recbole_mgr.integration.task_results import Estimate, TaskResult, estimate, from_plain, plain, task_tables


def test_the_interval_is_that_of_the_normal_law_for_many_cases():
    values = np.random.default_rng(3).normal(2, 3, 900)
    result = estimate(values)
    assert result.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / np.sqrt(900)
    assert result.high - result.value == pytest.approx(half, rel=0.15)
    assert result.value - result.low == pytest.approx(half, rel=0.15)


def test_it_covers_the_truth_in_about_95_of_100_samples():
    rng = np.random.default_rng(0)
    intervals = [estimate(rng.exponential(1, 100)) for _ in range(60)]
    assert sum(low <= 1 <= high for _, low, high in intervals) >= 50


def test_a_metric_of_the_mean():
    errors = np.array([0.0, 4.0, 16.0])
    result = estimate(errors, np.sqrt)
    assert result.value == pytest.approx(np.sqrt(20 / 3))
    assert 0 <= result.low < result.value < result.high <= 4


def test_a_ratio_of_two_statistics():
    counts = np.array([[1, 2], [3, 4], [0, 6]])
    assert estimate(counts, lambda mean: mean[0] / mean[1]).value == pytest.approx(4 / 12)


def test_systems_are_resampled_alike():
    values = np.random.default_rng(1).random(50)
    first, shifted = estimate(values), estimate(values + 1)
    assert shifted == pytest.approx([bound + 1 for bound in first])


def test_equal_cases_leave_no_doubt_and_none_are_refused():
    assert estimate([2.0, 2.0]) == (2, 2, 2)
    with pytest.raises(ValueError, match="no case"):
        estimate([])


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
    errors = RESULT._replace(metrics={"rmse": Estimate(1, 0.5, 1.5)}, baselines={}, lower_is_better=("rmse",))
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
