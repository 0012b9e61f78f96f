"""RecBole 1.2.1 made safe and exact, on any version of its dependencies.

Unlike the breaks in ``compat.py`` these are flaws of RecBole itself: code that runs from a settings string or
a file, metrics that crash, gradients clipped at the wrong scale, interactions out of order. The patches hold
for every model, RecBole's baselines included.
"""

import ast
import functools
import pickle
from collections.abc import Collection
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pandas as pd
import torch
from torch import nn

from recbole_mgr.distributed import processes
from recbole_mgr.distributed.launch import split_off_launch, start_processes
from recbole_mgr.import_hooks import ImportHook
from recbole_mgr.integration import compat
from recbole_mgr.integration.patching import ModuleView, PatchSet

_PICKLE_SETTINGS = ("save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path")


def literal_settings() -> None:
    """RecBole ``eval``s strings of ``config_dict``, of the command line and of HyperTuning's parameter file.

    The name ``eval`` of those two modules becomes a parser of literals. A setting that is no literal stays
    the string it is; an expression such as ``2*512`` is not computed.
    """
    from recbole.config import configurator
    from recbole.trainer import hyper_tuning

    configurator.eval = _literal
    hyper_tuning.eval = _literal


def plain_checkpoints() -> None:
    """RecBole pickles its Config, which torch >= 2.6 refuses to load (RUCAIBox/RecBole#2215, #2174).

    All trainers of ``recbole.trainer.trainer`` save and load through ``checkpoint.py`` instead, and so does
    ``load_data_and_model``; a file ``<checkpoint>.semantic_ids.tsv`` beside the checkpoint becomes the
    setting ``semantic_ids`` of the loaded model.
    """
    from recbole import quick_start
    from recbole.trainer import trainer

    from recbole_mgr.integration.checkpoint import load_checkpoint, rebuild_config, save_checkpoint
    from recbole_mgr.integration.sharded import whole

    def save(state: dict[str, Any], path: str, **_: Any) -> None:
        state = whole(state)
        processes.on_owner(lambda: save_checkpoint(state, path))

    trainer.torch = ModuleView(torch, save=save, load=load_checkpoint)
    load_data_and_model = quick_start.load_data_and_model

    @functools.wraps(load_data_and_model)
    def load_plain_data_and_model(model_file: str) -> tuple:
        checkpoint = load_checkpoint(model_file, map_location="cpu")
        config = rebuild_config(checkpoint["config"])
        if config["device"].type != "cpu":
            checkpoint = load_checkpoint(model_file, map_location=config["device"])
        checkpoint["config"] = config
        semantic_ids = Path(model_file).with_suffix(".semantic_ids.tsv")
        if semantic_ids.is_file():
            config["semantic_ids"] = str(semantic_ids)

        def load_once(*_: Any, **__: Any) -> dict[str, Any]:
            torch.load = torch_load
            return checkpoint

        torch_load, torch.load = torch.load, load_once  # RecBole imports torch inside the function
        try:
            return load_data_and_model(model_file)
        finally:
            torch.load = torch_load

    quick_start.load_data_and_model = load_plain_data_and_model
    quick_start.quick_start.load_data_and_model = load_plain_data_and_model


def pickles_refused() -> None:
    """RecBole unpickles a saved data set or dataloader whenever its file exists, whoever wrote it.

    Its name tells neither the data's path nor its content, so it may also hold other data than asked for.
    """
    from recbole.config import Config
    from recbole.data import utils

    utils.pickle = SimpleNamespace(load=_refuse_pickle, dump=pickle.dump)
    set_default_parameters = Config._set_default_parameters

    @functools.wraps(set_default_parameters)
    def refuse_settings_first(self: Config) -> None:
        for key in _PICKLE_SETTINGS:
            if self.final_config_dict.get(key):
                raise ValueError(
                    f"{key}={self.final_config_dict[key]}: RecBole keeps data sets as pickles, which can run "
                    "code when they are loaded. Leave it out; the data is read from its atomic files."
                )
        set_default_parameters(self)

    Config._set_default_parameters = refuse_settings_first


def atomic_files_as_they_stand() -> None:
    """RecBole joins lines at quotation marks, keeps byte order marks, and reads slowly: see `recbole_tables`."""
    from recbole.data.dataset import dataset as dataset_module

    from recbole_mgr.integration.recbole_tables import open_without_mark, read_recbole_table

    dataset_module.pd = ModuleView(pd, read_csv=read_recbole_table)
    dataset_module.open = open_without_mark


def metrics_of_counts() -> None:
    """The collector calls ``.cpu()`` on counts that are no tensors (RUCAIBox/RecBole#2194, #2209).

    GiniIndex, TailPercentage, ItemCoverage and AveragePopularity need such counts. It also looks for them in
    an attribute that the dataloader of knowledge-based models lacks.
    """
    from recbole.data.dataloader import KnowledgeBasedDataLoader
    from recbole.evaluator.collector import Collector, DataStruct

    get_data_struct = Collector.get_data_struct

    @functools.wraps(get_data_struct)
    def set_counts_aside(self: Collector) -> DataStruct:
        collected = self.data_struct._data_dict
        counts = {key: value for key, value in collected.items() if not isinstance(value, torch.Tensor)}
        for key in counts:
            del collected[key]
        struct = get_data_struct(self)
        collected.update(counts)
        struct._data_dict.update(counts)
        return struct

    Collector.get_data_struct = set_counts_aside
    KnowledgeBasedDataLoader.dataset = property(lambda self: self._dataset)


def clipping_after_unscaling() -> None:
    """RecBole clips gradients that GradScaler has scaled, so ``max_norm`` is off by a factor of 65,536.

    The clipping moves into the optimizer's step, which GradScaler enters after unscaling; without a scaler
    the result is RecBole's.
    """
    from recbole.trainer import Trainer

    build_optimizer = Trainer._build_optimizer

    @functools.wraps(build_optimizer)
    def build_clipping_optimizer(self: Trainer, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = build_optimizer(self, **kwargs)
        clipping = self.config["clip_grad_norm"]
        if clipping:
            self.clip_grad_norm = None

            def clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
                parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
                nn.utils.clip_grad_norm_(parameters, **clipping)

            optimizer.register_step_pre_hook(clip)
        return optimizer

    Trainer._build_optimizer = build_clipping_optimizer


def exact_time_order() -> None:
    """RecBole sorts interactions by times rounded to float32 (RUCAIBox/RecBole#2204).

    Unix times become multiples of 64 or 128 s. Here rows are put in order before that, by the float64 time,
    and rows of the same time keep the order of the file. RecBole's own later sorts are stable and rounding
    never swaps two times, so the order lasts. Duplicates are removed in that order too, since RecBole's
    removal sorts unstably. Benchmark files, split beforehand, stay as they are: RecBole sorts none of them.
    """
    from recbole.data.dataset import Dataset

    remove_duplication = Dataset._remove_duplication

    @functools.wraps(remove_duplication)
    def sort_then_remove_duplication(self: Dataset) -> None:
        if self.time_field not in self.inter_feat:
            return remove_duplication(self)
        rows = self.inter_feat.sort_values(self.time_field, kind="stable", ignore_index=True)
        if self.config["rm_dup_inter"] is not None and self.uid_field is not None:
            pair = [self.uid_field, self.iid_field]
            rows = rows.drop_duplicates(pair, keep=self.config["rm_dup_inter"], ignore_index=True)
        self.inter_feat = rows
        remove_duplication(self)
        self.inter_feat = self.inter_feat.sort_index()
        return None

    Dataset._remove_duplication = sort_then_remove_duplication


def rows_without_ids() -> None:
    """RecBole takes the labels of rows without a user or item for positions once rows before them are gone.

    It then drops intact rows and keeps the faulty ones, whose item becomes ``[PAD]``. Here they are dropped
    first, with a warning that tells their lines, so that RecBole finds none.
    """
    from recbole.data.dataset import Dataset

    filter_nan_user_or_item = Dataset._filter_nan_user_or_item

    @functools.wraps(filter_nan_user_or_item)
    def drop_rows_first(self: Dataset) -> None:
        for name in ("inter", "user", "item"):
            rows = getattr(self, f"{name}_feat")
            if rows is None:
                continue
            ids = [field for field in (self.uid_field, self.iid_field) if field in rows]
            missing = rows[ids].isna().any(axis=1)
            if missing.any():
                lines = (rows.index[missing] + 2).tolist()  # the header is line 1
                self.logger.warning(f"{self.dataset_name}.{name}: lines {lines} left out, no user or item")
                setattr(self, f"{name}_feat", rows[~missing].reset_index(drop=True))
        filter_nan_user_or_item(self)

    Dataset._filter_nan_user_or_item = drop_rows_first


def popularity_of_interactions() -> None:
    """RecBole's Pop counts an item once per batch, however often it stands there, and counts sampled negatives too
    (``pop.py:42``). Equally popular items come in an order of the moment; here the lower internal id comes first.

    It is mended when it is imported, with the thirty models beside it, which few commands need.
    """
    ImportHook("recbole.model.general_recommender.pop", after=_mend_pop).install()


def _mend_pop() -> None:
    from recbole.model.general_recommender.pop import Pop

    original = Pop.calculate_loss

    @functools.wraps(original)
    def count_interactions(self, interaction):
        counts, item_ids = self.item_cnt.clone(), interaction[self.ITEM_ID]
        is_real = interaction["label"].long() if "label" in interaction else torch.ones_like(item_ids)
        loss = original(self, interaction)
        self.item_cnt = counts.index_add_(0, item_ids, is_real.unsqueeze(1))
        self.max_cnt = self.item_cnt.max(dim=0)[0]
        return loss

    ties = Pop.full_sort_predict

    @functools.wraps(ties)
    def lower_ids_first(self, interaction):
        scores = ties(self, interaction).view(-1, self.n_items)  # steps of 1 / max_cnt, in float64
        step = torch.arange(self.n_items, device=scores.device) / (2 * self.n_items * self.max_cnt.clamp(min=1))
        return (scores - step).view(-1)

    Pop.calculate_loss, Pop.full_sort_predict = count_interactions, lower_ids_first


def ties_on_a_gpu() -> None:
    """On a GPU ``topk`` gives equal scores in an order of the moment, so that a model with many of them (ItemKNN) is
    worth something else at each evaluation. Here the lower id comes first there."""
    from recbole.evaluator import collector

    from recbole_mgr.integration.collector import best_scores

    collector.torch = ModuleView(torch, topk=best_scores)


def usage_of_a_gpu() -> None:
    """RecBole asks a CPU for its GPU memory where a process that has used a GPU trains on the CPU next."""
    from recbole.trainer import trainer
    from recbole.utils import utils

    original = utils.get_gpu_usage

    @functools.wraps(original)
    def usage(device=None):
        return "0.00 G/0.00 G" if device is not None and torch.device(device).type == "cpu" else original(device)

    utils.get_gpu_usage = trainer.get_gpu_usage = usage


def loaders_fork() -> None:
    """A worker of a loader has the whole data set. Forked, it shares the memory; started otherwise, as is the custom
    from Python 3.14 on and in spawned processes, it would get a copy, which fails for what is mapped from a file."""
    from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader

    original = AbstractDataLoader.__init__

    @functools.wraps(original)
    def forking(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if self.num_workers and "fork" in get_all_start_methods():
            self.multiprocessing_context = "fork"

    AbstractDataLoader.__init__ = forking


def several_processes() -> None:
    """RecBole's ``run(nproc=2)`` needs NCCL, and its processes drift apart where a model trains outside its loss.

    For our models it starts processes that share every batch, as ``recbole-mgr run`` does. RecBole's own models keep
    RecBole's way there.
    """
    from recbole import quick_start

    from recbole_mgr.integration.registry import OURS

    original = quick_start.run

    @functools.wraps(original)
    def run(model, dataset, config_file_list=None, config_dict=None, saved=True, *machine, **named):
        what = (model, dataset, config_file_list, config_dict, saved)
        options = dict(zip(("nproc", "world_size", "ip", "port", "group_offset"), machine, strict=False)) | named
        asked = split_off_launch([f"--{name}={value}" for name, value in options.items()])[1]
        if model not in OURS or asked is None:
            return original(*what, *machine, **named)
        answers = get_context("spawn").SimpleQueue()
        status = start_processes(asked, _run_joined, answers, what)
        if status:
            raise ValueError(f"run: a process ended with status {status}; it has told why")
        return None if answers.empty() else answers.get()

    quick_start.run = quick_start.quick_start.run = run


def _run_joined(answers: Any, arguments: tuple) -> None:
    """RecBole's ``run_recbole`` in one of several processes; the owner gives the result."""
    from recbole.quick_start import run_recbole

    with processes.joined():
        result = run_recbole(*arguments)
        if processes.is_owner():
            answers.put(result)


def anomaly_detection_off() -> None:
    """Importing SINE switches autograd's anomaly detection on for the whole process (``sine.py:25``).

    Looking up any sequential model imports them all. Every backward pass then checks every gradient: training
    of small models takes two to three times as long.
    """
    enabled = torch.is_anomaly_enabled()
    import recbole.model.sequential_recommender  # noqa: F401  (for its side effect, undone here)

    torch.autograd.set_detect_anomaly(enabled)


def _literal(text: str) -> Any:
    spelled = {"true": True, "false": False, "none": None}
    if text.strip().lower() in spelled:
        return spelled[text.strip().lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise NameError(f"{text!r} is not a literal; write a number, string, list or dictionary") from error


def _refuse_pickle(file: Any) -> NoReturn:
    raise ValueError(
        f"{file.name} is a pickle, which can run code when it is loaded, so it is not read. Delete or move "
        "it, or set another checkpoint_dir; the data is read from its atomic files."
    )


_patches = PatchSet(
    literal_settings,
    plain_checkpoints,
    pickles_refused,
    atomic_files_as_they_stand,
    metrics_of_counts,
    clipping_after_unscaling,
    rows_without_ids,
    exact_time_order,
    popularity_of_interactions,
    ties_on_a_gpu,
    usage_of_a_gpu,
    loaders_fork,
    several_processes,
    anomaly_detection_off,
)


def apply(skip: Collection[str] = ()) -> None:
    """Apply ``compat.py``'s patches, without which RecBole cannot be imported, then these.

    Args:
        skip: names of patches to leave out, as in ``PatchSet.apply``.
    """
    compat.apply()
    _patches.apply(skip)
