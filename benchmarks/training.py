"""Seconds of a training epoch: a hierarchical model against RecBole's SASRec with its default settings.

Both train on the same split with the same longest history; a few steps of each in turn, scaled to an epoch. Of the
model also: the operator calls of a step as torch's profiler counts them (``aten::``, those inside others included), its
floating-point operations as torch's counter counts them, and which share they are of what a product of two matrices of
1024 x 1024 reaches in the same seconds (CPU seconds on a CPU).
``python benchmarks/training.py --data_path <data> --dataset Beauty``
``python benchmarks/training.py --data_path <data> --dataset Instruments --model MGRLF --threads 1 --baseline none
--semantic_ids <data>/Instruments/Instruments.semantic_ids.tsv``
"""

import argparse
import functools
import itertools
import statistics
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode
from workload import Workload, arguments_with, load, machine, now, seconds, train_steps

from recbole_mgr.integration.trainer import compiled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="TIGER", help="generating model")
    parser.add_argument("--baseline", default="SASRec", help="model of RecBole's, or none")
    parser.add_argument("--steps", type=int, default=8, help="training steps of the model per turn")
    parser.add_argument("--turns", type=int, default=5, help="measured turns")
    parser.add_argument("--compile", action="store_true", help="the model's loss as a program, as the setting does it")
    parser.add_argument("--profile", action="store_true", help="also show where the time of a turn goes")
    arguments = arguments_with(parser)

    contestants = {arguments.model: load(arguments.model, arguments, semantic_ids=arguments.semantic_ids)}
    if arguments.baseline != "none":
        contestants[arguments.baseline] = load(arguments.baseline, arguments)
    ours = contestants[arguments.model]
    if arguments.compile:
        ours.model.backbone.loss = compiled(ours.model.backbone.loss, ours.model.device)
    # a baseline of larger batches gets fewer steps a turn
    steps = {
        name: max(1, round(arguments.steps * len(workload.train) / len(ours.train)))
        for name, workload in contestants.items()
    }
    turns = {name: _turns(workload, steps[name], arguments) for name, workload in contestants.items()}
    for turn in turns.values():
        next(turn)  # warm-up
    epochs = {name: [] for name in contestants}
    for _ in range(arguments.turns):
        for name, turn in turns.items():
            epochs[name].append(next(turn))

    print(f"{machine(arguments)}\n")
    print(f"| model | steps an epoch | epoch, s | ratio to {arguments.model} |\n|---|---:|---:|---:|")
    for name, workload in contestants.items():
        ratio = statistics.median(other / own for own, other in zip(epochs[arguments.model], epochs[name], strict=True))
        print(f"| {name} | {len(workload.train)} | {statistics.median(epochs[name]):.1f} | {ratio:.2f} |")
    if not arguments.compile:  # nobody counts what a program computes
        print(f"\na step of {arguments.model}: {_step(ours, arguments)}")
    if arguments.profile:
        with torch.profiler.profile() as profiler:
            next(turns[arguments.model])
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


def _turns(workload: Workload, steps: int, arguments: argparse.Namespace):
    """Each next() trains some steps and gives the seconds that an epoch would take at that pace."""
    optimizer = torch.optim.AdamW(workload.model.parameters(), lr=1e-3, fused=True)  # as the trainer has it
    endless = itertools.chain.from_iterable(iter(lambda: workload.train, None))
    while True:
        batches = [batch.to(workload.model.device) for batch in itertools.islice(endless, steps)]
        turn = functools.partial(train_steps, workload, batches, optimizer)
        yield seconds(turn, arguments.device) * len(workload.train) / steps


def _step(workload: Workload, arguments: argparse.Namespace) -> str:
    """Calls and operations of a step, and their share of the peak."""
    batches = [batch.to(workload.model.device) for batch in itertools.islice(iter(workload.train), arguments.steps)]
    optimizer = torch.optim.AdamW(workload.model.parameters(), lr=1e-3, fused=True)
    train = functools.partial(train_steps, workload, batches, optimizer)
    with FlopCounterMode(display=False) as counter:
        train()
    operations = counter.get_total_flops()
    with torch.profiler.profile() as profiler:
        train()
    calls = sum(event.count for event in profiler.key_averages() if event.key.startswith("aten::"))
    shares = sorted(
        operations / _seconds(train, arguments.device) / _peak(arguments.device) for _ in range(arguments.turns)
    )
    return (
        f"{calls / len(batches):.0f} operator calls, {operations / len(batches) / 1e9:.2f} GFLOP, "
        f"{statistics.median(shares):.0%} of the peak ({shares[0]:.0%} to {shares[-1]:.0%})"
    )


def _peak(device: str, size: int = 1024, products: int = 10) -> float:
    """Floating-point operations a second of products of two square matrices."""
    matrix = torch.randn(size, size, device=device)
    matrix @ matrix  # warm-up
    return products * 2 * size**3 / _seconds(lambda: [matrix @ matrix for _ in range(products)], device)


def _seconds(work: Callable[[], object], device: str) -> float:
    """Seconds of a call: of the device, or of the CPU, so that other processes count less."""
    started = now(device)
    work()
    return now(device) - started


if __name__ == "__main__":
    main()
