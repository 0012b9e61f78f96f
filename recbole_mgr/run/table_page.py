"""A comparison as a page that people read and as files that machines read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from recbole_mgr.cleaners import for_csv, for_markdown
from recbole_mgr.files import write_text
from recbole_mgr.integration.environment import HEADLINE
from recbole_mgr.integration.task_results import from_plain, task_tables
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.results import RunResult

RUNS_FILE = "runs.tsv"
RUNS_HEADER = ("label", "seed", "run_dir")


def markdown(comparison: Comparison) -> str:
    """The tables with their protocol, tests and provenance, as Markdown."""
    provenance = comparison.provenance
    lines = [f"### {for_markdown(provenance.label)}", ""]
    for rows in (comparison.accuracy_table(), comparison.target_table(), comparison.cost_table()):
        lines += _table(rows)
    if comparison.ranked:
        lines += [f"- {note}" for note in _notes(comparison)]
    found = comparison.results[0].environment
    environment = ", ".join(for_markdown(f"{key} {found[key]}") for key in HEADLINE if key in found)
    source = for_markdown(str(provenance.details.get("source", "no provenance file")))
    lines += [
        f"- Data: {source} (fingerprint {provenance.fingerprint}).",
        f"- {environment}; {datetime.now(timezone.utc):%Y-%m-%d}.",
    ]
    for run in comparison.results:
        if run.tasks:
            label = run.label if len(comparison.rows.get(run.label, [])) < 2 else f"{run.label}, seed {run.seed}"
            lines += ["", task_tables([from_plain(task) for task in run.tasks], label)]
    return "\n".join(lines) + "\n"


def save(comparison: Comparison, folder: Path) -> None:
    """Write ``table.md``, ``table.csv`` and ``table.json`` into ``folder``, each atomically; where it is known in which
    folders the results stand, ``runs.tsv``, too."""
    rows = comparison.full_table()
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=["Data", *_columns(rows)], restval="", lineterminator="\n")
    writer.writeheader()
    rows = [{"Data": comparison.provenance.label, **row} for row in rows]
    writer.writerows({column: for_csv(cell) for column, cell in row.items()} for row in rows)
    content = {
        "data": comparison.provenance._asdict(),
        "paired_tests_of_last_row": {label: test._asdict() for label, test in comparison.paired_tests().items()},
        "runs": [result.plain() for result in comparison.results],
    }
    write_text(folder / "table.md", markdown(comparison))
    write_text(folder / "table.csv", buffer.getvalue())
    write_text(folder / "table.json", json.dumps(content, indent=2, default=str) + "\n")
    if comparison.folders:
        runs = zip(comparison.results, comparison.folders, strict=True)
        write_runs(folder, [(result.label, result.seed, place) for result, place in runs])


def write_runs(folder: Path, runs: Sequence[tuple[str, int, Path]]) -> None:
    """Write ``runs.tsv``, by which a table's folder stands for its runs: their labels, seeds and folders."""
    lines = ["\t".join(RUNS_HEADER), *(f"{label}\t{seed}\t{place.resolve()}" for label, seed, place in runs)]
    write_text(folder / RUNS_FILE, "\n".join(lines) + "\n")


def _table(rows: list[dict[str, str]]) -> list[str]:
    if not rows:
        return []
    columns = _columns(rows)
    return [
        "| " + " | ".join(map(for_markdown, columns)) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(for_markdown(row.get(column, "")) for column in columns) + " |" for row in rows),
        "",
    ]


def _columns(rows: list[dict[str, str]]) -> list[str]:
    """All columns in the order of the row that has most of them."""
    longest = max(rows, key=len, default={})
    return list(dict.fromkeys([*longest, *(column for row in rows for column in row)]))


def _notes(comparison: Comparison) -> list[str]:
    first, cut = comparison.ranked[0], comparison.cut
    protocol = first.settings["eval_args"]
    ranked = f"all {first.num_items:,} items"
    if protocol["mode"]["test"] != "full":
        ranked = f"it and sampled items ({protocol['mode']['test']})"
    most = max(comparison.rows.values(), key=len)  # floors have one seed
    seeds, several = ", ".join(str(run.seed) for run in most), len(most) > 1
    notes = [
        f"Item-level, {len(first.users):,} users, one target each, ranked among {ranked}, split {protocol['split']}. "
        f"Seeds: {seeds}{' (mean ± SD over seeds)' if several else ''}. *± 95 %*: of NDCG@{cut}, over users.",
        *_target_notes(comparison),
        *_selection_notes(comparison),
        *_semantic_id_notes(comparison),
    ]
    last = for_markdown(list(comparison.rows)[-1])
    for label, test in comparison.paired_tests().items():
        notes.append(
            f"{last} against {for_markdown(label)}: NDCG@{cut} {test.difference:+.4f} per user (95 % bootstrap "
            f"interval {test.low:+.4f} to {test.high:+.4f}, Wilcoxon p = {test.p_value:.2g}, not masked)."
        )
    for label, runs in comparison.rows.items():
        label = for_markdown(label)
        notes += _notes_of_row(label, runs)
        if runs[0].alignment:
            before, after = (f"{np.mean([run.alignment[when] for run in runs]):.4f}" for when in ("before", "after"))
            notes.append(f"{label}: cross-modal retrieval accuracy {before} before alignment, {after} after.")
    return notes


def _notes_of_row(label: str, runs: list[RunResult]) -> list[str]:
    """What the runs of a row say of themselves, with the seeds where not all say the same."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        for note in run.notes:
            seeds.setdefault(note, []).append(run.seed)
    notes = []
    for note, of in seeds.items():
        whose = "" if len(of) == len(runs) else f", seed{'s' * (len(of) > 1)} {', '.join(map(str, of))}"
        notes.append(f"{label}{whose}: {for_markdown(note)}.")
    return notes


def _target_notes(comparison: Comparison) -> list[str]:
    """What the masked columns leave out, and how many targets repeat the history."""
    masked = "*masked*: items that the user already has are kept out of the lists"
    repeated = comparison.repeated
    if repeated is None or not repeated.any():
        return [f"{masked}."]
    count, share = int(repeated.sum()), float(repeated.mean())
    return [
        f"{count:,} of {len(repeated):,} targets ({share:.1%}) repeat an item of their user's history; the second "
        "table has both groups, not masked.",
        f"{masked}; those columns count the users with a new target alone."
        if count < len(repeated)
        else "No masked columns: no user has a new target.",
    ]


def _selection_notes(comparison: Comparison) -> list[str]:
    """How the tested checkpoint of each row was chosen."""
    groups: dict[str, list[str]] = {}
    for label, runs in comparison.rows.items():
        groups.setdefault(_selection(runs[0]), []).append(label)
    return [
        f"{for_markdown(', '.join(labels)) if len(groups) > 1 else 'Checkpoints'}: {for_markdown(how)}."
        for how, labels in groups.items()
    ]


def _selection(run: RunResult) -> str:
    settings = run.settings
    if not run.valid:
        return "not chosen by validation, for there was none; the last epoch was tested"
    if len(settings.get("tasks") or []) > 1:
        return "chosen on validation only, by the geometric mean of the losses of all tasks"
    users = settings.get("valid_users")
    sample = f" of a fixed sample of {users} users" if users else ""
    masked = ", seen items masked" if settings["mask_history"] else ""
    return f"chosen on validation only, by {settings['valid_metric']}{sample}{masked}"


def _semantic_id_notes(comparison: Comparison) -> list[str]:
    if not any(run.id_level for run in comparison.results):
        return []
    notes = [
        f"*id*, *<modality>*@{comparison.cut}: the target's codes (whole semantic ID before dedup, one modality's "
        f"part) are among the list's first {comparison.cut} distinct ones. Beside the item-level metrics, never "
        "instead. "
        "*Collide*: items whose codes another item has, too; a last digit tells them apart."
    ]
    supplied = [label for label, runs in comparison.rows.items() if runs[0].semantic_ids.get("user_supplied")]
    if supplied:
        notes.append(f"User-supplied semantic IDs: {for_markdown(', '.join(supplied))}.")
    return notes
