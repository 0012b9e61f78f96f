"""What the benchmarks share: a model with its loaders, and clocks."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

import recbole_mgr  # noqa: F401  (RecBole on today's libraries)
from recbole_mgr.integration.config import make_config


class Workload(NamedTuple):
    """A model on its device, RecBole's loaders of its data, and all settings."""

    model: torch.nn.Module
    train: Iterable
    valid: Iterable
    test: Iterable
    config: Config


def arguments_with(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line with the options of every benchmark added; sets the number of threads."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--dataset", default="Beauty", help="name of the data set")
    parser.add_argument("--data_path", default="dataset_atomic", help="folder that holds it")
    parser.add_argument("--semantic_ids", help="a file of them, where the data set has no features")
    parser.add_argument("--history", type=int, default=20, help="longest history in items")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    return arguments


def load(name: str, arguments: argparse.Namespace, **settings: Any) -> Workload:
    """A model of RecBole's or ours with fresh weights; semantic IDs are built in a temporary folder."""
    settings = {
        "data_path": arguments.data_path,
        "checkpoint_dir": tempfile.mkdtemp(prefix="benchmark-"),
        "MAX_ITEM_LIST_LENGTH": arguments.history,
        "use_gpu": arguments.device != "cpu",
        "num_threads": arguments.threads,
        **settings,
    }
    config = make_config(name, arguments.dataset, [], settings)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    return Workload(config.model_class(config, train._dataset).to(config["device"]), train, valid, test, config)


def train_steps(workload: Workload, batches: Iterable, optimizer: torch.optim.Optimizer) -> None:
    """A training step a batch, as RecBole's trainer does it, gradient clipping included."""
    workload.model.train()
    for batch in batches:
        optimizer.zero_grad()
        workload.model.calculate_loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(workload.model.parameters(), 1.0)
        optimizer.step()


def now(device: str) -> float:
    """Seconds of the CPU; or of the wall, when a GPU has done what it was given."""
    if device == "cpu":
        return time.process_time()
    synchronize(device)
    return time.perf_counter()


def seconds(work: Callable[[], Any], device: str) -> float:
    """Wall seconds of a call; waits for the device."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def machine(arguments: argparse.Namespace) -> str:
    """One line that says what the numbers were measured on."""
    device = torch.cuda.get_device_name() if arguments.device != "cpu" else f"{arguments.threads} CPU threads"
    return f"{arguments.dataset}, history {arguments.history}, {device}, torch {torch.__version__}"
