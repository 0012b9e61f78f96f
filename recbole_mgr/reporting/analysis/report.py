"""All analyses of some runs: tables as Markdown and CSV, figures as pages."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from recbole_mgr.cleaners import for_csv, for_markdown
from recbole_mgr.files import write_text
from recbole_mgr.reporting.analysis.cross_modal import CrossModalAccuracy, cross_modal_accuracies
from recbole_mgr.reporting.analysis.dominance import agreements
from recbole_mgr.reporting.analysis.figures import grouped_bars, upset, write_figure
from recbole_mgr.reporting.analysis.overlap import overlap
from recbole_mgr.reporting.analysis.runs import FinishedRun
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.semantic_id.report import AMI_ITEMS

_ROWS_SHOWN = 30  # of a table in analysis.md; its CSV has all


class Analysis(NamedTuple):
    """One table, what it says, and its figure; no rows where the runs do not allow it."""

    name: str
    title: str
    note: str
    rows: list[dict[str, str]]
    figure: go.Figure | None


def analyse(comparison: Comparison, runs: Sequence[FinishedRun], *, num_users: int) -> list[Analysis]:
    """Make all analyses.

    Args:
        comparison, runs: from `recbole_mgr.reporting.analysis.runs.read_runs`.
        num_users: of the cross-modal accuracy, which asks the networks.

    Raises:
        ValueError: If no run recommends.
    """
    if not comparison.ranked:
        raise ValueError("none of these runs recommends, so there are no lists to analyse; name others")
    return [_dominance(runs), *_overlaps(comparison), _correspondence(comparison), _cross_modal(runs, num_users)]


def write_analyses(comparison: Comparison, analyses: Sequence[Analysis], folder: Path) -> str:
    """Write ``analysis.md`` and a CSV file and a page for each analysis.

    Returns:
        The content of ``analysis.md``.
    """
    provenance = comparison.provenance
    lines = [f"## Analyses: {for_markdown(provenance.label)}", ""]
    for label, runs in comparison.rows.items():
        lines.append(
            f"- {for_markdown(label)}: {for_markdown(runs[0].model)}, seeds {', '.join(str(run.seed) for run in runs)}"
        )
    lines += ["", f"Data fingerprint {provenance.fingerprint}; {len(comparison.results[0].users):,} users.", ""]
    for analysis in analyses:
        lines += [f"### {analysis.title}", "", analysis.note, ""]
        if not analysis.rows:
            lines += ["*Not among these runs.*", ""]
            continue
        columns = list(dict.fromkeys(column for row in analysis.rows for column in row))
        lines += ["| " + " | ".join(map(for_markdown, columns)) + " |", "|" + "---|" * len(columns)]
        shown = analysis.rows[:_ROWS_SHOWN]
        lines += ["| " + " | ".join(for_markdown(row.get(column, "")) for column in columns) + " |" for row in shown]
        lines.append("")
        if len(analysis.rows) > len(shown):
            lines += [f"{len(analysis.rows) - len(shown)} more rows in {analysis.name}.csv", ""]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(for_csv, columns))
        writer.writerows([for_csv(row.get(column, "")) for column in columns] for row in analysis.rows)
        write_text(folder / f"{analysis.name}.csv", buffer.getvalue())
        if analysis.figure:
            write_figure(analysis.figure, folder / f"{analysis.name}.html")
            lines += [f"[Figure]({analysis.name}.html)", ""]
    text = "\n".join(lines)
    write_text(folder / "analysis.md", text)
    return text


def _dominance(runs: Sequence[FinishedRun]) -> Analysis:
    found = agreements(runs)
    rows = [
        {
            "Quantiser": entry.quantizer,
            "IDs": f"{entry.one} against {entry.other}",
            "Level": str(entry.level),
            "AMI of the level": _mean_sd(entry.code),
            "AMI of the prefix": _mean_sd(entry.prefix),
            "Quantiser seeds": str(len(entry.code)),
        }
        for entry in found
    ]
    levels = sorted({entry.level for entry in found})
    series: dict[str, list[tuple[float, float]]] = {}
    for entry in found:
        name = f"{entry.one} against {entry.other} ({entry.quantizer})"
        series.setdefault(name, [(math.nan, math.nan)] * len(levels))[entry.level - 1] = _mean_and_sd(entry.code)
    title = "Modality dominance: adjusted mutual information of IDs"
    note = (
        "0 = as by chance, 1 = the same. *Level*: the codes of this level alone; *prefix*: all codes up to it (near 0 "
        f"wherever nearly every item has a prefix of its own). More than {AMI_ITEMS:,} items: a fixed sample of them."
    )
    figure = grouped_bars(title, "AMI of the level", [f"level {level}" for level in levels], series) if found else None
    return Analysis("modality_dominance", title, note, rows, figure)


def _overlaps(comparison: Comparison) -> list[Analysis]:
    found = overlap(comparison)
    sets = [
        {
            "Found by": " + ".join(names) or "none",
            "Not by": " + ".join(label for label in found.labels if label not in names) or "-",
            "Share of users": f"{share:.4f}",
        }
        for names, share in found.exclusive.items()
    ]
    pairs = []
    for row, label in enumerate(found.labels):
        cells = {"Found by": label}
        for column, other in enumerate(found.labels):
            jaccard, covered = found.jaccard[row, column], found.covered[row, column]
            cells[other] = "one seed" if math.isnan(jaccard) else f"{jaccard:.3f} / {covered:.3f}"
        pairs.append(cells)
    title = f"Correct predictions: targets among the first {found.k}"
    return [
        Analysis(
            "overlap_sets",
            f"{title}, by exactly which variants",
            "Shares over users (seen items allowed), averaged over seeds, largest first; they add up to 1.",
            sets,
            upset(found, title),
        ),
        Analysis(
            "overlap_pairs",
            f"{title}, pairwise",
            "Users found by both / by either, and share of the row's users that the column finds too. On the diagonal: "
            "two seeds of the same variant, so what retraining alone changes.",
            pairs,
            None,
        ),
    ]


def _correspondence(comparison: Comparison) -> Analysis:
    rows, series = [], {}
    k = comparison.cut
    for label, runs in comparison.rows.items():
        parts = [name.removesuffix(f"@{k}") for name in runs[0].id_level if name.endswith(f"@{k}")]
        if len(parts) < 2:  # one modality is the whole ID
            continue
        row = {"Model": label}
        for part in parts:
            name = "full ID" if part == "id" else f"{part} codes only"
            values = [run.id_level[f"{part}@{k}"] for run in runs]
            row[name] = _mean_sd(values)
            series.setdefault(name, {})[label] = _mean_and_sd(values)
        rows.append(row)
    title = f"Modality correspondence: hits among the first {k} distinct IDs"
    labels = [row["Model"] for row in rows]
    bars = {name: [values.get(label, (math.nan, math.nan)) for label in labels] for name, values in series.items()}
    note = (
        "The same ranked lists, scored by the target's whole semantic ID (before the dedup digit) and by the codes of "
        "one modality alone. Codes that more items share are easier to hit."
    )
    return Analysis(
        "modality_correspondence", title, note, rows, grouped_bars(title, "hit rate", labels, bars) if rows else None
    )


def _cross_modal(runs: Sequence[FinishedRun], num_users: int) -> Analysis:
    found: dict[tuple[str, str], list[CrossModalAccuracy]] = {}
    for run in runs:
        if run.semantic_ids is not None and len(run.semantic_ids.blocks) > 1:
            for entry in cross_modal_accuracies(run.folder, run.result.users, num_users=num_users):
                found.setdefault((run.result.label, entry.modality), []).append(entry)
    columns = {
        "first code, free": "first_free",
        "all codes, free": "all_free",
        "targets with a choice": "with_choice",
        "all codes, legal, where there is a choice": "all_legal",
    }
    rows = [
        {
            "Model": label,
            "Modality": modality,
            **{name: _mean_sd([getattr(e, field) for e in entries]) for name, field in columns.items()},
        }
        for (label, modality), entries in found.items()
    ]
    title = "Cross-modal code accuracy"
    bars = {
        name: [_mean_and_sd([getattr(e, field) for e in entries]) for entries in found.values()]
        for name, field in columns.items()
        if field != "with_choice"
    }
    categories = [f"{label}: {modality}" for label, modality in found]
    note = (
        f"At most {num_users:,} users, the same for all. After a user's history, the target's codes of all modalities "
        "before this one are given, and the most likely code is taken digit by digit: among all codes (*free*), or "
        "among those with which an item exists (*legal*), counted where more than one continuation exists. A model "
        "trained with `code_softmax: legal` was never taught what the catalogue leaves no choice about, so its *free* "
        "columns say little."
    )
    return Analysis(
        "cross_modal", title, note, rows, grouped_bars(title, "share right", categories, bars) if rows else None
    )


def _mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _mean_sd(values: Sequence[float]) -> str:
    mean, deviation = _mean_and_sd(values)
    if math.isnan(mean):
        return "-"
    return f"{mean:.4f}" if math.isnan(deviation) else f"{mean:.4f} ± {deviation:.4f}"
