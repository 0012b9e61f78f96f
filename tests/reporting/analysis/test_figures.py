"""Figures show what they are given."""

import numpy as np

from recbole_mgr.reporting.analysis.figures import MOST_SETS, upset
from recbole_mgr.reporting.analysis.overlap import Overlap


def test_users_whom_nobody_finds_are_told_in_the_title_and_no_bar():
    nothing = np.zeros((2, 2))
    figure = upset(Overlap(["A", "B"], 10, {(): 0.7, ("A", "B"): 0.2, ("B",): 0.1}, nothing, nothing), "Found")
    bars, *dots = figure.data
    assert list(bars.y) == [0.2, 0.1] and list(bars.text) == ["20.00%", "10.00%"]
    assert figure.layout.title.text == "Found (none finds 70.0% of users)"
    assert [len(set(row.marker.color)) for row in dots] == [2, 1]  # A is in one of the sets, B in both


def test_the_largest_sets_are_shown():
    labels = [f"v{n}" for n in range(MOST_SETS + 3)]
    sets = {(label,): 0.01 for label in labels}
    figure = upset(Overlap(labels, 10, sets, np.zeros((1, 1)), np.zeros((1, 1))), "Found")
    assert len(figure.data[0].y) == MOST_SETS
