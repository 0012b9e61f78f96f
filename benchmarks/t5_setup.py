"""What the T5 benchmarks share: TIGER's backbone and rows, transformers' side of the comparison, two clocks."""

import argparse
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from workload import load, synchronize

from recbole_mgr.model.backbone.t5 import T5Backbone

TIGER_SIZES = {
    "hidden_size": 128,
    "n_layers": 4,
    "n_heads": 6,
    "t5_head_size": 64,
    "inner_size": 1024,
    "hidden_dropout_prob": 0.1,
}


class Rows(NamedTuple):
    """history [R, L], lengths [R] and targets [R], all int64, on the CPU."""

    history: Tensor
    lengths: Tensor
    targets: Tensor

    def sample(self, size: int, seed: int) -> "Rows":
        """At most ``size`` rows, drawn without replacement, in random order."""
        chosen = torch.randperm(len(self.targets), generator=torch.Generator().manual_seed(seed))[:size]
        return Rows(*(column[chosen] for column in self))

    def batches(self, size: int, device: str) -> list["Rows"]:
        return [Rows(*parts) for parts in zip(*(column.to(device).split(size) for column in self), strict=True)]


class World(NamedTuple):
    """The backbone with fresh weights, on the device; training prefixes and test histories."""

    backbone: T5Backbone
    train: Rows
    test: Rows


class Rate(NamedTuple):
    """Rows per second of wall-clock time and per second of CPU time."""

    wall: float
    cpu: float


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="bfloat16 is autocast")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved runs; the median counts")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the sample")
    parser.add_argument("--compile", action="store_true", help="torch.compile our side; minutes on a CPU")
    parser.add_argument("--profile", action="store_true", help="print where our time goes")


def load_backbone(args: argparse.Namespace) -> World:
    logging.disable(logging.INFO)
    settings = {"seed": args.seed, "backbone": "t5", "code_softmax": "legal", "semantic_ids": args.semantic_ids}
    workload = load("TIGER", args, **settings, **TIGER_SIZES)
    torch.set_num_threads(args.threads)  # data preparation may have changed it
    parts = (part._dataset.inter_feat for part in (workload.train, workload.test))
    columns = ("item_id_list", "item_length", "item_id")
    return World(workload.model.backbone, *(Rows(*(part[column] for column in columns)) for part in parts))


def plain_transformers(backbone: T5Backbone) -> nn.Module:
    """transformers' own ``T5ForConditionalGeneration`` with the backbone's weights."""
    from transformers import T5Config, T5ForConditionalGeneration  # not above recbole_mgr, which mends its imports

    model = T5ForConditionalGeneration(T5Config(**backbone.t5.sizes.of_transformers))
    model.load_state_dict(backbone.t5.state_dict())
    return model.to(backbone.token_ids.device)


def encoder_input(backbone: T5Backbone, rows: Rows) -> dict[str, Tensor]:
    """A batch as transformers takes it: all digits of all items, padded to the batch's longest."""
    longest = int(rows.lengths.max())
    is_item = torch.arange(longest, device=rows.lengths.device) < rows.lengths.unsqueeze(1)  # [B, L]
    return {
        "input_ids": backbone.token_ids[rows.history[:, :longest]].flatten(1),  # [B, L * D]
        "attention_mask": is_item.repeat_interleave(backbone.num_digits, dim=1).long(),
    }


def precision(args: argparse.Namespace) -> AbstractContextManager:
    if args.dtype == "float32":
        return nullcontext()
    return torch.autocast(torch.device(args.device).type, dtype=torch.bfloat16)


def rate(run: Callable[[], object], num_rows: int, device: str) -> Rate:
    """Time one call of ``run``, which works through ``num_rows`` rows."""
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    synchronize(device)
    return Rate(num_rows / (time.perf_counter() - wall), num_rows / (time.process_time() - cpu))


def median(rates: list[Rate]) -> Rate:
    return Rate(*(sorted(column)[len(column) // 2] for column in zip(*rates, strict=True)))


def print_profile(run: Callable[[], object], device: str) -> None:
    """The twenty operations that take most of the time of one call of ``run``."""
    on_gpu = torch.device(device).type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as recorded:
        run()
        synchronize(device)
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    print(recorded.key_averages().table(sort_by=order, row_limit=20, max_name_column_width=50))
