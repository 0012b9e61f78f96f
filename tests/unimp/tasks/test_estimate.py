"""Intervals: they hold the truth as often as they say, and give every system the same resamples."""

import numpy as np
import pytest

from recbole_mgr.unimp.tasks.estimate import estimate


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
