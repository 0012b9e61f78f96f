"""Running an experiment: what is not done yet, in order, with the table written anew after each run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from recbole_mgr.cleaners import print_line
from recbole_mgr.distributed import processes
from recbole_mgr.run.experiments.jobs import Jobs, run_side_by_side
from recbole_mgr.run.experiments.plan import Plan, PlannedRun
from recbole_mgr.run.experiments.report import write_report


def run_experiment(
    plan: Plan, results: Path, *, labels: Collection[str], seeds: Collection[int], jobs: Jobs | None = None
) -> Path:
    """Run or resume the runs of some rows and seeds that are not done, and the table's floors.

    Args:
        plan: the experiment.
        results: folder of tables.
        labels, seeds: which rows and seeds; the table shows whatever is done of the others too.
        jobs: how several runs are made at once; None makes one after the other, in this process.

    Returns:
        The table's folder below ``results``; it is up to date after each finished run.

    Raises:
        ValueError: For a label or seed that the experiment does not have, or what a run raises.
    """
    chosen = chosen_runs(plan, labels=labels, seeds=seeds)
    folder = results / plan.folder_name
    processes.on_owner(lambda: write_report(plan, folder))
    trackers = []

    def make(runs: Collection[PlannedRun]) -> None:
        for run in runs:
            if processes.on_owner(lambda run=run: run.done):
                continue
            if run in chosen:
                print_line(f"{plan.experiment.name}: {run.title}")
            trackers.append(run.run(plan.provenance))
            processes.on_owner(lambda: write_report(plan, folder))

    make(plan.floors)  # each command of a job would make them too
    if jobs is not None:
        run_side_by_side(chosen, jobs, folder / "logs", after_each=lambda: write_report(plan, folder))
    make(chosen)
    table = processes.on_owner(lambda: (folder / "table.md").read_text(encoding="utf-8"))
    for tracker in trackers:
        if tracker.has_begun:
            tracker.attach("table.md", table)
    return folder


def chosen_runs(plan: Plan, *, labels: Collection[str], seeds: Collection[int]) -> list[PlannedRun]:
    """The runs of some rows and seeds, in order.

    Raises:
        ValueError: For a label or seed that the experiment does not have.
    """
    _refuse_unknown("--rows", labels, [row.label for row in plan.experiment.rows])
    _refuse_unknown("--seeds", seeds, plan.experiment.seeds)
    return [run for run in plan.all_runs if run.row.label in labels and run.seed in seeds]


def _refuse_unknown(option: str, asked: Collection, known: Collection) -> None:
    unknown = [value for value in asked if value not in known]
    if unknown:
        raise ValueError(f"{option} {unknown[0]}: the experiment has {', '.join(map(str, known))}")
