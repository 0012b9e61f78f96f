"""RecBole's trainers and loaders over several processes.

RecBole's own way (``single_spec: False``) fills shares up with repeated rows, cuts the number of steps, averages
rounded metrics, and lets every process write (RUCAIBox/RecBole#1872, #2154, #2063). It stays switched off. Here each
process has RecBole's whole loader and takes its part of every batch: order, negatives and number of steps are those of
one process, and nothing is filled up.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from recbole.data.dataloader import AbstractDataLoader, FullSortEvalDataLoader
from recbole.data.interaction import Interaction
from recbole.model.loss import EmbLoss
from recbole.trainer import Trainer
from recbole.utils import ModelType
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from recbole_mgr.distributed import processes
from recbole_mgr.integration.checkpoint import load_weights
from recbole_mgr.integration.resume import ResumableTrainer
from recbole_mgr.integration.sharded import Call, ShardedModel

Loss = Tensor | tuple[Tensor, ...]
Loader = TypeVar("Loader", bound=AbstractDataLoader)

_AGREEMENT = 1e-5  # of the losses of a batch and of its parts, relative


class ParallelStep:
    """A model's training step, of which each process computes a part and all get the sum of the gradients.

    Args:
        model: on its device.
        call: the model as a module that is called with a function of it.
    """

    def __init__(self, model: nn.Module, call: nn.Module) -> None:
        self._model, self._call = model, call

    def loss(self, batch: Interaction, loss_func: Callable[[Interaction], Loss]) -> Loss:
        """The loss of a whole batch, with the gradients of this process's part of it.

        Args:
            batch: of all processes, the same in each.
            loss_func: the model's loss of a batch.
        """
        own = self._own_rows(batch)
        # fewer rows than processes: one without any takes part with a row that does not count
        part = batch[own] if len(own) else batch[:1]
        loss = self._call(loss_of_part, self._model, loss_func, part, batch, len(own) > 0)
        return tuple(map(_shown_as_whole, loss)) if isinstance(loss, tuple) else _shown_as_whole(loss)

    def _own_rows(self, batch: Interaction) -> Tensor:
        """The rows of this process: histories are dealt by length, so that nobody has more to compute than others."""
        length = getattr(self._model, "ITEM_SEQ_LEN", None)
        order = batch[length].argsort(stable=True) if length in batch else torch.arange(len(batch))
        return order[processes.rank() :: processes.count()]

    def __call__(self, function: Callable[..., Tensor], *args: Any) -> Tensor:
        """What every process computes alike, a function of the model."""
        return self._call(function, *args)


def replicated(model: nn.Module) -> nn.Module:
    """A model that each process has whole, as a module that is called with a function of it; its weights become those
    of the owner."""
    with warnings.catch_warnings():
        # torch 2.13 announces another name for it
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(
            Call(model),
            process_group=processes.gradient_group(next(model.parameters()).device.type),
            # a parameter that no process used keeps no gradient, as in one process, and is not decayed
            find_unused_parameters=True,
            broadcast_buffers=False,  # they are equal, and the trie's are large
        )


def loss_of_part(
    model: nn.Module, loss_func: Callable, part: Interaction, whole: Interaction, counts: bool = True
) -> Loss:
    """What a process adds to the loss of a batch; over all processes it adds up to ``loss_func(whole)``.

    A model says so itself by ``loss_of_part``; the loss of RecBole's is a mean over rows.

    Args:
        model, loss_func: the latter is the former's.
        part: the process's rows of the batch.
        whole: the batch.
        counts: False where the process has no rows, and ``part`` is one that does not count.
    """
    if hasattr(model, "loss_of_part"):
        return model.loss_of_part(part, whole, counts)
    loss, weight = loss_func(part), counts * len(part) / len(whole)
    return tuple(value * weight for value in loss) if isinstance(loss, tuple) else loss * weight


def _shown_as_whole(part: Tensor) -> Tensor:
    """The value of the sum over all processes with the gradient of this one's part, times their number, since
    PyTorch's wrappers take the mean."""
    own = part * processes.count()
    return own + (processes.sum_of_all(part.item()) - own.detach())


def refuse_indivisible(trainer: Trainer, train_data: Any) -> None:
    """Refuse what several processes would not train as one does.

    Raises:
        ValueError: Naming the model and what about it.
    """
    model, name = trainer.model, trainer.config["model"]
    remedy = f"train {name} in one process; the other models of a table may have several"
    own_loops = [name for name in ("fit", "_train_epoch") if _defined_by_recbole(type(trainer), name)]
    if own_loops or not hasattr(train_data, "generator"):
        raise ValueError(f"several processes: {name} has a training loop of its own, which knows one; {remedy}")
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    if has_batch_norm and trainer.device.type != "cuda":
        raise ValueError(
            f"several processes: {name} normalises over batches, which processes share on GPUs alone; {remedy}"
        )
    if hasattr(model, "loss_of_part"):
        return
    if any(isinstance(module, EmbLoss) for module in model.modules()):
        raise ValueError(f"several processes: {name} penalises the norm of a whole batch; {remedy}")
    if not _adds_up(trainer, train_data):
        raise ValueError(f"several processes: the loss of {name} is not a mean over the rows of a batch; {remedy}")


def _defined_by_recbole(trainer_class: type, method: str) -> bool:
    """Whether a trainer of RecBole's other than the general one has its own ``method``."""
    return any(
        method in vars(ancestor)
        for ancestor in trainer_class.__mro__
        if ancestor.__module__.startswith("recbole.") and ancestor is not Trainer and issubclass(ancestor, Trainer)
    )


@torch.no_grad()
def _adds_up(trainer: Trainer, train_data: Any) -> bool:
    """Whether the losses of a batch's halves add up to the batch's, without dropout."""
    model = trainer.model
    model.eval()
    if trainer.config["train_neg_sample_args"].get("dynamic", False):
        train_data.get_model(model)
    batch = next(iter(train_data)).to(trainer.device)
    whole, middle = model.calculate_loss(batch), (len(batch) + 1) // 2
    halves = (
        loss_of_part(model, model.calculate_loss, half, batch) for half in (batch[:middle], batch[middle:]) if len(half)
    )
    total = sum(sum(half) if isinstance(half, tuple) else half for half in halves)
    whole = sum(whole) if isinstance(whole, tuple) else whole
    return bool((total - whole).abs() <= _AGREEMENT * whole.abs())


def own_batches(loader: Loader) -> Loader:
    """An evaluation loader that gives this process's batches alone: the very batches of one process, in its order, so
    that a score does not depend on how many processes there are."""
    if processes.count() == 1:
        return loader
    own_class = type(type(loader).__name__, (_OwnBatches, type(loader)), {})
    part = own_class.__new__(own_class)
    vars(part).update(vars(loader), collate_fn=part.collate_own, collate_all=loader.collate_fn)
    return part


class _OwnBatches:
    """Mixin of an evaluation loader, see `own_batches`."""

    collate_all: Callable

    def __iter__(self) -> Iterator:
        return (batch for batch in super().__iter__() if batch is not None)

    def collate_own(self, index: list[int]) -> Any:
        is_own = index[0] // self.step in processes.share(len(self))
        if isinstance(self, FullSortEvalDataLoader):
            return self.collate_all(index) if is_own else None
        batch = self.collate_all(index)  # draws negatives, whose order is that of all batches
        return batch if is_own else None


class EvaluatorOfOwner:
    """RecBole's evaluator, computed once: several machines might round otherwise, and stop at different epochs."""

    def __init__(self, evaluator: Any) -> None:
        self._evaluator = evaluator

    def evaluate(self, struct: Any) -> dict[str, Any]:
        return processes.on_owner(lambda: self._evaluator.evaluate(struct))


def shares_parameters(config: Any) -> bool:
    """Whether each process is to keep a part of the model, and not all of it."""
    return bool(config["fsdp"]) and processes.count() > 1


class ParallelTrainer(ResumableTrainer):
    """Mixin for any RecBole trainer: what several processes train, evaluate and keep is what one would.

    The batch of the settings is that of all processes together. Alone it changes nothing.
    """

    def __init__(self, config, model) -> None:
        if not processes.is_owner():
            config["show_progress"] = config["log_wandb"] = False
        # before the optimiser, which keeps a state for each process's part of the parameters
        self._sharded = ShardedModel(model, config["device"]) if shares_parameters(config) else None
        super().__init__(config, model)
        if self._sharded:
            self._sharded.follow(self.optimizer)
        elif config["fsdp"]:
            self.logger.info("fsdp: one process alone keeps the whole network")
        self.saved_model_file = processes.broadcast(self.saved_model_file)  # named by the second it was made in
        self.evaluator = EvaluatorOfOwner(self.evaluator)
        self._parallel_step: ParallelStep | None = None

    @property
    def shares_parameters(self) -> bool:
        """Whether each process keeps a part of the model, and not all of it."""
        return self._sharded is not None

    @property
    def splits_batches(self) -> bool:
        """Whether the model learns by gradients; what counts or solves is done by each process alike."""
        return self.config["MODEL_TYPE"] != ModelType.TRADITIONAL

    def fit(self, train_data, *args, **kwargs):
        if processes.count() > 1 and self.splits_batches:
            devices = processes.gather_for_all(self.device.type)
            if len(set(devices)) > 1:
                raise ValueError(
                    f"gpu_id: processes {[rank for rank, device in enumerate(devices) if device == 'cpu']} find no GPU "
                    "and others do; start as many as there are GPUs, or leave it empty (--gpu_id=) for the CPU"
                )
            before = self.random_states(train_data)
            refuse_indivisible(self, train_data)
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
            self._parallel_step = ParallelStep(
                self.model, self._sharded.call if self._sharded else replicated(self.model)
            )
            self.set_random_states(train_data, before)
            if not processes.is_owner():  # dropout differs; what loaders draw, by NumPy and Python, does not
                torch.manual_seed(self.config["seed"] + processes.rank())
        return super().fit(train_data, *args, **kwargs)

    def _train_epoch(self, train_data, epoch_idx, loss_func=None, *args, **kwargs):
        step = self._parallel_step
        if step is not None:
            own_loss = loss_func or self.model.calculate_loss

            def loss_func(batch):
                return step.loss(batch, own_loss)

        try:
            return super()._train_epoch(train_data, epoch_idx, loss_func, *args, **kwargs)
        except torch.cuda.OutOfMemoryError as error:
            raise ValueError(
                f"train_batch_size: {self.config['train_batch_size']}: a batch does not fit into the GPU's memory; "
                "lower it, start more processes, which share it, or take a smaller model: a GPU holds all its layers, "
                "unless fsdp: True deals those of UniMP out"
            ) from error

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Where processes share the parameters, none can compute without the others: inside all do the same, each as if
        there were no others. Elsewhere it changes nothing."""
        if self._sharded is None:
            yield
            return
        with processes.alone(), self._sharded.at_hand():
            yield

    def evaluate(self, eval_data, load_best_model=True, model_file=None, **kwargs):
        if self._sharded is None:
            eval_data = eval_data and own_batches(eval_data)
        elif load_best_model:
            self.load_weights(model_file or self.saved_model_file)  # while each has its part
            load_best_model = False
        with self.as_one():
            result = super().evaluate(eval_data, load_best_model, model_file, **kwargs)
        return result if self._sharded is None else processes.broadcast(result)

    def load_weights(self, file: str) -> None:
        """Take the weights of a checkpoint."""
        load_weights(self.model, file, self.loads_to)

    @property
    def loads_to(self) -> torch.device:
        """Where checkpoints are read to: not to a GPU that may be too small for all of them."""
        return self.device if self._sharded is None else torch.device("cpu")
