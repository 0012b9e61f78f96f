import numpy as np
import pytest
from made_results import make_result

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.reporting.pages import sequences as facts_of
from recbole_mgr.reporting.pages.comparison_facts import accuracy_by_group, gains, hits, row_facts
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.statistics import bootstrap_means

FOUND, LOST = [1] * 40, [0] * 40


def comparison(*results):
    return Comparison(Provenance("tiny", "0" * 12, {}), list(results))


def test_gains_average_seeds_for_each_user():
    half = [1] * 20 + [2] * 20
    table = comparison(
        make_result("A", 1, ranks=half), make_result("A", 2, ranks=LOST), make_result("B", 1, ranks=FOUND)
    )
    assert gains(table)["A"].tolist() == pytest.approx([0.5] * 20 + [0.5 / np.log2(3)] * 20)
    assert hits(table)["A"].tolist() == [0.5] * 40
    assert gains(table)["B"].tolist() == [1.0] * 40


def test_users_are_matched_by_name_and_not_by_place():
    other = make_result("B", 1, ranks=range(40))
    other.ranks, other.users, other.targets = other.ranks[::-1], other.users[::-1], other.targets[::-1]
    table = comparison(make_result("A", 1, ranks=range(40)), other)
    assert gains(table)["A"].tolist() == gains(table)["B"].tolist()


def test_rows_against_the_last_one():
    table = comparison(make_result("A", ranks=LOST), make_result("B", ranks=[1, 0] * 20), make_result("C", ranks=FOUND))
    first, second, last = row_facts(table)
    assert first.difference == (1.0, 1.0, 1.0)
    assert second.difference.mean == 0.5
    assert 0.3 < second.difference.low < 0.5 < second.difference.high < 0.7
    assert last.difference is None
    assert last.ndcg == (1.0, 1.0, 1.0)
    assert first.milliseconds == pytest.approx(2.6 * 1000 / 40)
    assert first.ndcg_masked == pytest.approx(0.2)


def test_bootstrap_agrees_with_the_known_standard_error():
    values = np.random.default_rng(1).normal(size=(400, 1))
    assert bootstrap_means(values).std() == pytest.approx(values.std() / 20, rel=0.1)


def test_groups():
    sequences = {
        "ann": np.array([0, 1, 0, 1]),  # training 0 1; the target repeats
        "bob": np.array([2, 0, 0, 1]),  # training 2 0; the step 0 -> 1 was seen, by Ann
        "cyd": np.array([3, 4]),  # no training; nobody has taken 4
        "dee": np.array([0, 1, 0]),  # training 0; not tested
    }
    tested = facts_of.tested_users(sequences, ["ann", "bob", "cyd"], [1, 1, 4], 5)
    assert tested.training_counts.tolist() == [3, 1, 1, 0, 0]
    groups = {
        question: {name: rows.tolist() for name, rows in answers.items()}
        for question, answers in facts_of.groups_of(tested).items()
    }
    assert groups["Target"] == {
        "repeats an item of the history": [True, False, False],
        "new to the user": [False, True, True],
    }
    assert groups["Step from the last item to the target"] == {
        "seen in training": [True, True, False],
        "never seen in training": [False, False, True],
    }
    assert groups["Interactions of the target in training"] == {
        "none (a cold item)": [False, False, True],
        "1": [True, True, False],
    }
    assert groups["Length of the history"] == {"1": [False, False, True], "3": [True, True, False]}
    by_group = accuracy_by_group({"A": np.array([1.0, 0.0, 0.5])}, facts_of.groups_of(tested)["Target"])
    assert [interval.mean for interval in by_group["A"]] == [1.0, 0.25]


@pytest.mark.parametrize("targets", [[1, 1, 3], [0, 1, 4]])
def test_another_split_has_no_groups(targets):
    sequences = {"ann": np.array([0, 1]), "bob": np.array([0, 1]), "cyd": np.array([3, 4])}
    assert facts_of.tested_users(sequences, ["ann", "bob", "cyd"], targets, 5) is None
    assert facts_of.tested_users(sequences, ["eve"], [1], 5) is None
