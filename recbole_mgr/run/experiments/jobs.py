"""Runs of an experiment side by side, each by a command of its own.

A small network keeps neither a GPU nor many cores busy, so that a table is done sooner if several of its runs train at
once. What they share, such as histories and semantic IDs, the first one makes and the others wait for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from recbole_mgr.cleaners import print_line
from recbole_mgr.run.experiments.plan import PlannedRun
from recbole_mgr.run.identity import slug


class Jobs(NamedTuple):
    """How runs are made side by side.

    Attributes:
        count: how many at once, >= 1.
        arguments: of ``recbole-mgr experiment``, without rows, seeds, results and jobs.
        gpus: numbers of those that the jobs take by turns, where there are several.
    """

    count: int
    arguments: Sequence[str]
    gpus: Sequence[str] = ()

    def command(self, label: str, seed: int, place: int, results: Path) -> list[str]:
        """What makes the runs of a row with a seed, number ``place`` of all."""
        given = {argument.partition("=")[0] for argument in self.arguments}
        own = []
        if "--num_threads" not in given:
            own += [f"--num_threads={max(1, (os.cpu_count() or 1) // self.count)}"]
        if len(self.gpus) > 1 and not given & {"--gpu_id", "--use_gpu"}:
            own += [f"--gpu_id={self.gpus[place % len(self.gpus)]}"]
        chosen = ["--rows", label, "--seeds", str(seed), "--results", str(results)]
        return [sys.executable, "-m", "recbole_mgr", "experiment", *self.arguments, *own, *chosen]


def run_side_by_side(runs: Sequence[PlannedRun], jobs: Jobs, logs: Path, after_each: Callable[[], None]) -> None:
    """Make runs that are not done, and let those that can be finished finish though others fail.

    Args:
        runs: of an experiment.
        jobs: how.
        logs: folder of what each command prints.
        after_each: is called when a command has ended.

    Raises:
        ValueError: When all have ended, for commands that failed: their last line, and where their logs are.
    """
    wanted = list(dict.fromkeys((run.row.label, run.seed) for run in runs if not run.done))
    logs.mkdir(parents=True, exist_ok=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="recbole-mgr-") as results, _commands(jobs.count) as start:
        futures = {}
        for number, (label, seed) in enumerate(wanted):
            log = logs / f"{slug(label)}-seed-{seed}.log"
            futures[start(jobs.command(label, seed, number, Path(results) / str(number)), log)] = (label, seed, log)
        for future in as_completed(futures):
            label, seed, log = futures[future]
            if future.result():
                failed.append(f"{label}, seed {seed}: {_last_line(log)}")
            print_line(f"{label}, seed {seed}: {'failed' if future.result() else 'finished'}, see {log}")
            after_each()
    if failed:
        raise ValueError(f"{len(failed)} of {len(wanted)} runs failed (logs in {logs}): " + "; ".join(failed))


@contextmanager
def _commands(count: int) -> Iterator[Callable[[list[str], Path], Future[int]]]:
    """A function that starts a command as soon as fewer than ``count`` run, and promises its exit status; what still
    runs when the block is left by an error, or this process is ended, is ended too."""
    running: set[subprocess.Popen] = set()
    places = [place for place in sys.path if place]  # so that a command runs the code that this process runs
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    is_main = threading.current_thread() is threading.main_thread()  # to which alone signals come
    if is_main:
        before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

    def run(command: list[str], log: Path) -> int:
        with log.open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
            )
            running.add(process)
            try:
                return process.wait()
            finally:
                running.discard(process)

    with ThreadPoolExecutor(count) as pool:
        try:
            yield lambda command, log: pool.submit(run, command, log)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
        finally:
            if is_main:
                signal.signal(signal.SIGTERM, before)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"
