"""Where a run is followed while it trains: TensorBoard, Weights & Biases or MLflow, by the setting ``tracker``.

RecBole's trainer has two hooks for that, ``wandblogger`` (losses and metrics of each epoch) and ``tensorboard`` (the
losses alone, into a folder of the working directory that it makes whether anybody asked for it or not). A `Tracker`
stands in the place of both, one for each run of a table, so that each is a run of its own there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from recbole.trainer import trainer as recbole_trainer

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow-skinny"}  # what pip calls them
TENSORBOARD_FOLDER = Path("log_tensorboard")  # RecBole's name for it
MLFLOW_FOLDER = Path("mlruns")  # MLflow's own name
_LONGEST_VALUE = 500  # characters of a setting, of which MLflow keeps no more


class Followed(NamedTuple):
    """A run as trackers name it.

    Attributes:
        project: of all runs on the data.
        name: of the run.
        folder: its place among others, such as ``("Beauty-...", "TIGER-...", "seed-1")``.
        settings: plain data.
    """

    project: str
    name: str
    folder: tuple[str, ...]
    settings: Mapping[str, Any]


class Tracker:
    """Follows a run for nobody: the default, and what the others share.

    Args:
        run: to follow. Nothing is written before :meth:`begin`.
    """

    def __init__(self, run: Followed) -> None:
        self.run = run
        self.has_begun = False

    def begin(self) -> None:
        """Open the run there."""
        self.has_begun = True

    # --- RecBole's hooks

    def log_metrics(self, metrics: Mapping[str, float], head: str = "train", commit: bool = True) -> None:
        """Losses (``head`` train) or metrics (valid) after an epoch, which stands in ``<head>_step``."""
        step = int(metrics[f"{head}_step"])
        values = {name: value for name, value in metrics.items() if name not in ("epoch", f"{head}_step")}
        summed = {name: sum(value) if isinstance(value, tuple) else value for name, value in values.items()}
        self.scalars({f"{head}/{name}": float(value) for name, value in summed.items()}, step)

    def log_eval_metrics(self, metrics: Mapping[str, float], head: str = "eval") -> None:
        """Metrics of any evaluation, which :meth:`finish` tells once and by name."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """A loss, which :meth:`log_metrics` has told."""

    def add_hparams(self, settings: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Settings that RecBole holds for parameters, of which :meth:`begin` tells all."""

    # --- what each tracker does

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of an epoch."""

    def finish(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        """Numbers of the whole run, and text files to keep with it; then close it."""

    def attach(self, name: str, text: str) -> None:
        """Keep a text with the run, which may be closed."""


class TensorBoardTracker(Tracker):
    """Event files below ``log_tensorboard/``."""

    def begin(self) -> None:
        super().begin()
        self._writer = self._open()
        self._writer.add_text("settings", _code(self.run.settings))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        self.scalars(metrics, 0)
        for path in files:
            self._writer.add_text(path.name, f"```\n{path.read_text(encoding='utf-8')}\n```")
        self._writer.close()

    def attach(self, name: str, text: str) -> None:
        writer = self._open()
        writer.add_text(name, text)
        writer.close()

    def _open(self):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(TENSORBOARD_FOLDER.joinpath(*self.run.folder)))


class WandbTracker(Tracker):
    """A run of Weights & Biases in the project that RecBole's setting ``wandb_project`` names, where runs on the same
    data are a group."""

    def begin(self) -> None:
        super().begin()
        self._run = self._open(config=dict(self.run.settings))
        for head in ("train", "valid"):
            self._run.define_metric(f"{head}/*", step_metric="epoch")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "epoch": step})

    def finish(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        for name, value in metrics.items():
            self._run.summary[name] = value
        for path in files:
            self._run.save(str(path), base_path=str(path.parent), policy="now")
        self._run.finish()

    def attach(self, name: str, text: str) -> None:
        run = self._open(id=self._run.id, resume="allow")
        path = Path(run.dir) / name
        path.write_text(text, encoding="utf-8")
        run.save(str(path), base_path=str(path.parent), policy="now")
        run.finish()

    def _open(self, **given: Any):
        import wandb

        project = self.run.settings["wandb_project"]
        return wandb.init(project=project, group=self.run.project, name=self.run.name, **given)


class MlflowTracker(Tracker):
    """A run of MLflow, at ``MLFLOW_TRACKING_URI`` or in files below ``mlruns/``, which need no database."""

    def begin(self) -> None:
        from mlflow import MlflowClient

        super().begin()
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which MLflow 3 asks for
        store = os.environ.get("MLFLOW_TRACKING_URI") or MLFLOW_FOLDER.resolve().as_uri()
        self._client = MlflowClient(tracking_uri=store)
        found = self._client.get_experiment_by_name(self.run.project)
        experiment = found.experiment_id if found else self._client.create_experiment(self.run.project)
        self._run_id = self._client.create_run(experiment, run_name=self.run.name).info.run_id
        for key, value in self.run.settings.items():
            self._client.log_param(self._run_id, key, str(value)[:_LONGEST_VALUE])

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, name.replace("@", "_at_"), value, step=step)  # @ is not allowed there

    def finish(self, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
        self.scalars(metrics, 0)
        for path in files:
            self._client.log_artifact(self._run_id, str(path))
        self._client.set_terminated(self._run_id)

    def attach(self, name: str, text: str) -> None:
        self._client.log_text(self._run_id, text, name)


_TRACKERS = {None: Tracker, "tensorboard": TensorBoardTracker, "wandb": WandbTracker, "mlflow": MlflowTracker}


def make_tracker(name: str | None, run: Followed) -> Tracker:
    """The tracker that the setting ``tracker`` names."""
    return _TRACKERS[name](run)


@contextmanager
def without_recboles_tensorboard() -> Iterator[None]:
    """Within it RecBole's trainers are made without an event file of their own."""
    usual = recbole_trainer.get_tensorboard
    recbole_trainer.get_tensorboard = lambda logger: Tracker(Followed("", "", (), {}))
    try:
        yield
    finally:
        recbole_trainer.get_tensorboard = usual


def _code(settings: Mapping[str, Any]) -> str:
    return f"```\n{json.dumps(dict(settings), indent=2, default=str)}\n```"
