"""What an item softmax and a memory cost: CPU seconds of training steps and of ranking, against the plain model.

``python benchmarks/priors.py --data_path <data> --dataset Instruments --threads 1``. Turns alternate, a ratio for each
pair. CPU seconds of the process, not of the clock, so that other work on the machine counts less. With ``--epochs 1``
ranking costs what it costs in use: items that cannot come into a list are given up the earlier, the more is known.
"""

import argparse
import itertools
import statistics
import time

import torch
from workload import arguments_with, load, machine, train_steps

KINDS = {
    "codes alone": {},
    "item softmax": {"item_softmax": True},
    "item softmax and memory": {"item_softmax": True, "memory": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="MGRLFpp", help="generating model")
    parser.add_argument("--modalities", nargs="+", default=["collaborative", "text", "image"])
    parser.add_argument("--steps", type=int, default=3, help="training steps a turn")
    parser.add_argument("--epochs", type=int, default=0, help="epochs that each model learns before")
    parser.add_argument("--turns", type=int, default=3, help="measured turns")
    arguments = arguments_with(parser)
    shared = {"modalities": arguments.modalities, "semantic_ids": arguments.semantic_ids, "branch_size": 32}
    shared |= {"preset": None, "hidden_size": 64, "inner_size": 256, "alignment_epochs": 0, "learn_repeats": True}
    workloads, made = {}, {}
    for kind, settings in KINDS.items():
        started = time.process_time()
        workloads[kind] = load(arguments.model, arguments, **shared, **settings)
        made[kind] = time.process_time() - started
        optimizer = torch.optim.AdamW(workloads[kind].model.parameters(), lr=2e-3)
        for _ in range(arguments.epochs):
            train_steps(workloads[kind], workloads[kind].train, optimizer)
    work = {
        "training": _train,
        "ranking, beam 50": lambda w, a: _rank(w, 50),
        "ranking, beam 20": lambda w, a: _rank(w, 20),
    }
    print(f"{arguments.model}, {machine(arguments)}\n")
    print("| | " + " | ".join(KINDS) + " |\n|---|" + "---:|" * len(KINDS))
    print("| made, CPU s | " + " | ".join(f"{seconds:.1f}" for seconds in made.values()) + " |")
    for name, call in work.items():
        for workload in workloads.values():
            call(workload, arguments)  # warm-up
        taken = {kind: [] for kind in KINDS}
        for _, kind in itertools.product(range(arguments.turns), KINDS):
            started = time.process_time()
            call(workloads[kind], arguments)
            taken[kind].append(time.process_time() - started)
        plain = taken["codes alone"]
        cells = [
            f"{statistics.median(each):.2f} s, {statistics.median(a / b for a, b in zip(each, plain, strict=True)):.2f}"
            for each in taken.values()
        ]
        print(f"| {name}, CPU s a turn and ratio | " + " | ".join(cells) + " |", flush=True)


def _train(workload, arguments) -> None:
    optimizer = torch.optim.AdamW(workload.model.parameters(), lr=1e-4)
    train_steps(workload, itertools.islice(iter(workload.train), arguments.steps), optimizer)


@torch.no_grad()
def _rank(workload, beam_size: int) -> None:
    workload.model.eval()
    interaction = next(iter(workload.test))[0]
    workload.model.generate(interaction, k=10, beam_size=beam_size)


if __name__ == "__main__":
    main()
