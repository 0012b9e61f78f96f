"""CPU seconds to test 1,000 users, all items ranked: generating models against RecBole's SASRec, in turns in one run.

``python benchmarks/evaluation.py --data_path <data> --dataset Beauty``

SASRec is tested by RecBole's own trainer and collector: one ranking, nothing masked. Ours are tested for one ranking as
well, as in a validation, and for both in one pass, with and without the items of the history, as in a test.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from recbole.trainer import Trainer
from workload import arguments_with, load, machine, train_steps

from recbole_mgr.integration.trainer import GenerativeTrainer
from recbole_mgr.integration.user_sample import sample_of_users

BASELINE = "SASRec, RecBole's full sort"
OURS = {
    "codes, beam 20": {"beam_size": 20},
    "codes, beam 50": {"beam_size": 50},
    "items, all ranked": {"item_softmax": True, "prior_weights": {"codes": 0.0, "item_softmax": 1.0}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="TIGER", help="generating model")
    parser.add_argument("--users", type=int, default=1000, help="users to test")
    parser.add_argument("--turns", type=int, default=5, help="measured turns")
    parser.add_argument("--warm_up", type=int, default=100, help="training steps before, so that beams are not uniform")
    parser.add_argument("--saved", default=tempfile.mkdtemp(prefix="benchmark-"), help="folder to keep semantic IDs in")
    arguments = arguments_with(parser)
    tests: dict[str, Callable[[], Any]] = {BASELINE: test_of("SASRec", {}, arguments)[0]}
    for label, settings in OURS.items():
        one, both = test_of(arguments.model, settings, arguments)
        tests |= {f"{label}, one ranking": one, f"{label}, both rankings": both}
    taken: dict[str, list[float]] = {label: [] for label in tests}
    for turn in range(arguments.turns + 1):
        for label, test in tests.items():
            started = time.process_time()
            test()
            if turn:  # the first one warms up
                taken[label].append(time.process_time() - started)
    print(f"{arguments.model}, {arguments.users:,} users, {machine(arguments)}\n")
    print("| what is tested | CPU s | ratio to SASRec |\n|---|---:|---:|")
    for label, turns in taken.items():
        ratio = statistics.median(own / other for own, other in zip(turns, taken[BASELINE], strict=True))
        print(f"| {label} | {statistics.median(turns):.3f} | {ratio:.2f} |")


def test_of(
    name: str, settings: dict[str, Any], arguments: argparse.Namespace
) -> tuple[Callable[[], Any], Callable[[], Any] | None]:
    """What tests a model that was trained for a few steps, for one ranking and for both; RecBole's knows one."""
    workload = load(name, arguments, checkpoint_dir=arguments.saved, **settings)
    model = workload.model
    if name == "SASRec":
        trainer = Trainer(workload.test.config, model)
    else:
        steps = zip(range(arguments.warm_up), workload.train)  # noqa: B905
        train_steps(workload, (batch.to(model.device) for _, batch in steps), torch.optim.AdamW(model.parameters()))
        trainer = GenerativeTrainer(workload.test.config, model)
    trainer.eval_collector.data_collect(workload.train)
    users = sample_of_users(workload.test, arguments.users)
    both = getattr(trainer, "test", None)
    return (
        lambda: trainer.evaluate(users, load_best_model=False),
        both and (lambda: both(users, load_best_model=False)),
    )


if __name__ == "__main__":
    main()
