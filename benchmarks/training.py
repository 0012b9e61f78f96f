"""Seconds of a training epoch: a hierarchical model against RecBole's SASRec with its default settings.

Both train on the same split with the same longest history; a few steps of each in turn, scaled to an epoch.
``python benchmarks/training.py --data_path <data> --dataset Beauty``
"""

import argparse
import functools
import itertools
import statistics

import torch
from workload import Workload, arguments_with, load, machine, seconds, train_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="TIGER", help="generating model")
    parser.add_argument("--baseline", default="SASRec", help="model of RecBole's")
    parser.add_argument("--steps", type=int, default=8, help="training steps of the model per turn")
    parser.add_argument("--turns", type=int, default=5, help="measured turns")
    parser.add_argument("--profile", action="store_true", help="also show where the time of a turn goes")
    arguments = arguments_with(parser)

    contestants = {name: load(name, arguments) for name in (arguments.model, arguments.baseline)}
    ours, baseline = contestants[arguments.model], contestants[arguments.baseline]
    # a baseline of larger batches gets fewer steps a turn
    steps = {
        arguments.model: arguments.steps,
        arguments.baseline: max(1, round(arguments.steps * len(baseline.train) / len(ours.train))),
    }
    turns = {name: _turns(workload, steps[name], arguments) for name, workload in contestants.items()}
    for turn in turns.values():
        next(turn)  # warm-up
    epochs = {name: [] for name in contestants}
    for _ in range(arguments.turns):
        for name, turn in turns.items():
            epochs[name].append(next(turn))
    ratios = [b / a for a, b in zip(epochs[arguments.model], epochs[arguments.baseline], strict=True)]

    print(f"{machine(arguments)}\n")
    print(f"| model | steps an epoch | epoch, s | ratio to {arguments.model} |\n|---|---:|---:|---:|")
    for name, workload in contestants.items():
        ratio = statistics.median(ratios) if name == arguments.baseline else 1.0
        print(f"| {name} | {len(workload.train)} | {statistics.median(epochs[name]):.1f} | {ratio:.2f} |")
    print(f"\nratio per turn: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    if arguments.profile:
        with torch.profiler.profile() as profiler:
            next(turns[arguments.model])
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


def _turns(workload: Workload, steps: int, arguments: argparse.Namespace):
    """Each next() trains some steps and gives the seconds that an epoch would take at that pace."""
    optimizer = torch.optim.AdamW(workload.model.parameters(), lr=1e-3)
    endless = itertools.chain.from_iterable(iter(lambda: workload.train, None))
    while True:
        batches = [batch.to(workload.model.device) for batch in itertools.islice(endless, steps)]
        turn = functools.partial(train_steps, workload, batches, optimizer)
        yield seconds(turn, arguments.device) * len(workload.train) / steps


if __name__ == "__main__":
    main()
