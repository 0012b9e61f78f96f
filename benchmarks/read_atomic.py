"""Reading ``.inter`` for RecBole: our reader against the call of pandas that it takes the place of.

    python -m benchmarks.read_atomic --rows 2000000

Each is run in a process of its own on the same invented file; printed are CPU seconds and the highest memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from recbole_mgr.integration.recbole_tables import read_recbole_table

DTYPES = {"user_id:token": str, "item_id:token": str, "timestamp:float": np.float64}
READERS = {"pandas, Python engine": pd.read_csv, "ours": read_recbole_table}


def write_file(path: Path, rows: int) -> None:
    """Invented interactions of a tenth as many users and a fortieth as many items."""
    rng = np.random.default_rng(0)
    users, items = (pl.Series(rng.integers(0, max(1, rows // share), rows)).cast(pl.String) for share in (10, 40))
    times = rng.integers(1_500_000_000, 1_600_000_000, rows)
    pl.DataFrame(dict(zip(DTYPES, ("A" + users, "B00" + items, times), strict=True))).write_csv(path, separator="\t")


def measure(reader: str, path: Path, answer: multiprocessing.Queue) -> None:
    started = time.process_time()
    frame = READERS[reader](
        str(path), delimiter="\t", usecols=list(DTYPES), dtype=DTYPES, encoding="utf-8", engine="python"
    )
    seconds = time.process_time() - started
    answer.put((len(frame), seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.inter"
        write_file(path, rows)
        for reader in READERS:
            answer = processes.Queue()
            process = processes.Process(target=measure, args=(reader, path, answer))
            process.start()
            read, seconds, gigabytes = answer.get()
            process.join()
            print(f"{reader:<22} {read:,} rows, {seconds:.1f} CPU s, {gigabytes:.2f} GB at most")


if __name__ == "__main__":
    main()
