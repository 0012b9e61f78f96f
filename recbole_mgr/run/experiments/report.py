"""What is done of an experiment, as a table: means, paired tests, variances, and what is still missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from recbole_mgr.cleaners import for_markdown
from recbole_mgr.files import write_text
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.experiments.definition import BOTH, ONCE, PER_SEED
from recbole_mgr.run.experiments.plan import Plan, PlannedRun
from recbole_mgr.run.identity import OPERATIONAL
from recbole_mgr.run.results import RunResult
from recbole_mgr.run.table_page import markdown, save, write_runs


def write_report(plan: Plan, folder: Path) -> str:
    """Write ``table.md``, ``.csv``, ``.json`` and ``runs.tsv`` of the runs that are done.

    Args:
        plan: the experiment.
        folder: made if need be.

    Returns:
        The content of ``table.md``.

    Raises:
        ValueError: If runs were tested on different targets or by different protocols.
    """
    done = [run for run in [*plan.floors, *plan.runs] if run.done]
    comparison = None
    if done:
        comparison = Comparison(plan.provenance, _marked_results(plan, done))
        comparison.check_same_targets()
        save(comparison, folder)
        write_runs(folder, [(run.row.label, run.seed, run.result_dir) for run in done])
    text = _markdown(plan, comparison)
    write_text(folder / "table.md", text)
    return text


def _marked_results(plan: Plan, done: list[PlannedRun]) -> list[RunResult]:
    """Results row by row, floors first and the reference last, which `Comparison` tests against the others; rows
    without all seeds say so in their label."""
    total = len(plan.experiment.seeds)
    results = [run.result() for run in plan.floors if run.done]
    for row in sorted(plan.experiment.rows, key=lambda row: row.label == plan.experiment.reference):
        own = [run.result() for run in done if run.row == row]
        mark = "" if len(own) == total else f" ({len(own)} of {total} seeds)"
        results += [dataclasses.replace(result, label=row.label + mark) for result in own]
    return results


def _markdown(plan: Plan, comparison: Comparison | None) -> str:
    experiment = plan.experiment
    finished = sum(run.done for run in plan.all_runs)
    lines = [f"## {for_markdown(experiment.title)}", ""]
    if comparison:
        lines += [markdown(comparison)]
    lines += [f"- {finished} of {len(plan.all_runs)} runs are done.", *_missing(plan), _quantizer_policy(plan)]
    given = ", ".join(for_markdown(f"{key}={value}") for key, value in plan.given.items() if key not in OPERATIONAL)
    if given:
        lines.append(f"- Given on the command line, beside the experiment's file: {given}.")
    lines += ["", *(_variances(plan, comparison.cut) if comparison else []), "Rows:", ""]
    for row in experiment.rows:
        own = ", ".join(f"{key}: {value}" for key, value in row.settings.items()) or "no settings of its own"
        lines.append(f"- {for_markdown(row.label)}: {for_markdown(row.model)}, {for_markdown(own)}")
    shared = ", ".join(f"{key}: {value}" for key, value in experiment.settings.items())
    lines.append(f"- all: {for_markdown(shared) or 'no further settings'}")
    return "\n".join(lines) + "\n"


def _missing(plan: Plan) -> Iterable[str]:
    labels: dict[str, list[str]] = {}
    for row in plan.experiment.rows:
        seeds = [run.seed for run in plan.runs if run.row == row and not run.done]
        if seeds:
            labels.setdefault(", ".join(map(str, seeds)), []).append(for_markdown(row.label))
    for seeds, of in labels.items():  # labels may have commas
        yield f"- Not finished, seeds {seeds}: {'; '.join(of)}."
    missing = [run for run in plan.variance_runs if not run.done]
    if missing:
        yield f"- Not finished: {len(missing)} runs with a quantiser of their own."


def _quantizer_policy(plan: Plan) -> str:
    if not any(run.builds_semantic_ids for run in plan.runs):
        return "- A seed retrains the network alone: no row builds semantic IDs, they are user-supplied or not needed."
    return {
        ONCE: "- A seed retrains the network alone; one table of semantic IDs serves all seeds of a row.",
        PER_SEED: "- A seed retrains the quantisers and the network.",
        BOTH: "- A seed retrains the network alone in the table above; below, the quantisers too.",
    }[plan.experiment.retrain_quantizer]


def _variances(plan: Plan, cut: int) -> list[str]:
    """With ``retrain_quantizer: both``, the two standard deviations of each row that builds semantic IDs."""
    rows = list(dict.fromkeys(run.row.label for run in plan.variance_runs))
    if not rows:
        return []
    metrics = [f"{name}@{cut}" for name in ("recall", "ndcg")]
    policies = {"quantiser kept": plan.runs, "quantiser retrained": plan.variance_runs}
    columns = [f"{metric}, {policy}" for metric in metrics for policy in policies]
    lines = ["| Mean ± SD over seeds | " + " | ".join(columns) + " |", "|" + "---|" * (1 + len(columns))]
    for label in rows:
        cells = []
        for metric in metrics:
            for runs in policies.values():
                values = [run.result().test[metric] for run in runs if run.row.label == label and run.done]
                cells.append(_mean_sd(values))
        lines.append(f"| {for_markdown(label)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _mean_sd(values: list[float]) -> str:
    if not values:
        return "not run"
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread} ({len(values)} seeds)"
