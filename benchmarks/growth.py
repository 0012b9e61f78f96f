"""How the cost of a run grows with its data: CPU seconds and memory of each stage, from the files to recommendations.

    python -m benchmarks.growth --interactions 20000 200000 2000000
    python -m benchmarks.growth --interactions 10000000 --steps 20 --users 500

The shops are synthetic: items by Zipf's law, a tenth as many as interactions, 9 interactions a user, times at random,
and semantic IDs of two modalities drawn at random, so that quantising is not part of it. Each size has a process of its
own, and a second one that finds what the first has kept. One thread. Peak memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
import yaml
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed

import recbole_mgr  # first: RecBole on today's libraries
from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import ItemText
from recbole_mgr.files import write_text
from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.dataset import tokens_of
from recbole_mgr.integration.trainer import comparable
from recbole_mgr.run.identity import RunIdentity, about_run, checked_provenance
from recbole_mgr.serving.run_directory import export_run
from recbole_mgr.serving.run_files import SETTINGS_FILE

NAME = "shop"


def write_shop(folder: Path, interactions: int, of_a_user: int = 9) -> None:
    """``shop/shop.inter`` and ``shop/shop.semantic_ids.tsv`` in a folder."""
    rng = np.random.default_rng(0)
    num_items, num_users = interactions // 10, interactions // of_a_user
    popularity = 1 / np.arange(1, num_items + 1) ** 0.8
    items = rng.permutation(num_items)[
        np.searchsorted(popularity.cumsum() / popularity.sum(), rng.random(interactions)).clip(max=num_items - 1)
    ]
    items[rng.permutation(interactions)[:num_items]] = np.arange(num_items)  # each at least once
    users = np.concatenate([np.repeat(np.arange(num_users), 5), rng.integers(num_users, size=interactions)])
    users = rng.permutation(users[:interactions])
    columns = {
        "user_id:token": "U" + pl.Series(users).cast(pl.String).str.zfill(8),
        "item_id:token": _item_tokens(items),
        "timestamp:float": rng.integers(1_500_000_000, 1_600_000_000, interactions),
    }
    (folder / NAME).mkdir(parents=True)
    pl.DataFrame(columns).write_csv(folder / NAME / f"{NAME}.inter", separator="\t")
    codes = rng.integers(256, size=(num_items, 8))
    codes[:, 4:] = codes[:, :4]  # two modalities of four, so that an ID is long and its end follows from its beginning
    table = {"item_id:token": _item_tokens(np.arange(num_items))}
    for modality, block in (("text", codes[:, :4]), ("image", codes[:, 4:])):
        digits = [pl.Series(str(level), block[:, level]).cast(pl.String) for level in range(4)]
        table[f"{modality}_codes:token_seq"] = pl.DataFrame(digits).select(pl.concat_str(pl.all(), separator=" "))[:, 0]
    pl.DataFrame(table).write_csv(folder / NAME / f"{NAME}.semantic_ids.tsv", separator="\t", quote_style="never")


def _item_tokens(numbers: np.ndarray) -> pl.Series:
    return "B" + pl.Series(numbers).cast(pl.String).str.zfill(9)


class Stages:
    """What one process does, stage by stage: name, CPU seconds, peak MB so far."""

    def __init__(self) -> None:
        self.done: list[tuple[str, float, float]] = [("libraries", 0.0, peak_megabytes())]

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        self.done.append((name, time.process_time() - started, peak_megabytes()))
        return result


def train(folder: Path, steps: int, users: int) -> list[tuple[str, float, float]]:
    """From the files to a run directory with hardly trained weights."""
    torch.set_num_threads(1)
    stage = Stages()
    settings = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "semantic_ids": str(folder / NAME / f"{NAME}.semantic_ids.tsv"),
        "use_gpu": False,
        "state": "ERROR",
        "show_progress": False,
        "valid_users": users,
    }
    config = make_config("MGRLF", NAME, [], settings)
    init_seed(1, True)
    provenance = stage("histories", lambda: checked_provenance(config, NAME))
    data = create_dataset(config)
    loader, valid, _ = stage("rows, semantic IDs", lambda: data_preparation(config, data))
    model = stage("model", lambda: config.model_class(config, loader._dataset))
    trainer = comparable(get_trainer(config["MODEL_TYPE"], config["model"]))(config, model)
    trainer._schedule(len(loader))  # as at the beginning of a training
    batches = iter(loader)

    def step() -> None:
        trainer.optimizer.zero_grad()
        model.calculate_loss(next(batches)).backward()
        trainer.optimizer.step()

    stage("first step", step)
    stage(f"{steps} steps", lambda: [step() for _ in range(steps)])
    stage(f"validating {users} users", lambda: trainer._valid_epoch(valid))
    tokens = tokens_of(data, data.iid_field)

    def export() -> None:
        about = about_run(config, provenance, RunIdentity.of(config), "of a benchmark")
        write_text(folder / "run" / SETTINGS_FILE, yaml.safe_dump(about))
        trainer.use_run_dir(folder / "run")
        trainer._save_checkpoint(0, verbose=False)
        export_run(
            folder / "run",
            network=model,
            tokenizer=None,
            item_vectors=None,
            item_tokens=tokens,
            item_texts=[ItemText("", "")] * len(tokens),
            item_fields={},
            num_users=data.user_num - 1,
            histories=UserHistories.of_all(data.histories),
            provenance=provenance,
            trained={},
        )

    stage("run directory", export)
    return stage.done


def recommend(folder: Path, steps: int, users: int) -> list[tuple[str, float, float]]:
    """Recommendations out of the run directory."""
    torch.set_num_threads(1)
    stage = Stages()
    recommender = stage("loading the run", lambda: recbole_mgr.load(folder / "run"))
    wanted = [f"U{number:08}" for number in range(users)]
    stage(f"lists for {users} users", lambda: recommender.recommend(users=wanted, k=10))
    return stage.done


def peak_megabytes() -> float:
    """Of this process; ``getrusage`` counts what its parent had, too, when it started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """What ``work`` returns, done in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, nargs="+", default=[20_000, 200_000, 2_000_000])
    parser.add_argument("--steps", type=int, default=50, help="training steps after the first")
    parser.add_argument("--users", type=int, default=1000, help="users to validate on")
    asked = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    seconds: dict[str, list[float]] = {}
    for count in asked.interactions:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            in_a_process(write_shop, folder, count)
            for turn, work in (("first", train), ("again", train), ("use", recommend)):
                stages = in_a_process(work, folder, asked.steps, asked.users)
                print(f"{count:,} interactions, {turn}")
                for stage, taken, peak in stages:
                    print(f"  {stage:<24} {taken:8.2f} CPU s   peak {peak:,.0f} MB")
                    if turn != "again":
                        seconds.setdefault(stage, []).append(taken)
                if work is train:
                    total = sum(taken for _, taken, _ in stages[:5])
                    print(f"  {'to the first step':<24} {total:8.2f} CPU s", flush=True)
    if len(asked.interactions) > 1:
        ratio = math.log(asked.interactions[-1] / asked.interactions[-2])
        print("growth of CPU seconds between the two largest, as an exponent:")
        for stage, taken in seconds.items():
            if min(taken[-2:]) > 0:
                print(f"  {stage:<24} {math.log(taken[-1] / taken[-2]) / ratio:8.2f}")


if __name__ == "__main__":
    main()
