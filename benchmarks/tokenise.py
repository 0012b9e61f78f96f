"""Residual k-means on a large memory-mapped file, and its reconstruction error beside faiss's residual quantiser.

``python benchmarks/tokenise.py`` writes synthetic vectors into a temporary folder (about 1 GB, removed afterwards),
quantises them, and compares on the first rows; ``--real <file>.npy`` adds vectors of a real data set. It needs
faiss-cpu, which nothing else here does. Prints Markdown tables.

Memory is RssAnon of /proc/self/status, the process's own pages (Python's and torch's too) without those of mapped
files, read every 10 ms. CPU seconds are those of all threads.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
import torch

from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans

TOPICS, GROUPS, RANK = 64, 20_000, 96
ROWS_AT_ONCE = 20_000


class Cost(NamedTuple):
    """What a call returned and what it took."""

    result: Any
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.wall_seconds:.1f} | {self.cpu_seconds:.1f} | {self.peak_bytes / 1e9:.2f}"


def write_vectors(path: Path, *, num_items: int, dim: int, seed: int) -> None:
    """Synthetic float16 [num_items, dim]: groups of uneven size within topics, in RANK directions, and some noise."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, RANK + 1) ** -0.5).astype(np.float32)
    basis = np.linalg.qr(rng.standard_normal((dim, RANK)))[0].T.astype(np.float32)  # [RANK, dim]

    def spread(rows: int) -> np.ndarray:
        return rng.standard_normal((rows, RANK), dtype=np.float32) * spectrum

    groups = spread(TOPICS)[rng.integers(TOPICS, size=GROUPS)] + 0.7 * spread(GROUPS)  # [GROUPS, RANK]
    popularity = np.arange(1, GROUPS + 1) ** -0.7
    popularity /= popularity.sum()
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(num_items, dim))
    for start in range(0, num_items, ROWS_AT_ONCE):
        rows = min(ROWS_AT_ONCE, num_items - start)
        latents = groups[rng.choice(GROUPS, rows, p=popularity)] + 0.5 * spread(rows)  # [rows, RANK]
        noise = 0.02 * rng.standard_normal((rows, dim), dtype=np.float32)
        vectors[start : start + rows] = latents @ basis + noise
    vectors.flush()


def measure(call: Callable[[], Any]) -> Cost:
    peak, done = [own_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], own_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        result = call()
    finally:
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        done.set()
        watcher.join()
    return Cost(result, wall, cpu, peak[0])


def own_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def lost_variance(vectors: np.ndarray, rebuilt: np.ndarray) -> float:
    """Squared error of float32 [n, dim] as a share of their variance."""
    variance = np.square(vectors - vectors.mean(0, dtype=np.float64)).sum()
    return float(np.square(vectors - rebuilt).sum(dtype=np.float64) / variance)


def compare(name: str, vectors: np.ndarray, args: argparse.Namespace) -> None:
    """One table line: ours and faiss's, both fitted and tried on float32 [n, dim]."""
    ours = ResidualKMeans(levels=args.levels, codebook_size=args.codes, seed=args.seed)
    cost = measure(lambda: ours.fit(vectors).encode(vectors))
    lost = lost_variance(vectors, ours.reconstruct(cost.result))
    cells = [f"{lost:.4f} | {cost.cpu_seconds:.1f}"]
    for beam in (1, faiss.ResidualQuantizer(1, 1, 1).max_beam_size):
        theirs = faiss.ResidualQuantizer(vectors.shape[1], args.levels, int(np.log2(args.codes)))
        theirs.max_beam_size = beam
        theirs.cp.min_points_per_centroid = 1  # no warning on small catalogues

        def train_and_encode(theirs: faiss.ResidualQuantizer = theirs) -> np.ndarray:
            theirs.train(vectors)
            return theirs.compute_codes(vectors)

        cost = measure(train_and_encode)
        reference = lost_variance(vectors, theirs.decode(cost.result))
        cells.append(f"{reference:.4f} | {cost.cpu_seconds:.1f} | {lost / reference:.3f}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000, help="synthetic vectors")
    parser.add_argument("--dim", type=int, default=512, help="values of a synthetic vector")
    parser.add_argument("--levels", type=int, default=3, help="codes per vector")
    parser.add_argument("--codes", type=int, default=256, help="K, a power of two")
    parser.add_argument("--compared", type=int, default=100_000, help="synthetic vectors to compare faiss on")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help=".npy files [n, dim] to compare faiss on too")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="CPU threads; the last for the comparison")
    parser.add_argument("--folder", type=Path, help="where the temporary folder goes")
    parser.add_argument("--seed", type=int, default=0, help="of vectors and codebooks")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="tokenise-", dir=args.folder) as folder:
        path = Path(folder) / "vectors.npy"
        write_vectors(path, num_items=args.items, dim=args.dim, seed=args.seed)
        vectors = np.load(path, mmap_mode="r")
        print(
            f"{args.items:,} x {args.dim} synthetic float16 vectors, mapped; {args.levels} x {args.codes} codes; "
            f"torch {torch.__version__}, faiss {faiss.__version__}; {own_bytes() / 1e9:.2f} GB before the start\n"
        )
        print("| threads | fit wall s | CPU s | peak GB | encode wall s | CPU s | peak GB |")
        print("|---:|---:|---:|---:|---:|---:|---:|")
        for threads in args.threads:
            torch.set_num_threads(threads)
            quantizer = ResidualKMeans(levels=args.levels, codebook_size=args.codes, seed=args.seed)
            fit = measure(lambda quantizer=quantizer: quantizer.fit(vectors))
            encode = measure(lambda quantizer=quantizer: quantizer.encode(vectors))
            print(f"| {threads} | {fit} | {encode} |", flush=True)

        faiss.omp_set_num_threads(args.threads[-1])
        print("\nVariance lost (0 the best), CPU seconds to fit and encode, and our loss over faiss's:\n")
        print("| vectors | ours | CPU s | faiss, beam 1 | CPU s | ratio | faiss, default beam | CPU s | ratio |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        compare(f"synthetic {args.compared:,} x {args.dim}", vectors[: args.compared].astype(np.float32), args)
        for file in args.real:
            real = np.load(file).astype(np.float32)
            compare(f"{file.stem} {real.shape[0]:,} x {real.shape[1]}", real, args)


if __name__ == "__main__":
    main()
