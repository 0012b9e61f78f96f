"""Overlap of correct predictions, counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from recbole_mgr.reporting.analysis.overlap import overlap
from recbole_mgr.run.comparison import Comparison


def result(label: str, ranks: list[int], users: str = "abcde") -> SimpleNamespace:
    return SimpleNamespace(
        label=label, ranks=np.array(ranks), users=np.array(list(users)), settings={"topk": [5, 10]}, num_items=20
    )


def overlap_of(*results):
    return overlap(Comparison(None, list(results)))


def test_sets_are_exclusive_and_cover_all_users():
    found = overlap_of(result("A", [1, 0, 3, 0, 0]), result("B", [2, 10, 0, 0, 11]), result("C", [9, 0, 0, 0, 0]))
    assert found.k == 10
    assert found.exclusive == {
        (): pytest.approx(0.4),  # d, and e, whom B finds too late
        ("A", "B", "C"): pytest.approx(0.2),
        ("B",): pytest.approx(0.2),
        ("A",): pytest.approx(0.2),
    }
    assert list(found.exclusive)[0] == ()


def test_pairs_are_jaccard_and_coverage():
    found = overlap_of(result("A", [1, 2, 3, 0, 0]), result("B", [2, 0, 0, 4, 0]))
    assert found.jaccard[0, 1] == found.jaccard[1, 0] == pytest.approx(1 / 4)
    assert (found.covered[0, 1], found.covered[1, 0]) == (pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert np.isnan(found.jaccard[0, 0])  # one seed


def test_seeds_are_averaged_and_compared_with_themselves():
    found = overlap_of(
        result("A", [1, 0, 0, 0, 0]),
        result("A", [1, 1, 0, 0, 0]),
        result("B", [1, 0, 0, 0, 0]),
        result("B", [0, 0, 1, 0, 0]),
    )
    assert found.jaccard[0, 1] == pytest.approx((1 + 0) / 2)
    assert (found.jaccard[0, 0], found.jaccard[1, 1]) == (pytest.approx(1 / 2), 0)
    assert found.exclusive[("A", "B")] == pytest.approx(0.1)
    assert sum(found.exclusive.values()) == pytest.approx(1)


def test_users_are_matched_by_token():
    found = overlap_of(result("A", [1, 1, 0, 0, 0]), result("B", [0, 0, 0, 1, 1], users="edcba"))
    assert found.jaccard[0, 1] == 1


def test_nobody_found_is_no_overlap():
    found = overlap_of(result("A", [0] * 5), result("B", [0] * 5))
    assert found.exclusive == {(): 1.0} and found.jaccard[0, 1] == 0
