"""Cost of the closed-form item memory on synthetic sequences: exact and dense, and on a support of candidates.

Users walk along a circle of items with jumps, and some items are more popular; eight items a user, eight interactions
an item. Prints a Markdown table of CPU seconds and of memory beyond what stood before.
Run: ``python benchmarks/item_memory.py --items 3000 10000 --beyond 30000 100000``.
"""

import argparse
import threading
import time

import numpy as np
import psutil
import torch

from recbole_mgr.generation.item_memory import Counts, FittedMemory, MemorySettings, Sequences

LENGTH = 8


def sequences(num_items: int, seed: int) -> Sequences:
    """As many users as items."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 6, size=(num_items, LENGTH)).cumsum(axis=1)
    walks = (rng.integers(num_items, size=(num_items, 1)) + steps) % num_items + 1
    popular = np.minimum(rng.zipf(1.3, size=walks.shape), num_items)
    items = np.where(rng.random(walks.shape) < 0.3, popular, walks)
    return Sequences.of(np.repeat(np.arange(num_items), LENGTH), items.ravel())


class Peak:
    """The most memory that the process held within a block, beyond what it held before; in GiB."""

    def __enter__(self) -> "Peak":
        self._process, self._done, self._most = psutil.Process(), threading.Event(), 0
        self._before = self._process.memory_info().rss
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)

    @property
    def gib(self) -> float:
        return max(0, self._most - self._before) / 2**30


def measure(num_items: int, settings: MemorySettings, data: Sequences) -> tuple[float, float, float, FittedMemory]:
    """CPU seconds of counting, of the solve, and the peak memory of both."""
    with Peak() as peak:
        started = time.process_time()
        counts = Counts.of(data, num_items, settings)
        counted = time.process_time()
        memory = FittedMemory.fit(counts, settings)
        solved = time.process_time()
    return counted - started, solved - counted, peak.gib, memory


def agreement(one: FittedMemory, other: FittedMemory, data: Sequences) -> float:
    """Share of ten best items that two memories have in common, over the first 500 users' histories."""
    history = torch.from_numpy(data.item_ids[: 500 * LENGTH].reshape(500, LENGTH))
    lengths = torch.full((500,), LENGTH)
    first, second = (memory.best(history, lengths, 10).item_ids for memory in (one, other))
    return (first.unsqueeze(2) == second.unsqueeze(1)).any(dim=2).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[3000, 10000], help="solved both ways")
    parser.add_argument("--beyond", type=int, nargs="*", default=[], help="solved on a support alone")
    parser.add_argument("--support", type=int, default=200)
    parser.add_argument("--entries", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| items | solve | counting, CPU s | solve, CPU s | memory, GiB | of ten best items, as exact |")
    print("|---:|---|---:|---:|---:|---:|")
    for num_items in [*args.items, *args.beyond]:
        data, exact = sequences(num_items, seed=0), None
        ways = ([("exact", num_items)] if num_items in args.items else []) + [("on a support", 0)]
        for name, dense_items in ways:
            limits = {"dense_items": dense_items, "support": args.support, "max_entries": args.entries}
            counting, solving, gib, memory = measure(num_items, MemorySettings(**limits), data)
            exact = exact or memory
            same = f"{agreement(exact, memory, data):.2f}" if num_items in args.items else ""
            print(f"| {num_items:,} | {name} | {counting:.1f} | {solving:.1f} | {gib:.2f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
