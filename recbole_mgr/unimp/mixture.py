"""``TaskMixture``: which rows of which tasks an epoch is made of, in which order and batches.

All of it follows from the seed and the number of the epoch, so that a resumed run goes on with the very same rows.

Source: Wei et al., UniMP (arXiv 2403.10667): ``proportional`` is the reference code's concatenation of the tasks'
data, ``staged`` its curriculum (one more task each stage, a quarter of the earlier ones' rows replayed). ``uniform``,
and the batches of rows of similar length, are ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_mgr.unimp.rows import collate
from recbole_mgr.unimp.tasks.cases import Case
from recbole_mgr.unimp.tasks.task import Task

REPLAYED = 0.25
BATCHES_PER_POOL = 16  # rows laid out at once, and sorted by length


class TaskMixture:
    """Batches of all tasks of a run, epoch by epoch.

    Args:
        tasks: at least one; ``RowBatch.task`` counts in their order.
        settings: ``task_sampling``, ``epochs``, ``train_batch_size``, ``max_tokens``, ``max_batch_tokens`` and
            ``epoch_rows`` (most rows of a task in an epoch, drawn anew each time; None for all).
        seed: of the order.
        pad_token_id: of the tokenizer.

    Raises:
        ValueError: If not even one row of ``max_tokens`` fits ``max_batch_tokens``.
    """

    def __init__(self, tasks: Sequence[Task], settings: Mapping[str, Any], seed: int, *, pad_token_id: int) -> None:
        self.tasks, self.settings, self.seed = list(tasks), settings, seed
        self.pad_token_id = pad_token_id
        self.batch_rows = settings["train_batch_size"]
        if settings["max_batch_tokens"] is not None:
            self.batch_rows = min(self.batch_rows, settings["max_batch_tokens"] // settings["max_tokens"])
        if self.batch_rows < 1:
            raise ValueError(
                f"max_batch_tokens: {settings['max_batch_tokens']} has no room for one row of max_tokens "
                f"{settings['max_tokens']}; raise the one or lower the other"
            )

    def epoch(self, index: int) -> Batches:
        """The batches of the epoch ``index``, from 0."""
        generator = np.random.default_rng([self.seed, index])
        cases = [task.training_rows(index) for task in self.tasks]
        chosen = [
            (task, cases[task][row])
            for task, count in enumerate(self._counts([len(rows) for rows in cases], index))
            for row in _draw(len(cases[task]), count, generator)
        ]
        order = generator.permutation(len(chosen))
        return Batches(self, [chosen[place] for place in order], generator)

    def _counts(self, available: Sequence[int], epoch: int) -> list[int]:
        """Rows of each task in an epoch."""
        most = self.settings["epoch_rows"]
        if most is not None:
            available = [min(rows, most) for rows in available]
        sampling = self.settings["task_sampling"]
        if sampling == "proportional":
            return list(available)
        if sampling == "uniform":
            return [round(sum(available) / len(available)) if rows else 0 for rows in available]
        stages = sorted(range(len(self.tasks)), key=lambda task: self.tasks[task].stage)
        newest = min(epoch * len(stages) // self.settings["epochs"], len(stages) - 1)
        counts = [0] * len(self.tasks)
        for stage, task in enumerate(stages[: newest + 1]):
            counts[task] = available[task] if stage == newest else round(REPLAYED * available[task])
        return counts


class Batches:
    """One epoch, as RecBole's training loop wants it: a length, and Interactions that hold a `RowBatch`.

    Attributes:
        generator: a torch generator, which RecBole's resume stores; the order does not depend on it.
    """

    def __init__(self, mixture: TaskMixture, cases: list[tuple[int, Case]], generator: np.random.Generator) -> None:
        self._mixture, self._cases = mixture, cases
        self._seed = int(generator.integers(1 << 62))
        self.generator = torch.Generator()

    def __len__(self) -> int:
        return -(-len(self._cases) // self._mixture.batch_rows)

    def __iter__(self) -> Iterator[Interaction]:
        """Lay out a pool of rows, cut it by length into batches, and give these in a random order."""
        mixture, generator = self._mixture, np.random.default_rng(self._seed)
        pool_rows = BATCHES_PER_POOL * mixture.batch_rows
        for start in range(0, len(self._cases), pool_rows):
            pool = self._cases[start : start + pool_rows]
            rows = [mixture.tasks[task].row(case, answer=True) for task, case in pool]
            order = np.argsort([len(row.token_ids) for row in rows], kind="stable")
            cuts = range(0, len(order), mixture.batch_rows)
            for cut in generator.permutation(cuts):
                members = order[cut : cut + mixture.batch_rows]
                yield collate(
                    [rows[member] for member in members],
                    [pool[member][0] for member in members],
                    pad_token_id=mixture.pad_token_id,
                    padding="right",
                ).to_interaction()


def _draw(available: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """``count`` of ``available`` rows, each as often as any other, give or take one."""
    if count == available:
        return np.arange(count)
    rounds = -(-count // available) if available else 0
    return np.concatenate([generator.permutation(available) for _ in range(rounds)] or [np.arange(0)])[:count]
