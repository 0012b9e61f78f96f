"""CPU seconds to test 1,000 users: generating models against RecBole's SASRec, all items ranked, in one run.

``python benchmarks/evaluation.py --data_path <data> --dataset Beauty``

SASRec is tested by RecBole's own trainer and collector: one ranking, nothing masked. Ours give two rankings, with and
without the items of the history.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from recbole.trainer import Trainer
from workload import Workload, arguments_with, load, machine, train_steps

from recbole_mgr.integration.trainer import GenerativeTrainer
from recbole_mgr.integration.user_sample import sample_of_users

CONTESTANTS = {
    "SASRec, RecBole's full sort": ("SASRec", {}),
    "TIGER, beam 20": ("TIGER", {"beam_size": 20}),
    "TIGER, beam 50": ("TIGER", {"beam_size": 50}),
    "TIGER, preset best": ("TIGER", {"preset": "best"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1000, help="users to test")
    parser.add_argument("--turns", type=int, default=5, help="measured turns")
    parser.add_argument("--warm_up", type=int, default=100, help="training steps before, so that beams are not uniform")
    parser.set_defaults(history=50)
    arguments = arguments_with(parser)
    tests = {label: test_of(*contestant, arguments) for label, contestant in CONTESTANTS.items()}
    taken: dict[str, list[float]] = {label: [] for label in tests}
    for _, (label, test) in itertools.product(range(arguments.turns + 1), tests.items()):
        started = time.process_time()
        test()
        taken[label].append(time.process_time() - started)
    baseline = next(iter(taken.values()))[1:]  # without the first turn, which warms up
    print(f"{arguments.users:,} users, {machine(arguments)}\n")
    print("| model | CPU s | ratio to the first |\n|---|---:|---:|")
    for label, (_, *turns) in taken.items():
        ratio = statistics.median(own / other for own, other in zip(turns, baseline, strict=True))
        print(f"| {label} | {statistics.median(turns):.3f} | {ratio:.2f} |")


def test_of(name: str, settings: dict[str, Any], arguments: argparse.Namespace) -> Callable[[], Any]:
    """What tests a model that was trained for a few steps."""
    workload = load(name, arguments, **settings)
    model, is_ours = workload.model, name != "SASRec"
    train_steps(workload, _batches(workload, arguments), torch.optim.AdamW(model.parameters(), lr=1e-3))
    trainer = (GenerativeTrainer if is_ours else Trainer)(workload.test.config, model)
    trainer.eval_collector.data_collect(workload.train)
    users = sample_of_users(workload.test, arguments.users)
    return lambda: trainer.evaluate(users, load_best_model=False)


def _batches(workload: Workload, arguments: argparse.Namespace):
    return (batch.to(workload.model.device) for _, batch in zip(range(arguments.warm_up), workload.train))  # noqa: B905


if __name__ == "__main__":
    main()
