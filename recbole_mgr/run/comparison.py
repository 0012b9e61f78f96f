"""Results compared: one table over models and seeds, tested pairwise per user."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.run.results import RunResult
from recbole_mgr.run.statistics import PairedTest, half_width, hits_and_gains, paired_test


class Comparison:
    """The table of several models on one data set and split.

    Args:
        provenance: of the data.
        results: one per row and seed, in the order of the table.
        folders: where each of them stands, if that is known.
    """

    def __init__(self, provenance: Provenance, results: list[RunResult], folders: Sequence[Path] = ()) -> None:
        self.provenance = provenance
        self.folders = folders
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

    def paired_tests(self) -> dict[str, PairedTest]:
        """The last row against each other one: label of the other row -> test of NDCG at :attr:`cut`, not masked."""
        labels = list(self.rows)
        if not labels:
            return {}
        _, last = self.per_user(labels[-1])
        return {label: paired_test(last, self.per_user(label)[1]) for label in labels[:-1]}

    def per_user(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """Recall and NDCG at :attr:`cut` of each user, float64 [n] each, averaged over a row's seeds, users sorted."""
        values = []
        for run in self.rows[label]:
            order = np.argsort(run.users)
            values.append([value[order] for value in hits_and_gains(run.ranks, self.cut)])
        recall, ndcg = np.mean(values, axis=0)
        return recall, ndcg

    @property
    def repeated(self) -> np.ndarray | None:
        """Which targets repeat their user's history, bool [n], users sorted; None where nobody recorded it."""
        known = [run for run in self.ranked if run.repeated is not None]
        return known[0].repeated[np.argsort(known[0].users)] if known else None

    def accuracy_table(self) -> list[dict[str, str]]:
        """One dict per row: column -> text, mean ± standard deviation where there are several seeds.

        The last column is the validation by which rows may be chosen, as the test must not be.
        """
        shown = [f"{metric}@{self.cut}" for metric in ("recall", "ndcg")]
        rows = []
        for label, runs in self.rows.items():
            row = {"Model": label}
            for name, values in self._metrics(runs).items():
                if name.removesuffix(" masked") in shown:
                    row[name] = _mean_sd(values)
                if name == shown[1]:
                    row["± 95 %"] = f"{half_width(self.per_user(label)[1]):.4f}"
            if all(shown[1] in run.valid for run in runs):
                row[f"valid {shown[1]}"] = _mean_sd([run.valid[shown[1]] for run in runs])
            rows.append(row)
        return rows

    def target_table(self) -> list[dict[str, str]]:
        """Accuracy on targets that repeat an item of the history and on new ones; empty where no target repeats."""
        repeated = self.repeated
        if repeated is None or not repeated.any():
            return []
        rows = []
        for label in self.rows:
            row = {"Model": label}
            for name, group in (("repeated", repeated), ("new", ~repeated)):
                for metric, values in zip(("recall", "ndcg"), self.per_user(label), strict=True):
                    row[f"{metric}@{self.cut} {name}"] = f"{values[group].mean():.4f}" if group.any() else ""
            rows.append(row)
        return rows

    def cost_table(self) -> list[dict[str, str]]:
        """What a row's semantic IDs are like and what it cost: hits on IDs, collisions, code use, time."""
        rows = []
        for label, runs in self.rows.items():
            first, row = runs[0], {"Model": label}
            for key in first.id_level:
                if key.endswith(f"@{self.cut}"):
                    row[key] = _mean_sd([run.id_level[key] for run in runs])
            if first.semantic_ids:
                row["Collide"] = f"{first.semantic_ids['colliding']:.1%}"
                row["Code use"] = f"{first.semantic_ids['used']:.0%}"
            row["Weights"] = f"{first.parameters:,}"
            row["Epochs"] = "/".join(str(run.epochs) for run in runs)
            row["Train s"] = "/".join(f"{run.train_seconds:.0f}" for run in runs)
            row["ms/user"] = "/".join(f"{1000 * run.test_seconds / len(run.users):.1f}" for run in runs)
            rows.append(row)
        return rows

    def full_table(self) -> list[dict[str, str]]:
        """Every metric and cost, for the files that machines read."""
        targets = {row["Model"]: row for row in self.target_table()}
        return [
            {
                "Model": label,
                **{name: _mean_sd(values) for name, values in self._metrics(runs).items()},
                **{name: text for name, text in accuracy.items() if name.startswith(("±", "valid"))},
                **targets.get(label, {}),
                **cost,
            }
            for (label, runs), accuracy, cost in zip(
                self.rows.items(), self.accuracy_table(), self.cost_table(), strict=True
            )
        ]

    @staticmethod
    def _metrics(runs: list[RunResult]) -> dict[str, list[float]]:
        """Column -> one value per seed: item-level metrics first, ID-level ones last."""
        columns = {key: [run.test[key] for run in runs] for key in runs[0].test}
        columns.update({f"{key} masked": [run.test_masked[key] for run in runs] for key in runs[0].test_masked})
        columns.update({key: [run.id_level[key] for run in runs] for key in runs[0].id_level})
        return columns


def _marked(result: RunResult) -> RunResult:
    """A fit that has seen the validation interactions says so in its label, whatever the row is called."""
    mark = "refitted with validation"
    if not result.settings.get("refit_on_validation") or mark in result.label:
        return result
    return dataclasses.replace(result, label=f"{result.label} ({mark})")


def _mean_sd(values: list[float]) -> str:
    mean = float(np.mean(values))
    return f"{mean:.4f}" if len(values) == 1 else f"{mean:.4f} ± {np.std(values, ddof=1):.4f}"
