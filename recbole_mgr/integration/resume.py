"""Resume: every epoch's state on disk, for our trainers and RecBole's.

RecBole stores improved epochs only, without random state. Here the state *before* each epoch is stored: a run
killed at any moment starts that epoch again and, on a CPU, ends with the same weights bit for bit. RecBole makes a
new gradient scaler every epoch (``trainer.py:239``), so there is no scaler state to carry over.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_mgr.distributed import processes
from recbole_mgr.documents import read_json
from recbole_mgr.files import write_text
from recbole_mgr.integration.checkpoint import load_checkpoint, save_checkpoint
from recbole_mgr.integration.sharded import whole

PROGRESS_FILE = "progress.pth"
EPOCHS_FILE = "epochs.json"  # [{"epoch": 0, "train_loss": ..., "valid": {metric: value}}, ...], by validated epoch


class ResumableTrainer:
    """Mixin for any RecBole trainer: with :attr:`run_dir` set, ``fit`` resumes what it finds there.

    Attributes:
        run_dir: folder of the run; None trains without resume, as RecBole does.
        epochs_run: epochs trained so far, over all resumes.
        train_seconds: time of :meth:`fit`, that of interrupted runs up to the state they left included.
    """

    run_dir: Path | None = None
    train_seconds: float = 0.0

    def use_run_dir(self, run_dir: Path) -> None:
        """Keep the best checkpoint and the progress in ``run_dir``."""
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir = run_dir
        self.saved_model_file = str(run_dir / "best.pth")

    @property
    def epochs_run(self) -> int:
        return len(self.train_loss_dict)

    def fit(self, train_data, *args, show_progress: bool = False, **kwargs):
        self._started = time.perf_counter()
        self._restore_progress(train_data)
        self._before_epochs(train_data, show_progress)
        best = super().fit(train_data, *args, show_progress=show_progress, **kwargs)
        self.train_seconds = time.perf_counter() - self._started
        return best

    def _train_epoch(self, train_data, epoch_idx, *args, **kwargs):
        self._save_progress(train_data, epoch_idx)
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)

    def _valid_epoch(self, *args, **kwargs):
        score, result = super()._valid_epoch(*args, **kwargs)
        if self.run_dir is not None and result is not None and processes.is_owner():
            self._log_epoch(self.epochs_run - 1, result)
        return score, result

    def _log_epoch(self, epoch: int, result: dict) -> None:
        """Keep what was measured after an epoch, for learning curves; an epoch that is run again takes its place."""
        path = self.run_dir / EPOCHS_FILE
        before = read_json(path, remedy="remove it") if epoch and path.is_file() else []
        loss = self.train_loss_dict.get(epoch)
        entry = {"epoch": epoch, "train_loss": None if loss is None else float(np.sum(loss)), "valid": _floats(result)}
        write_text(path, json.dumps([*(old for old in before if old["epoch"] < epoch), entry]) + "\n")

    def _save_progress(self, train_data, epoch_idx: int) -> None:
        if self.run_dir is None:
            return
        state = {
            "epoch": epoch_idx,
            "cur_step": self.cur_step,
            "best_valid_score": float(self.best_valid_score),
            "best_valid_result": _floats(self.best_valid_result),
            "train_loss": {epoch: float(loss) for epoch, loss in self.train_loss_dict.items()},
            "state_dict": self.model.state_dict(),
            "other_parameter": self.model.other_parameter(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            **self.random_states(train_data),
            "train_seconds": time.perf_counter() - self._started,
            "config": self.config,
            **self._extra_progress(),
        }
        state = whole(state)
        if processes.is_owner():
            save_checkpoint(state, self.run_dir / PROGRESS_FILE)

    def _restore_progress(self, train_data) -> None:
        if self.run_dir is None or not (self.run_dir / PROGRESS_FILE).is_file():
            return
        state = load_checkpoint(self.run_dir / PROGRESS_FILE, map_location=self.loads_to)
        self._refuse_other_count(len(_of_all_processes(state["random"])))
        self.start_epoch = state["epoch"]
        self.cur_step = state["cur_step"]
        self.best_valid_score = state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self.train_loss_dict = dict(state["train_loss"])
        self.model.load_other_parameter(state["other_parameter"])  # first: it tells of other semantic IDs by name
        self.model.load_state_dict(state["state_dict"])
        optimizers = self._optimizers()
        for name, optimizer_state in state["optimizers"].items():
            optimizers[name].load_state_dict(optimizer_state)
        self._started -= state["train_seconds"]
        self._load_extra_progress(state)
        self.set_random_states(train_data, state)
        self.logger.info(f"resuming {self.run_dir} at epoch {self.start_epoch}")

    def random_states(self, train_data) -> dict[str, Any]:
        """State of all that draws in training, that of every process, for :meth:`set_random_states`."""
        return {
            "random": processes.gather_for_all(random_state()),
            "loaders": [generator.get_state() for generator in _generators(train_data)],
        }

    def set_random_states(self, train_data, states: dict[str, Any]) -> None:
        """Go on drawing from where :meth:`random_states` was called; ``states`` may hold more."""
        for generator, state in zip(_generators(train_data), states["loaders"], strict=True):
            generator.set_state(state.cpu())
        set_random_state(_of_all_processes(states["random"])[processes.rank()])

    def _refuse_other_count(self, before: int) -> None:
        if before != processes.count():
            raise ValueError(
                f"{self.run_dir / PROGRESS_FILE}: an interrupted training by {before} process(es), which {before} can "
                f"resume bit for bit and {processes.count()} cannot; start {before}, or remove the file to train from "
                "the start"
            )

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """All optimisers by attribute name; RecVAE's trainer calls two of them ``optimizer`` by turns."""
        names = {value: name for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}
        return {name: optimizer for optimizer, name in names.items()}

    def _before_epochs(self, train_data, show_progress: bool) -> None:
        """A stage of a subclass between resuming and the first epoch."""

    def _extra_progress(self) -> dict[str, Any]:
        """More state of a subclass, plain data and tensors."""
        return {}

    def _load_extra_progress(self, state: dict[str, Any]) -> None:
        """Counterpart of :meth:`_extra_progress`."""


def _generators(train_data) -> list[torch.Generator]:
    """What shuffles the training rows; the loader of knowledge-based models is two loaders."""
    if hasattr(train_data, "generator"):
        return [train_data.generator]
    return [train_data.general_dataloader.generator, train_data.kg_dataloader.generator]


def _of_all_processes(random: list[dict] | dict) -> list[dict]:
    """Release 0.1 kept that of its only process."""
    return random if isinstance(random, list) else [random]


def random_state() -> dict[str, Any]:
    """State of Python's, NumPy's and torch's generators as plain data and tensors."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Counterpart of :func:`random_state`."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([entry.cpu() for entry in state["cuda"]])


def _floats(result: dict | None) -> dict[str, float] | None:
    return None if result is None else {key: float(value) for key, value in result.items()}
