"""Training of UniMP on a mixture of tasks, and the test of each."""

from __future__ import annotations

import functools
import math
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from recbole_mgr.distributed import processes
from recbole_mgr.integration.task_results import TaskResult, plain
from recbole_mgr.integration.trainer import GenerativeTrainer
from recbole_mgr.unimp.mixture import TaskMixture
from recbole_mgr.unimp.rows import RowBatch, collate
from recbole_mgr.unimp.tasks import TASKS, make_tasks
from recbole_mgr.unimp.tasks.cases import Case
from recbole_mgr.unimp.tasks.recommendation import RecommendationTask
from recbole_mgr.unimp.tasks.task import Task

_VALID_CASES = 200  # of each task, to compute its loss from
_LEAST_LOSS = 1e-9  # a loss of 0 has no logarithm


class UniMPTrainer(GenerativeTrainer):
    """Trains on the rows of all tasks of a run.

    One task that ranks items is validated as RecBole validates models, by ``valid_metric``. Of several tasks, the epoch
    with the lowest geometric mean of their validation losses is the best: no task's scale dominates it. RecBole's
    loaders serve evaluation only.

    Args:
        config: of the run.
        model: a `UniMP` whose data set holds users' sequences.

    Attributes:
        tasks: of the run, in the order of the setting.

    Raises:
        ValueError: Naming the first task that the data cannot serve.
    """

    def __init__(self, config, model) -> None:
        super().__init__(config, model)
        self.tasks: list[Task] = make_tasks(model.task_names, model.personal, config)
        self.mixture = TaskMixture(self.tasks, config, config["seed"], pad_token_id=model.backbone.pad_token_id)
        # drawn now, so that a task without cases is told before the training and no training changes them
        self._valid_cases = [task.cases("valid") for task in self.tasks]
        self._test_cases = [task.cases("test") if task.tested_as == "answers" else [] for task in self.tasks]
        self._valid_batches: list[list[RowBatch]] | None = None

    @property
    def notes(self) -> list[str]:
        started = self.model.initial_data
        return [*super().notes, *([f"started from a network trained on {started}"] if started else [])]

    @property
    def recommends(self) -> bool:
        return any(TASKS[name].tested_as == "recommendation" for name in self.model.task_names)

    def _schedule(self, steps_per_epoch: int) -> None:
        epochs = range(self.epochs if self.config["task_sampling"] == "staged" else 1)  # else all are equally long
        super()._schedule(math.ceil(statistics.fmean(len(self.mixture.epoch(epoch)) for epoch in epochs)))

    def _choose_weights(self, valid_data) -> None:
        """Recommendation and search have weights of their own."""
        for task in self.tasks:
            if task.tested_as != "answers":
                with self._ranking_by(task):
                    super()._choose_weights(valid_data)

    @contextmanager
    def _ranking_by(self, task: RecommendationTask) -> Iterator[None]:
        """What is ranked inside are the answers to this task."""
        model = self.model
        self.model = model.ranking_by(task)
        try:
            yield
        finally:
            self.model = model

    def _train_epoch(self, train_data, epoch_idx, *args, **kwargs):
        return super()._train_epoch(self.mixture.epoch(epoch_idx), epoch_idx, *args, **kwargs)

    def _valid_epoch(self, *args, **kwargs):
        with self.as_one():
            losses = self._valid_losses()
            for task, cases in zip(self.tasks, self._valid_cases, strict=True):
                task.tune(self.model, cases)
        self.logger.info("validation loss: " + ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()))
        result = {f"loss of {name}": loss for name, loss in losses.items()}
        if self.model.ranking_task is not None:
            score, metrics = super()._valid_epoch(*args, **kwargs)
            if len(losses) == 1:
                return score, metrics
            result = {**metrics, **result}
        return -math.exp(statistics.fmean(math.log(max(loss, _LEAST_LOSS)) for loss in losses.values())), result

    @torch.no_grad()
    def _valid_losses(self) -> dict[str, float]:
        """Task name -> mean loss of its validation cases, without the task's own weight: in nats, but for the focus."""
        if self._valid_batches is None:
            self._valid_batches = [
                self._answered(index, cases[:_VALID_CASES]) for index, cases in enumerate(self._valid_cases)
            ]
        self.model.eval()
        losses = {}
        for task, batches, weight in zip(
            self.tasks, self._valid_batches, self.model.task_weights.tolist(), strict=True
        ):
            rows, own = [len(batch.token_ids) for batch in batches], processes.share(len(batches))
            means = [float(self.model.loss(batches[index].to(self.device))) for index in own]
            means = processes.all_in_order(means)
            losses[task.name] = sum(n * mean for n, mean in zip(rows, means, strict=True)) / sum(rows) / weight
        return losses

    def _answered(self, task_index: int, cases: Sequence[Case]) -> list[RowBatch]:
        """Batches of cases with their true answers, rows of similar length together."""
        rows = sorted((self.tasks[task_index].row(case, answer=True) for case in cases), key=lambda r: len(r.token_ids))
        size = self.config["train_batch_size"]
        return [
            collate(part, [task_index] * len(part), pad_token_id=self.model.backbone.pad_token_id, padding="right")
            for part in (rows[start : start + size] for start in range(0, len(rows), size))
        ]

    def evaluate_tasks(self, test_data, *, show_progress: bool = False) -> list[dict[str, Any]]:
        """Test every task but recommendation, with the weights that validated best.

        Args:
            test_data: RecBole's loader of the test part, for search.
            show_progress: of the search.

        Returns:
            A `TaskResult` for each, as plain data.
        """
        self.load_weights(self.saved_model_file)
        self.model.eval()
        results = []
        for task, cases in zip(self.tasks, self._test_cases, strict=True):
            if task.tested_as == "ranking":
                results.append(self._test_ranking(task, test_data, show_progress))
            elif task.tested_as == "answers":
                results.append(self._test_answers(task, cases))
        return [plain(result) for result in results]

    def _test_answers(self, task: Task, cases: Sequence[Case]) -> TaskResult:
        run_dir = self.run_dir or Path(self.checkpoint_dir)
        if not self.shares_parameters:
            return processes.on_owner(lambda: task.evaluate(self.model, cases, run_dir))
        with tempfile.TemporaryDirectory() as elsewhere:  # the owner alone writes what is kept
            own_dir = run_dir if processes.is_owner() else Path(elsewhere)
            with self.as_one():
                result = task.evaluate(self.model, cases, own_dir)
        return processes.broadcast(result)

    def _test_ranking(self, task: RecommendationTask, test_data, show_progress: bool) -> TaskResult:
        self.mask_history = False
        with self._ranking_by(task):
            self.evaluate(test_data, load_best_model=False, show_progress=show_progress)
            return processes.on_owner(functools.partial(self._ranking_result, task))

    def _ranking_result(self, task: RecommendationTask) -> TaskResult:
        ranking = self.eval_collector.ranking
        result = task.result(ranking.ranks, ranking.targets, ranking.users, self.config["topk"])
        return result._replace(notes=[*result.notes, *self.model.notes])
