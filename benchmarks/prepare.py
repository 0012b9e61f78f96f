"""Rows a second and peak memory of ``recbole-mgr prepare`` on a synthetic file.

python benchmarks/prepare.py --rows 1000000 4000000 --format csv
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from recbole_mgr.preparation.pipeline import Settings, prepare
from recbole_mgr.preparation.sources.amazon_2014 import Amazon2014
from recbole_mgr.preparation.sources.raw_files import RawFolder
from recbole_mgr.preparation.sources.table import Columns, Table

_REVIEW = "It does what it says, and I would buy it again for this price. " * 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000], help="sizes to measure")
    parser.add_argument(
        "--format", choices=["csv", "parquet", "json"], default="csv", help="json: Amazon 2014, with reviews"
    )
    arguments = parser.parse_args()
    print("| format | rows | kept | seconds | rows/s | peak MiB above start |\n|---|---:|---:|---:|---:|---:|")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory() as folder:
            source = _write(Path(folder), rows, arguments.format)
            # a process of its own for each, whose peak is that of this size alone
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=_measure, args=(Path(folder), rows, arguments.format, source))
            process.start()
            process.join()


def _write(folder: Path, rows: int, kind: str) -> str:
    """Interactions of rows / 20 users, popular items first, in random order; returns the file's name."""
    rng = np.random.default_rng(0)
    users = rng.integers(rows // 20, size=rows)
    items = (rng.random(rows) ** 3 * (rows // 50)).astype(np.int64)
    times = rng.integers(1_300_000_000, 1_400_000_000, size=rows)
    frame = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times})
    frame = frame.with_columns(pl.format("A{}USERUSER", "user_id"), pl.format("B000{}", "item_id"))
    if kind == "csv":
        frame.write_csv(folder / "big.csv")
        return "big.csv"
    if kind == "parquet":
        frame.write_parquet(folder / "big.parquet")
        return "big.parquet"
    with open(folder / "reviews_Big_5.json", "w", encoding="utf-8") as file:
        for user, item, moment in frame.iter_rows():
            review = {"reviewerID": user, "asin": item, "helpful": [0, 1], "reviewText": _REVIEW, "overall": 5.0}
            file.write(json.dumps(review | {"unixReviewTime": moment}) + "\n")
    (folder / "meta_Big.json").write_text("{'asin': 'B0000', 'title': 'x'}\n", encoding="utf-8")
    return "reviews_Big_5.json"


def _measure(folder: Path, rows: int, kind: str, file: str) -> None:
    source = Amazon2014(RawFolder(folder), "Big") if kind == "json" else Table(folder / file, None, Columns())
    at_start = _memory("VmRSS")
    began = time.perf_counter()
    target = prepare(source, Settings(name="Big", output=folder / "out"), lambda _: None)
    seconds = time.perf_counter() - began
    with open(target / "Big.inter", "rb") as lines:
        kept = sum(1 for _ in lines) - 1
    print(
        f"| {kind} | {rows:,} | {kept:,} | {seconds:.1f} | {rows / seconds:,.0f} | {_memory('VmHWM') - at_start:,.0f} |"
    )


def _memory(name: str) -> float:
    """MiB of this process as Linux counts them: VmRSS now, VmHWM at most so far."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
