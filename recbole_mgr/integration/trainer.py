"""Trainers: RecBole's, with resume and a recorded ranking, and the one for generating models."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from recbole.trainer import Trainer

from recbole_mgr.distributed import processes
from recbole_mgr.integration.collector import NOTHING_NEW, CollectorOfBoth, RankedListCollector, Ranking
from recbole_mgr.integration.parallel import ParallelTrainer, own_batches
from recbole_mgr.integration.trackers import Tracker, without_recboles_tensorboard
from recbole_mgr.integration.user_sample import sample_of_users

USERS_OF_WEIGHTS = 2000  # of validation, to choose what priors count


class Tested(NamedTuple):
    """What a test found: RecBole's metrics by name, and the lists, which the owner of several processes has."""

    metrics: dict[str, float]
    ranking: Ranking | None


class ComparableTrainer(ParallelTrainer):
    """Mixin for any RecBole trainer: what a fair table needs.

    RecBole keeps seen items out of the ranking for general models and not for sequential ones, and never the target.
    Here both ways can be had for every model: :attr:`mask_history` says which, and starts as the setting of that name,
    so that all models of a table are validated alike; :meth:`test` does both in one pass. Where seen items are kept
    out, so is a target that repeats one, and the metrics count the users with a new target alone: the only seen item
    left would be found for that reason. ``valid_users`` of the users steer early stopping, tests use all.

    Attributes:
        recommends: whether the model learns to recommend, so that RecBole's tests mean something.
    """

    recommends = True

    def __init__(self, config, model) -> None:
        with without_recboles_tensorboard():
            super().__init__(config, model)
        self.eval_collector = RankedListCollector(config)
        if self.enable_amp and not self.enable_scaler:
            _prefer_bfloat16(self.device)
        self.mask_history = bool(config["mask_history"])
        self._seen_items = None
        self._steering_data = None

    def follow(self, tracker: Tracker) -> None:
        """Tell a tracker of each epoch."""
        self.tensorboard = self.wandblogger = tracker

    def fit(self, train_data, valid_data=None, *args, **kwargs):
        seen_items = getattr(valid_data and valid_data._dataset, "seen_items", None)
        if self.mask_history and seen_items is not None:
            rows = valid_data._dataset.inter_feat
            if seen_items.contain_all(rows[self.config["USER_ID_FIELD"]], rows[self.config["ITEM_ID_FIELD"]]):
                raise ValueError(NOTHING_NEW)
        return super().fit(train_data, valid_data, *args, **kwargs)

    def _valid_epoch(self, valid_data, *args, **kwargs):
        if self.config["valid_users"]:
            if self._steering_data is None:
                self._steering_data = sample_of_users(valid_data, self.config["valid_users"])
                of_all = f"{len(self._steering_data._dataset):,} of {len(valid_data._dataset):,}"
                self.logger.info(f"valid_users: validation looks at {of_all} targets; tests look at all")
            valid_data = self._steering_data
        return super()._valid_epoch(valid_data, *args, **kwargs)

    @property
    def notes(self) -> list[str]:
        """What a table says below about the row."""
        return []

    def evaluate_tasks(self, test_data, *, show_progress: bool = False) -> list[dict[str, Any]]:
        """Results of tasks beside recommendation as plain data; a model without any has none."""
        return []

    def evaluate(self, eval_data, *args, **kwargs):
        self._seen_items = getattr(eval_data._dataset, "seen_items", None) if eval_data else None
        if eval_data and self.mask_history and self._seen_items is None:
            raise ValueError("mask_history: this data set does not know what users have seen (seen_items)")
        self.eval_collector.start_evaluation(self._seen_items, new_targets_only=self.mask_history)
        return super().evaluate(eval_data, *args, **kwargs)

    def test(self, test_data, **options: Any) -> tuple[Tested, Tested]:
        """Test with seen items ranked, and with them kept out, whatever :attr:`mask_history` is.

        Args:
            test_data: a loader of RecBole's.
            **options: of RecBole's ``evaluate``.

        Returns:
            The two ways; without metrics where there is no new target, and without rankings in processes that do not
            own the files.
        """
        collector = self.eval_collector
        both = CollectorOfBoth(collector)
        self.eval_collector = both
        try:
            metrics = self.evaluate(test_data, **options)
            with self.as_one():
                struct = both.masked.collected()
                is_empty = processes.on_owner(lambda: both.masked.leaves_out_all)
                metrics_masked = {} if is_empty else self.evaluator.evaluate(struct)
        finally:
            self.eval_collector = collector
        owns = processes.is_owner()
        return tuple(
            Tested({name: float(value) for name, value in found.items()}, part.ranking if owns else None)
            for found, part in ((metrics, both.as_it_is), (metrics_masked, both.masked))
        )

    @property
    def _tests_both(self) -> bool:
        """Whether both ways are asked for, as while :meth:`test` runs."""
        return isinstance(self.eval_collector, CollectorOfBoth)

    def _full_sort_batch_eval(self, batched_data):
        interaction, _, positive_u, positive_i = batched_data
        history_index = None
        if self.mask_history and not self._tests_both:
            seen = self._seen_items.rows(self._users(interaction))
            history_index = (seen > 0).nonzero()[:, 0], seen[seen > 0]
        return super()._full_sort_batch_eval((interaction, history_index, positive_u, positive_i))

    def _neg_sample_batch_eval(self, batched_data):
        interaction, scores, positive_u, positive_i = super()._neg_sample_batch_eval(batched_data)
        if self.mask_history and not self._tests_both:
            seen = self._seen_items.rows(self._users(interaction).unique_consecutive())
            scores.scatter_(1, seen.to(scores.device), -torch.inf)  # the padding, 0, is never ranked anyway
        return interaction, scores, positive_u, positive_i

    def _users(self, interaction) -> torch.Tensor:
        return interaction[self.config["USER_ID_FIELD"]]


def _prefer_bfloat16(device: torch.device) -> None:
    """Mixed precision on a GPU is float16 by torch's choice, which loses small gradients without a scaler."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        torch.set_autocast_dtype("cuda", torch.bfloat16)


def comparable(trainer_class: type[Trainer]) -> type[Trainer]:
    """RecBole's trainer class with :class:`ComparableTrainer` mixed in."""
    if issubclass(trainer_class, ComparableTrainer):
        return trainer_class
    return type(trainer_class.__name__, (ComparableTrainer, trainer_class), {})


def compiled(loss: Callable[..., torch.Tensor], device: torch.device) -> Callable[..., torch.Tensor]:
    """A backbone's loss as a program: on a GPU recorded as CUDA graphs, whose hundreds of kernels start as one.

    There each shape of a batch is recorded once, the full one and the last one of an epoch; Triton is not asked to
    write kernels, which takes a minute and gave wrong indices in one case (torch 2.11).
    """
    if device.type == "cuda":
        return torch.compile(loss, dynamic=False, backend="cudagraphs")
    return torch.compile(loss, dynamic=True)


class GenerativeTrainer(ComparableTrainer, Trainer):
    """Trainer of generating models: ranked lists to RecBole's evaluator, a learning-rate schedule, and a model's
    alignment stage (``model.alignment``) before recommendation training."""

    def __init__(self, config, model) -> None:
        super().__init__(config, model)
        self.beam_size = config["beam_size"]  # of the evaluation that runs
        self.scheduler = None
        self.optimizer.register_step_post_hook(lambda *_: self.scheduler.step())
        self.alignment = getattr(model, "alignment", None)
        self._table_file = None
        if config["compile"]:
            model.backbone.loss = compiled(model.backbone.loss, self.device)

    def _build_optimizer(self, **kwargs) -> torch.optim.Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW) and self.device.type in ("cpu", "cuda"):
            for group in optimizer.param_groups:
                group["fused"] = True  # one pass over the parameters instead of a dozen
        return optimizer

    def fit(self, train_data, *args, **kwargs):
        self._schedule(len(train_data))
        return super().fit(train_data, *args, **kwargs)

    def _before_epochs(self, train_data, show_progress: bool) -> None:
        stage = self.alignment
        if stage is None or stage.done:
            return
        if self._parallel_step is not None:
            stage.step = self._parallel_step
        while not stage.done:
            self._save_progress(train_data, self.start_epoch)
            loss = stage.run_epoch(show_progress=show_progress)
            self.logger.info(f"alignment epoch {stage.epoch - 1}: loss {loss:.4f}")
        self.logger.info(
            "alignment: cross-modal retrieval accuracy "
            f"{stage.accuracy['before']:.4f} before, {stage.accuracy['after']:.4f} after {stage.epochs} epochs"
        )

    def _schedule(self, steps_per_epoch: int) -> None:
        """Set up warm-up and decay over all optimiser steps; the optimiser itself steps it, so that RecBole's training
        loop stays as it is."""
        total = steps_per_epoch * self.epochs
        shape, warmup = self.config["lr_scheduler"], self.config["warmup_epochs"] * steps_per_epoch

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = (step - warmup) / max(1, total - warmup)
            if shape == "cosine":
                return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
            return max(0.0, 1 - progress) if shape == "linear" else 1.0

        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def _extra_progress(self) -> dict[str, Any]:
        stage = {} if self.alignment is None else {"alignment": self.alignment.state_dict()}
        return {"scheduler": self.scheduler.state_dict(), **stage}

    def _load_extra_progress(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state["scheduler"])
        if self.alignment is not None:
            self.alignment.load_state_dict(state["alignment"])

    def _valid_epoch(self, valid_data, *args, **kwargs):
        """Steer early stopping with ``valid_beam_size`` beams: nearly the same ranking for a part of the time. What
        priors count is chosen before, on some of the users, and kept in the checkpoint."""
        self.beam_size = self.config["valid_beam_size"]  # and not beam_size, which changes what is tested alone
        try:
            self._choose_weights(valid_data)
            return super()._valid_epoch(valid_data, *args, **kwargs)
        finally:
            self.beam_size = self.config["beam_size"]

    @torch.no_grad()
    def _choose_weights(self, valid_data) -> None:
        if not self.model.chooses_weights:
            return
        self.model.eval()
        sample = sample_of_users(valid_data, USERS_OF_WEIGHTS)
        item_field = self.model.POS_ITEM_ID
        cut = int(self.config["valid_metric"].partition("@")[2])  # and not topk, which changes what is tested alone
        with self.as_one():
            batches = (
                (batch[0].to(self.device), batch[0][item_field].to(self.device)) for batch in own_batches(sample)
            )
            weights = self.model.choose_weights(batches, cut, self.beam_size)
        self.logger.info("weights: " + ", ".join(f"{part} {weight:g}" for part, weight in weights.items()))

    def _save_checkpoint(self, epoch, verbose=True, **kwargs) -> None:
        """RecBole's checkpoint, with the semantic IDs it belongs to as a readable file beside it."""
        file = Path(kwargs.get("saved_model_file", self.saved_model_file))
        table_file = file.with_suffix(".semantic_ids.tsv")
        # once per run; a file that stands there may be another run's or cut short
        if table_file != self._table_file and processes.is_owner():
            self.model.semantic_ids.save(table_file, report=self.model.semantic_id_report)
            self._table_file = table_file
        super()._save_checkpoint(epoch, verbose=verbose, **kwargs)

    def _full_sort_batch_eval(self, batched_data):
        interaction, _, positive_u, positive_i = batched_data
        interaction = interaction.to(self.device)
        seen = self._seen_items.rows(self._users(interaction)) if self.mask_history or self._tests_both else None
        longest = max(self.config["topk"])
        lists = self.model.generate_lists(
            interaction,
            min(longest, self.beam_size),
            excludes=[None, seen] if self._tests_both else [seen],
            beam_size=self.beam_size,
        )
        lists = [ranked.of_length(longest) for ranked in lists]  # beams of validation may be fewer than the cut-offs
        return interaction, lists if self._tests_both else lists[0], positive_u, positive_i
