"""A whole run on a large synthetic shop, by the commands that a user types: CPU seconds and the highest memory of each.

    python -m benchmarks.whole_run --interactions 10000000 --of_a_user 30

`run` trains one epoch, validates, tests all users with and without their history and writes the run directory;
`recommend` gives lists to users out of it. The shop is that of `benchmarks.growth`; the network is small (16 wide, one
layer), since memory is what this is about. One thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.growth import NAME, in_a_process, write_shop

NETWORK = {"hidden_size": 16, "inner_size": 32, "n_layers": 1, "n_heads": 1, "beam_size": 10, "valid_beam_size": 10}
SIZES = {"epochs": 1, "train_batch_size": 512, "eval_batch_size": 512, "topk": "[10]", "valid_users": 2000}


def measured(name: str, command: list[str]) -> None:
    """Run a command and print what it used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = f"from recbole_mgr.cli.main import main; assert main({command!r}) == 0"
    code += "; print(open('/proc/self/status').read())"
    told = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    peak = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:<12} {taken:8.1f} CPU s   peak {peak / 1000:,.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, default=200_000)
    parser.add_argument("--of_a_user", type=int, default=9, help="interactions of a user on average")
    parser.add_argument("--users", type=int, default=10_000, help="users that get lists in the end")
    parser.add_argument("--folder", type=Path, help="keeps all, so that the same command goes on where it was ended")
    asked = parser.parse_args()
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    with tempfile.TemporaryDirectory() as name:
        folder = asked.folder or Path(name)
        if not (folder / NAME).exists():
            in_a_process(write_shop, folder, asked.interactions, asked.of_a_user)
        os.chdir(folder)
        network = ",".join(f"{key}={value}" for key, value in NETWORK.items())
        table = folder / NAME / f"{NAME}.semantic_ids.tsv"
        settings = {
            "data_path": folder,
            "semantic_ids": table,
            "floors": False,
            "gpu_id": "",
            "num_threads": 1,
            **SIZES,
        }
        options = [f"--{key}={value}" for key, value in settings.items()]
        measured("run", ["run", "--model", f"MGRLF:{network}", "--dataset", NAME, *options])
        (run_dir,) = (path.parent for path in folder.glob("saved/*/*/seed-*/run.yaml"))
        users = folder / "users.txt"
        users.write_text("".join(f"U{number:08}\n" for number in range(asked.users)))
        lists = ["recommend", str(run_dir), "--users-file", str(users), "--ids", "--device=cpu", "--unknown=skip"]
        measured("recommend", [*lists, "--output", str(folder / "lists.jsonl")])


if __name__ == "__main__":
    main()
