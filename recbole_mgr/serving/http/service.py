"""The runs that a service answers for: by name, reloaded without losing a request, extended by new items."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from recbole_mgr.serving.base_recommender import BaseRecommender
from recbole_mgr.serving.http.batching import Batcher
from recbole_mgr.serving.recommender import load

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Numbers:
    """What Prometheus reads of a service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recbole_mgr_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "recbole_mgr_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.batches = Histogram(
            "recbole_mgr_batch_size", "Requests answered together", ["run"], buckets=_SIZES, registry=self.registry
        )
        self.waiting = Gauge(
            "recbole_mgr_waiting", "Requests that wait for their batch", ["run"], registry=self.registry
        )
        self.items = Gauge("recbole_mgr_items", "Items that can be recommended", ["run"], registry=self.registry)


class Service:
    """Runs in use.

    Args:
        run_dirs: name -> run directory; the first one answers requests that name none.
        device: as of `load`.
        processes, most_waiting, most_together: as of `Batcher`, for each run.
        load: what reads a run directory.

    Raises:
        ValueError: As `load`.
    """

    def __init__(
        self,
        run_dirs: Mapping[str, Path],
        *,
        device: str | None = None,
        processes: int = 0,
        most_waiting: int = 1024,
        most_together: int = 64,
        load: Callable[..., BaseRecommender] = load,
    ) -> None:
        self.numbers = Numbers()
        self._load = load
        self._run_dirs = dict(run_dirs)
        self._device = device
        self._changing = threading.Lock()  # one reload or set of new items at a time
        self._batchers = {
            name: Batcher(
                self._load(folder, device=device),
                processes=processes,
                most_waiting=most_waiting,
                most_together=most_together,
                observe=self.numbers.batches.labels(name).observe,
            )
            for name, folder in self._run_dirs.items()
        }
        for name, batcher in self._batchers.items():
            self.numbers.waiting.labels(name).set_function(lambda batcher=batcher: batcher.num_waiting)
            self.numbers.items.labels(name).set_function(lambda batcher=batcher: batcher.recommender.num_items)

    async def start(self) -> None:
        """Begin to answer."""
        for batcher in self._batchers.values():
            await batcher.start()

    @property
    def runs(self) -> list[str]:
        """Names of the runs, the usual one first."""
        return list(self._batchers)

    def batcher(self, run: str | None) -> Batcher:
        """The batcher of a run, None for the first.

        Raises:
            KeyError: If there is no such run.
        """
        return next(iter(self._batchers.values())) if run is None else self._batchers[run]

    def recommender(self, run: str | None) -> BaseRecommender:
        """The recommender that answers for a run now."""
        return self.batcher(run).recommender

    def reload(self, run: str | None) -> int:
        """Read a run's directory anew; requests are answered by the old one until it is there.

        Returns:
            Number of items.

        Raises:
            ValueError: As `load`; the old one then stays.
        """
        batcher = self.batcher(run)
        name = self.runs[0] if run is None else run
        with self._changing:
            batcher.recommender = self._load(self._run_dirs[name], device=self._device)
            gc.collect()  # of the one before: objects that refer to each other wait long for Python to find them
        return batcher.recommender.num_items

    def add_items(self, run: str | None, tokens: Sequence[str], features, titles: Sequence[str]):
        """Let new items in until the next reload, see `Recommender.add_items`."""
        with self._changing:
            return self.recommender(run).add_items(tokens, features, titles=titles)

    async def close(self) -> None:
        """Answer what waits, then end."""
        for batcher in self._batchers.values():
            await batcher.close()


def run_names(run_dirs: Sequence[Path]) -> dict[str, Path]:
    """Short names for run directories: that of the model's folder, with the seed where two would be alike."""
    names: dict[str, Path] = {}
    for folder in run_dirs:
        parts = folder.resolve().parts[-2:]
        name = parts[0] if parts[0] not in names else "-".join(parts)
        if name in names or folder.resolve() in [other.resolve() for other in names.values()]:
            raise ValueError(f"{folder}: named twice; each run once")
        names[name] = folder
    return names
