"""The result of a run, as its run directory keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mgr.data.arrays import read_arrays
from recbole_mgr.documents import read_json, read_yaml
from recbole_mgr.files import replacing, write_text
from recbole_mgr.serving.run_files import ABOUT_FILE, check_file, mending, record_files

_RESULT_FILE, _RANKING_FILE = "result.json", "ranking.npz"
_ARRAYS = ("ranks", "ranks_masked", "users", "targets", "repeated")


@dataclass
class RunResult:
    """One model, one seed.

    Attributes:
        data: label of the data set, e.g. ``Beauty (synthetic sample)``.
        label, model, seed: the row, the class and the random seed.
        valid: best validation metrics, the ones the checkpoint was chosen by.
        test, test_masked: item-level metrics over all users, seen items allowed / kept out.
        id_level: share of users whose target's codes (whole ID before dedup, each modality) are hit at k; not masked.
        ranks, ranks_masked: [n] rank of each user's target, 0 beyond max(topk).
        users, targets: [n] tokens.
        repeated: bool [n], whether the target stands in the user's history already; None in results of release 0.1.
        semantic_ids: what the row's semantic IDs are like: ``colliding`` (share of items that share their codes),
            ``used`` (share of the codes), ``user_supplied``; empty for models without.
        num_items: ranked candidates, the items that occur in ``.inter``.
        epochs, train_seconds, test_seconds, parameters: costs.
        alignment: LF++'s cross-modal retrieval accuracy before and after its stage.
        settings, environment: everything needed to run it again.
        tasks: UniMP's further tasks, each a :class:`~recbole_mgr.integration.task_results.TaskResult` as plain data.
        notes: what a table says below about the row.
    """

    data: str
    label: str
    model: str
    seed: int
    valid: dict[str, float]
    test: dict[str, float]
    test_masked: dict[str, float]
    id_level: dict[str, float]
    ranks: np.ndarray
    ranks_masked: np.ndarray
    users: np.ndarray
    targets: np.ndarray
    num_items: int
    epochs: int
    train_seconds: float
    test_seconds: float
    parameters: int
    alignment: dict[str, float]
    settings: dict[str, Any]
    environment: dict[str, str]
    tasks: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repeated: np.ndarray | None = None
    semantic_ids: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether a test has left its result in ``folder``."""
        return (folder / _RESULT_FILE).is_file()

    def save(self, folder: Path, run_dir: Path | None = None) -> None:
        """Write ``ranking.npz``, then ``result.json``, whose presence says that the test is finished.

        Args:
            folder: where to.
            run_dir: the run directory, which notes the files' digests; ``folder`` itself by default.
        """
        with replacing(folder / _RANKING_FILE) as path:
            known = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
            np.savez_compressed(path, **known)
        write_text(folder / _RESULT_FILE, json.dumps(self.plain(), indent=2, default=float) + "\n")
        run_dir = run_dir or folder
        names = (folder.relative_to(run_dir) / name for name in (_RANKING_FILE, _RESULT_FILE))
        record_files(run_dir, [name.as_posix() for name in names])

    def plain(self) -> dict[str, Any]:
        """The result without its arrays, as plain data."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in _ARRAYS}

    @classmethod
    def load(cls, folder: Path, run_dir: Path | None = None) -> RunResult:
        """Read back what :meth:`save` wrote.

        Raises:
            ValueError: Naming a damaged file and the command that tests the run again.
        """
        run_dir = run_dir or folder
        remedy = mending(run_dir)
        if (run_dir / ABOUT_FILE).is_file():
            about = read_yaml(run_dir / ABOUT_FILE, remedy=remedy)
            for name in (_RANKING_FILE, _RESULT_FILE):
                check_file(run_dir, about, (folder.relative_to(run_dir) / name).as_posix(), remedy=remedy)
        content = read_json(folder / _RESULT_FILE, remedy=remedy)
        arrays = read_arrays(folder / _RANKING_FILE, remedy=remedy)
        try:
            result = cls(**content, **{name: arrays[name] for name in _ARRAYS if name in arrays})
        except TypeError as error:
            raise ValueError(f"{folder / _RESULT_FILE}: this file is damaged ({error}); {remedy}") from error
        lengths = {array.shape for name, array in arrays.items() if name in _ARRAYS}
        if len(lengths) > 1:
            raise ValueError(f"{folder / _RANKING_FILE}: this file is damaged (arrays of different lengths); {remedy}")
        return result
