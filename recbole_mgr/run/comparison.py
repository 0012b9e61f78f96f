"""Results compared: one table over models and seeds, tested pairwise per user."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
from recbole.utils import ModelType

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.files import write_text
from recbole_mgr.integration.task_results import from_plain, task_tables
from recbole_mgr.run.results import RunResult


class PairedTest(NamedTuple):
    """Per-user difference in NDCG@k of one row against another, seeds averaged first.

    Attributes:
        difference: mean.
        low, high: 95 % bootstrap interval over users.
        p_value: of the Wilcoxon signed-rank test (two-sided); 1 where no user differs.
    """

    difference: float
    low: float
    high: float
    p_value: float


class Comparison:
    """The table of several models on one data set and split.

    Args:
        provenance: of the data.
        results: one per row and seed, in the order of the table.
    """

    def __init__(self, provenance: Provenance, results: list[RunResult]) -> None:
        self.provenance = provenance
        self.results = [_marked(result) for result in results]
        self.ranked = [result for result in self.results if len(result.users)]  # UniMP may learn other tasks alone
        self.rows: dict[str, list[RunResult]] = {}
        for result in self.ranked:
            self.rows.setdefault(result.label, []).append(result)

    def check_same_targets(self) -> None:
        """Every model of a table must have been tested on the same target per user, by the same protocol.

        Raises:
            ValueError: Naming the two rows and what differs: the number of candidates, the protocol, or a user.
        """
        if not self.ranked:
            return
        first = self.ranked[0]
        for result in self.ranked[1:]:
            for key in ("eval_args", "topk"):
                if result.settings[key] != first.settings[key]:
                    raise ValueError(
                        f"{first.label} and {result.label} differ in {key}: {first.settings[key]} and "
                        f"{result.settings[key]}; give it once, as --{key}"
                    )
            if result.num_items != first.num_items:
                raise ValueError(
                    f"{first.label} ranked {first.num_items} items, {result.label} {result.num_items}; filters must be "
                    "the same for all models of a table"
                )
        reference = dict(zip(first.users.tolist(), first.targets.tolist(), strict=True))
        for result in self.ranked[1:]:
            other = dict(zip(result.users.tolist(), result.targets.tolist(), strict=True))
            if other != reference:
                differing = {user for user, _ in other.items() ^ reference.items()}
                user = min(differing)
                raise ValueError(
                    f"{first.label} and {result.label} were not tested on the same targets: {len(differing)} users "
                    f"differ, e.g. user {user}: {reference.get(user)} and {other.get(user)}. RecBole's general and "
                    "sequential models split users with few interactions differently: set "
                    '--user_inter_num_interval="[4,inf)"'
                )

    @property
    def cut(self) -> int:
        """The k of headline metrics and paired tests: 10, or the deepest that all rows have where 10 is not in topk."""
        cuts = [result.settings["topk"] for result in self.ranked]
        return 10 if all(10 in topk for topk in cuts) else min(map(max, cuts))

    def paired_tests(self, draws: int = 2000) -> dict[str, PairedTest]:
        """The last row against each other one: label of the other row -> test of NDCG at :attr:`cut`, not masked."""
        from scipy.stats import wilcoxon

        labels = list(self.rows)
        if not labels:
            return {}
        last = self._ndcg_per_user(labels[-1])
        tests = {}
        for label in labels[:-1]:
            other = self._ndcg_per_user(label)
            difference = np.array([last[user] - other[user] for user in sorted(last)])
            difference = difference.round(12)  # what rounding leaves of equal means is no difference
            generator = np.random.default_rng(0)
            # resampling users with replacement = multinomial weights; blocks bound the memory
            n = len(difference)
            means = np.concatenate(
                [generator.multinomial(n, np.full(n, 1 / n), size=100) @ difference / n for _ in range(draws // 100)]
            )
            low, high = np.quantile(means, [0.025, 0.975])
            p_value = float(wilcoxon(difference).pvalue) if difference.any() else 1.0
            tests[label] = PairedTest(float(difference.mean()), float(low), float(high), p_value)
        return tests

    def _ndcg_per_user(self, label: str) -> dict[str, float]:
        runs = self.rows[label]
        total: dict[str, float] = dict.fromkeys(runs[0].users.tolist(), 0.0)
        for run in runs:
            gain = np.where((run.ranks > 0) & (run.ranks <= self.cut), 1 / np.log2(np.maximum(run.ranks, 1) + 1), 0.0)
            for user, value in zip(run.users.tolist(), gain.tolist(), strict=True):
                total[user] += value / len(runs)
        return total

    def table(self, *, full: bool = False) -> list[dict[str, str]]:
        """One dict per row: column -> text, mean ± standard deviation where there are several seeds.

        Args:
            full: every metric, not the headline ones alone.
        """
        rows = []
        for label, runs in self.rows.items():
            row = {"Model": label}
            for name, values in self._metrics(runs).items():
                if full or self._is_headline(name):
                    row[name] = _mean_sd(values)
            row["Parameters"] = f"{runs[0].parameters:,}"
            row["Epochs"] = "/".join(str(run.epochs) for run in runs)
            row["Train s"] = "/".join(f"{run.train_seconds:.0f}" for run in runs)
            row["Test s"] = "/".join(f"{run.test_seconds:.0f}" for run in runs)
            rows.append(row)
        return rows

    def _is_headline(self, column: str) -> bool:
        metric, _, rest = column.partition("@")
        if not rest:  # has no cut-off
            return True
        return metric != "mrr" and (
            rest.removesuffix(" masked") == str(self.cut) or (rest == "5" and metric in ("recall", "ndcg"))
        )

    @staticmethod
    def _metrics(runs: list[RunResult]) -> dict[str, list[float]]:
        """Column -> one value per seed: item-level metrics first, ID-level ones last."""
        columns = {key: [run.test[key] for run in runs] for key in runs[0].test}
        columns.update({f"{key} masked": [run.test_masked[key] for run in runs] for key in runs[0].test_masked})
        columns.update({key: [run.id_level[key] for run in runs] for key in runs[0].id_level})
        return columns

    def markdown(self) -> str:
        """The table with its protocol, tests and provenance, as Markdown."""
        rows = self.table()
        columns = _columns(rows)
        lines = [f"### {self.provenance.label}", ""]
        if rows:
            lines += [
                "| " + " | ".join(columns) + " |",
                "|" + "---|" * len(columns),
                *("| " + " | ".join(row.get(column, "") for column in columns) + " |" for row in rows),
                "",
                *self._notes(),
            ]
        source = self.provenance.details.get("source", "no provenance file")
        environment_text = ", ".join(f"{key} {value}" for key, value in self.results[0].environment.items())
        lines += [
            f"- Data: {source} (fingerprint {self.provenance.fingerprint}).",
            f"- {environment_text}; {datetime.now(timezone.utc):%Y-%m-%d}.",
            *self._task_tables(),
        ]
        return "\n".join(lines) + "\n"

    def _task_tables(self) -> list[str]:
        tables = []
        for run in self.results:
            if run.tasks:
                label = run.label if len(self.rows.get(run.label, [])) < 2 else f"{run.label}, seed {run.seed}"
                tables += ["", task_tables([from_plain(task) for task in run.tasks], label)]
        return tables

    def _notes(self) -> list[str]:
        first = self.ranked[0]
        seeds = ", ".join(str(run.seed) for run in self.rows[first.label])
        protocol = first.settings["eval_args"]
        ranked = f"all {first.num_items:,} items"
        if protocol["mode"]["test"] != "full":
            ranked = f"it and sampled items ({protocol['mode']['test']})"
        notes = [
            f"- Item-level, {len(first.users):,} users, one target each, ranked among {ranked}, split "
            f"{protocol['split']}; seen items allowed, except in the columns marked masked. Checkpoints chosen on "
            f"validation only ({first.settings['valid_metric']}{self._validation_protocol()}). Seeds: {seeds}"
            + (" (mean ± SD)." if len(self.rows[first.label]) > 1 else ".")
        ]
        if any(run.id_level for run in self.results):
            notes.append(
                f"- *id*, *<modality>*@{self.cut}: the target's codes (whole semantic ID before dedup, one modality's "
                f"part) are among the list's first {self.cut} distinct ones. Beside the item-level metrics, never "
                "instead."
            )
        if len(self.rows) > 1:
            last = list(self.rows)[-1]
            notes += [
                f"- {last} against {label}: NDCG@{self.cut} {test.difference:+.4f} per user (95 % bootstrap interval "
                f"{test.low:+.4f} to {test.high:+.4f}, Wilcoxon p = {test.p_value:.2g}, not masked)."
                for label, test in self.paired_tests().items()
            ]
        for label, runs in self.rows.items():
            notes += [f"- {label}: {note}." for note in dict.fromkeys(note for run in runs for note in run.notes)]
            if runs[0].alignment:
                before = _mean_sd([run.alignment["before"] for run in runs])
                after = _mean_sd([run.alignment["after"] for run in runs])
                notes.append(f"- {label}: cross-modal retrieval accuracy {before} before alignment, {after} after.")
        return notes

    def _validation_protocol(self) -> str:
        """Who validated, and whose seen items were masked: RecBole masks for all models but sequential ones."""
        several_tasks = {r.label: None for r in self.results if len(r.settings.get("tasks") or []) > 1}
        samples = {str(r.settings.get("valid_users") or "all") for r in self.results if r.label not in several_tasks}
        sampled = f"; on a fixed sample of {' or '.join(sorted(samples))} users" if samples - {"all"} else ""
        if several_tasks:
            sampled += f"; {', '.join(several_tasks)} on the geometric mean of the losses of all tasks"
        masked = {
            result.label: None
            for result in self.results
            if result.settings["mask_history"] or result.settings["MODEL_TYPE"] != str(ModelType.SEQUENTIAL)
        }
        return sampled + (f"; seen items masked there for {', '.join(masked)}" if masked else "")

    def save(self, folder: Path) -> None:
        """Write ``table.md``, ``table.csv`` and ``table.json`` into ``folder``, each atomically."""
        rows = self.table(full=True)
        columns = _columns(rows)
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, fieldnames=["Data", *columns], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"Data": self.provenance.label, **row} for row in rows)
        content = {
            "data": self.provenance._asdict(),
            "paired_tests_of_last_row": {label: test._asdict() for label, test in self.paired_tests().items()},
            "runs": [result.plain() for result in self.results],
        }
        write_text(folder / "table.md", self.markdown())
        write_text(folder / "table.csv", buffer.getvalue())
        write_text(folder / "table.json", json.dumps(content, indent=2, default=str) + "\n")


def _marked(result: RunResult) -> RunResult:
    """A fit that has seen the validation interactions says so in its label, whatever the row is called."""
    mark = "refitted with validation"
    if not result.settings.get("refit_on_validation") or mark in result.label:
        return result
    return dataclasses.replace(result, label=f"{result.label} ({mark})")


def _columns(rows: list[dict[str, str]]) -> list[str]:
    """All columns in the order of the row that has most of them."""
    longest = max(rows, key=len, default={})
    return list(dict.fromkeys([*longest, *(column for row in rows for column in row)]))


def _mean_sd(values: list[float]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.4f}" if len(values) == 1 else f"{mean:.4f} ± {np.std(values, ddof=1):.4f}"
