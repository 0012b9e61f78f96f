"""Seconds an epoch of the main job while other programs want the cores too, by how long threads wait awake.

Run: ``python benchmarks/waiting_threads.py --others 0 4``. The baseline is OpenMP's own way: 300,000 turns of spinning
before a thread sleeps. The command's way is 1,000. Each is run in turn, with the given numbers of busy loops beside it.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack

JOB = "--model MGRLFpp --dataset Beauty --epochs=4 --eval_step=4 --show_progress=False".split()


def epoch_seconds(spins: str, limit: float) -> float | None:
    """The median of the job's epochs; None where the first one takes longer than ``limit`` seconds."""
    with tempfile.TemporaryDirectory() as saved:
        command = [sys.executable, "-m", "recbole_mgr", "run", *JOB, f"--checkpoint_dir={saved}"]
        process = subprocess.Popen(
            command,
            env={**os.environ, "GOMP_SPINCOUNT": spins},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        times = [float(seconds) for seconds in re.findall(r"training \[time: ([0-9.]+)s", said)]
        return statistics.median(times) if times else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--others", type=int, nargs="+", default=[0, 4], help="busy loops beside the job")
    parser.add_argument("--turns", type=int, default=2, help="how often each way is tried")
    parser.add_argument("--limit", type=float, default=45, help="seconds for one try")
    asked = parser.parse_args()
    print("| busy loops | 300,000 turns (baseline), s an epoch | 1,000 turns |\n|---:|---|---|")
    for others in asked.others:
        with ExitStack() as busy:
            for _ in range(others):
                loop = busy.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
                busy.callback(loop.kill)
            tries = [[epoch_seconds(spins, asked.limit) for spins in ("300000", "1000")] for _ in range(asked.turns)]
        shown = [", ".join("none ended" if t is None else f"{t:.2f}" for t in way) for way in zip(*tries, strict=True)]
        print(f"| {others} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
