"""Training steps and evaluation by one process and by several: seconds, memory, what communication costs.

Every number of processes works on the same global batches, one thread each; they take turns, each turn a new start.
Memory: all that the first process holds, and what another one holds for itself alone (USS) beyond what it held when the
libraries had been imported.
``python benchmarks/processes.py --data_path <data> --dataset Beauty``
``python benchmarks/processes.py --recommend <run_dir>``
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import torch
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed

import recbole_mgr  # noqa: F401  (RecBole on today's libraries)
from recbole_mgr.distributed import processes
from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.histories import histories_of
from recbole_mgr.integration.parallel import ParallelStep, replicated
from recbole_mgr.integration.registry import MODELS
from recbole_mgr.integration.seen_items import mark_seen_items
from recbole_mgr.integration.trainer import comparable
from recbole_mgr.integration.user_sample import sample_of_users
from recbole_mgr.serving import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--dataset", default="Beauty", help="name of the data set")
    parser.add_argument("--data_path", default="dataset_atomic", help="folder that holds it")
    parser.add_argument("--model", default="TIGER", help="any model")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="numbers of processes")
    parser.add_argument("--steps", type=int, default=30, help="training steps a turn")
    parser.add_argument("--users", type=int, default=2048, help="users evaluated a turn")
    parser.add_argument("--turns", type=int, default=3, help="measured turns")
    parser.add_argument("--batch", type=int, default=512, help="rows of all processes together, in training")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--recommend", metavar="RUN_DIR", help="recommend with a finished run instead")
    parser.add_argument("--histories", type=int, default=200_000, help="histories to recommend for")
    parser.add_argument("--checkpoint_dir", default="saved", help="keeps the semantic IDs")
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        with processes.joined():
            work(arguments)
        return
    if arguments.recommend:
        recommend(arguments)
        return
    measured = {count: [] for count in arguments.processes}
    for _ in range(arguments.turns):
        for count in arguments.processes:
            told = subprocess.run([*_start(count), *sys.argv], check=True, capture_output=True, text=True).stdout
            measured[count].append(json.loads(told.splitlines()[-1]))
    print(f"{arguments.dataset}, {arguments.model}, batch {arguments.batch}, {arguments.device}, one thread each")
    alone = None
    for count, turns in measured.items():
        middle = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        alone = alone or middle
        print(
            f"{count} process(es): {middle['step']:.3f} s a step ({alone['step'] / middle['step']:.2f} times), "
            f"{middle['evaluation']:.2f} s an evaluation ({alone['evaluation'] / middle['evaluation']:.2f} times), "
            f"{middle['first']:.0f} MB in the first process, {middle['added']:.0f} MB added by each other one, "
            f"{middle['reduce']:.1f} ms to add up {middle['parameters'] / 1e6:.1f} M gradients"
        )


def recommend(arguments: argparse.Namespace) -> None:
    """The same command by each number of processes, on random histories; their files are compared."""
    run_dir, random = Path(arguments.recommend), np.random.default_rng(0)
    tokens = load(run_dir, device="cpu").item_ids
    with tempfile.TemporaryDirectory() as folder:
        histories = Path(folder) / "histories.txt"
        with histories.open("w", encoding="utf-8") as file:
            for length in random.integers(3, 15, size=arguments.histories):
                file.write(" ".join(tokens[item] for item in random.integers(len(tokens), size=length)) + "\n")
        seconds, written = {}, {}
        for count in arguments.processes:
            output = Path(folder) / f"{count}.jsonl"
            command = ["recommend", str(run_dir), "--histories", str(histories), "--output", str(output), "--ids"]
            started = time.perf_counter()
            command = [*_start(count), "-m", "recbole_mgr", *command, "--device", arguments.device]
            subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            seconds[count], written[count] = time.perf_counter() - started, output.read_bytes()
    first = arguments.processes[0]
    for count in arguments.processes:
        same = "the same file" if written[count] == written[first] else "ANOTHER FILE"
        ratio = seconds[first] / seconds[count]
        print(f"{count} process(es): {seconds[count]:.1f} s for {arguments.histories} ({ratio:.2f} times), {same}")


def _start(count: int) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]


def work(arguments: argparse.Namespace) -> None:
    """A turn in one process; the owner prints what was measured, as JSON."""
    torch.set_num_threads(1)
    of_libraries = psutil.Process().memory_full_info().uss
    settings = {
        "data_path": arguments.data_path,
        "checkpoint_dir": arguments.checkpoint_dir,
        "train_batch_size": arguments.batch,
        "eval_batch_size": 256,
        "num_threads": 1,
        "show_progress": False,
        "state": "ERROR",
        **({"gpu_id": ""} if arguments.device == "cpu" else {}),
    }
    config = make_config(arguments.model, arguments.dataset, [], settings)
    init_seed(config["seed"], config["reproducibility"])
    with processes.owner_first():
        dataset = create_dataset(config)
        histories = histories_of(dataset)
        train, valid, test = data_preparation(config, dataset)
    mark_seen_items(histories, valid._dataset, test._dataset)
    model = config.model_class(config, train._dataset).to(config["device"])
    trainer = comparable(get_trainer(config["MODEL_TYPE"], arguments.model))(config, model)
    trainer.eval_collector.data_collect(train)
    if arguments.model in MODELS:
        trainer._schedule(len(train))
    step = ParallelStep(model, replicated(model)) if processes.count() > 1 else None
    batches = [batch.to(trainer.device) for batch in itertools.islice(iter(train), arguments.steps + 2)]
    train_steps(trainer, step, batches[:2])
    seconds = {
        "step": _seconds(lambda: train_steps(trainer, step, batches[2:]), trainer.device) / len(batches[2:]),
    }
    users = sample_of_users(test, arguments.users)
    seconds["evaluation"] = _seconds(lambda: trainer.evaluate(users, load_best_model=False), trainer.device)
    count = sum(parameter.numel() for parameter in model.parameters())
    seconds["reduce"] = 50 * _seconds(lambda: [_reduce(count, trainer.device) for _ in range(20)], trainer.device)
    memory = psutil.Process().memory_full_info()
    held = processes.gather((memory.rss / 1e6, (memory.uss - of_libraries) / 1e6))
    if processes.is_owner():
        added = statistics.mean(own for _, own in held[1:]) if len(held) > 1 else 0.0
        print(json.dumps({**seconds, "first": held[0][0], "added": added, "parameters": count}))


def train_steps(trainer, step: ParallelStep | None, batches: list) -> None:
    """As the trainer's loop does them."""
    trainer.model.train()
    for batch in batches:
        trainer.optimizer.zero_grad()
        loss = step.loss(batch, trainer.model.calculate_loss) if step else trainer.model.calculate_loss(batch)
        loss.backward()
        trainer.optimizer.step()


def _reduce(count: int, device: torch.device) -> None:
    if processes.count() > 1:
        torch.distributed.all_reduce(torch.zeros(count, device=device), group=processes.gradient_group(device.type))


def _seconds(work, device: torch.device) -> float:
    processes.wait()
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    processes.wait()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
