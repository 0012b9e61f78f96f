"""Finished runs, as their run directories tell of them."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.data.semantic_id_file import TableFile, read_table_file
from recbole_mgr.documents import read_yaml
from recbole_mgr.integration.registry import is_generative
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.identity import EVALUATIONS, apart, run_of_result, training_digest_of
from recbole_mgr.run.results import RunResult
from recbole_mgr.run.table_page import RUNS_FILE
from recbole_mgr.serving.run_files import SETTINGS_FILE, TABLE_FILE


class FinishedRun(NamedTuple):
    """A run directory and what was measured; ``semantic_ids`` is None for models that generate no semantic IDs."""

    folder: Path
    result: RunResult
    semantic_ids: TableFile | None

    def labelled(self, label: str) -> FinishedRun:
        """The same run under another label."""
        return self._replace(result=dataclasses.replace(self.result, label=label))


def read_runs(paths: Sequence[Path]) -> tuple[Comparison, list[FinishedRun]]:
    """Read the finished runs of one table.

    Args:
        paths: run directories; folders with run directories somewhere below; or folders of an experiment's table, whose
            ``runs.tsv`` names its runs and their labels.

    Returns:
        Their comparison, and the runs, both in the order of ``paths``.

    Raises:
        ValueError: For a path without finished runs, or runs of different data, targets or protocols.
    """
    folders: dict[Path, str | None] = {}  # run directory -> label, where a table gives one
    for path in paths:
        found = _labelled(path) if (path / RUNS_FILE).is_file() else dict.fromkeys(_below(path))
        if not found:
            raise ValueError(
                f"{path}: no finished run is here or below (result.json); name run directories "
                f"(saved/<data>/<model>/seed-<n>), or the folder of a table with its {RUNS_FILE}"
            )
        folders.update(found)
    runs = [_read(folder, label) for folder, label in folders.items()]
    if not any(folders.values()):  # no table says which belong together, and results are named by their models
        labels = apart([run.result.label for run in runs], [training_digest_of(run.folder) for run in runs])
        runs = [run.labelled(label) for run, label in zip(runs, labels, strict=True)]
    data = list(dict.fromkeys(run.result.data for run in runs))
    if len(data) > 1:
        raise ValueError(f"the runs are of different data: {', '.join(data)}; analyse each table for itself")
    about = read_yaml(runs[0].folder / SETTINGS_FILE, remedy="copy the run directory again")
    comparison = Comparison(
        Provenance(data[0], str(about["data_fingerprint"]), details={}), [run.result for run in runs]
    )
    comparison.check_same_targets()
    return comparison, runs


def _below(path: Path) -> list[Path]:
    """Run directories with a result of the evaluation that they were trained with."""
    return sorted(file.parent for file in path.rglob("result.json") if file.parent.parent.name != EVALUATIONS)


def _labelled(path: Path) -> dict[Path, str]:
    try:
        with open(path / RUNS_FILE, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path / RUNS_FILE}: not readable ({error}); run the experiment again") from error
    for number, row in enumerate(rows, start=2):
        if not row.get("label") or not row.get("run_dir"):
            raise ValueError(f"{path / RUNS_FILE}, line {number}: no label or run_dir; run the experiment again")
        if not RunResult.exists(Path(row["run_dir"])):
            raise ValueError(f"{path / RUNS_FILE}: {row['run_dir']} is gone; run the experiment again")
    return {Path(row["run_dir"]): row["label"] for row in rows}


def _read(folder: Path, label: str | None) -> FinishedRun:
    # a table's row may be another evaluation of a run, which stands below the run directory
    run_dir = run_of_result(folder)
    result = RunResult.load(folder, run_dir)
    semantic_ids = read_table_file(run_dir / TABLE_FILE) if is_generative(result.model) else None
    run = FinishedRun(run_dir, result, semantic_ids)
    return run if label is None else run.labelled(label)
