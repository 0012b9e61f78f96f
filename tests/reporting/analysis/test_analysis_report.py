"""What analysis.md shows of long tables."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from made_results import make_result

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.reporting.analysis.report import Analysis, analyse, write_analyses
from recbole_mgr.run.comparison import Comparison


def test_long_tables_are_cut_in_markdown_and_whole_in_csv(tmp_path):
    comparison = SimpleNamespace(
        provenance=SimpleNamespace(label="Tiny", fingerprint="f0"),
        rows={"A": [SimpleNamespace(model="TIGER", seed=1)]},
        results=[SimpleNamespace(users=["u1", "u2"])],
    )
    tables = [Analysis(f"of_{n}", f"Of {n}", "", [{"set": f"s{i}"} for i in range(n)], None) for n in (30, 33)]
    text = write_analyses(comparison, tables, tmp_path)
    assert text.count("| s") == 30 + 30 + 2 and "| s29 |" in text and "| s30 |" not in text
    assert "more rows in of_30.csv" not in text and "3 more rows in of_33.csv" in text
    with (tmp_path / "of_33.csv").open() as file:
        assert [row["set"] for row in csv.DictReader(file)] == [f"s{i}" for i in range(33)]


def test_runs_that_do_not_recommend_are_told_so():
    result = make_result("UniMP", ranks=np.empty(0, dtype=np.int64))
    with pytest.raises(ValueError, match="none of these runs recommends"):
        analyse(Comparison(Provenance("tiny", "f0", {}), [result]), [], num_users=5)
