"""Adjusted mutual information against scikit-learn's, and where its value is known."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from recbole_mgr.semantic_id.agreement import adjusted_mutual_information


@pytest.mark.parametrize("shared", [0, 0.5, 1])
@pytest.mark.parametrize("size, clusters", [(1, (1, 1)), (5, (5, 1)), (7, (3, 2)), (200, (3, 40)), (500, (400, 90))])
def test_it_is_that_of_scikit_learn(size, clusters, shared):
    rng = np.random.default_rng(size)
    for _ in range(10):
        one, other = (rng.integers(number, size=size) for number in clusters)
        other = np.where(rng.random(size) < shared, one, other)
        expected = adjusted_mutual_info_score(one, other)
        assert adjusted_mutual_information(one, other) == pytest.approx(expected, abs=1e-7)


def test_names_of_clusters_mean_nothing():
    one = np.array([0, 0, 1, 1, 2, 2, 2])
    assert adjusted_mutual_information(one, 10 - 3 * one) == 1


def test_one_cluster_of_all_tells_nothing_of_others():
    assert adjusted_mutual_information(np.zeros(6, dtype=int), np.array([0, 1, 2, 0, 1, 2])) == pytest.approx(0)
    assert adjusted_mutual_information(np.zeros(6, dtype=int), np.ones(6, dtype=int)) == 1


def test_a_report_imports_no_scikit_learn():
    program = (
        "import sys, numpy as np\n"
        "from recbole_mgr.semantic_id.report import table_report\n"
        "from recbole_mgr.semantic_id.table import SemanticIdTable\n"
        "blocks = {'text': np.array([[0], [1]]), 'image': np.array([[1], [0]])}\n"
        "assert table_report(SemanticIdTable.from_blocks(blocks, ['a', 'b']))['agreement']\n"
        "print('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout.split() == [b"False"]
