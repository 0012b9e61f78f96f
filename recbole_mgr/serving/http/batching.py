"""Requests of many clients, answered in batches by one thread.

The thread takes whatever waits, so nobody waits for a batch to fill: alone a request is a batch of one, and while a
batch is being computed the next one gathers. Requests that ask for the same search share a batch; each gets the list
that it would get alone (but for the last digits of scores, which depend on the batch's size).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from recbole_mgr.serving.base_recommender import BaseRecommender
from recbole_mgr.serving.messages import Request


class Asked(NamedTuple):
    """One list that is wanted; ``only`` names the allowed items, None all."""

    request: Request
    k: int = 10
    mask_history: bool = False
    only: tuple[str, ...] | None = None
    beam_size: int | None = None

    def search(self, usual_beams: int | None) -> tuple:
        """What requests must have in common to share a batch; a model without beams has no usual number of them."""
        beams = self.beam_size or (usual_beams and max(usual_beams, self.k))
        return (beams, self.mask_history, self.only)


class Listed(NamedTuple):
    """A list: items, log-probabilities and titles, best first, and the ids that were not known."""

    item_ids: list[str]
    scores: list[float]
    titles: list[str]


class QueueFull(Exception):
    """More requests wait than the service takes."""


class Batcher:
    """A recommender and its thread.

    Args:
        recommender: what answers; :attr:`recommender` may be set to another at any time, which the next batch uses.
        most_waiting: requests that may wait.
        most_together: requests in a batch.
        observe: called with the size of each batch.
    """

    def __init__(
        self,
        recommender: BaseRecommender,
        *,
        most_waiting: int = 1024,
        most_together: int = 64,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.recommender = recommender
        self._waiting: queue.Queue[tuple[Asked, Future] | None] = queue.Queue(most_waiting)
        self._most_together = most_together
        self._observe = observe
        self._thread = threading.Thread(target=self._work, name="recommender", daemon=True)
        self._thread.start()

    def submit(self, asked: Asked) -> Future:
        """A future of the :class:`Listed`; cancelling it before its batch begins takes it out.

        Raises:
            QueueFull: If too many requests wait.
        """
        future: Future = Future()
        try:
            self._waiting.put_nowait((asked, future))
        except queue.Full:
            raise QueueFull from None
        return future

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their batch."""
        return self._waiting.qsize()

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            waiting, last = [first], False
            while len(waiting) < self._most_together and not last:
                try:
                    entry = self._waiting.get_nowait()
                except queue.Empty:
                    break
                last = entry is None
                if entry is not None:
                    waiting.append(entry)
            recommender = self.recommender
            groups: dict[tuple, list[tuple[Asked, Future]]] = {}
            for asked, future in waiting:
                if future.set_running_or_notify_cancel():
                    groups.setdefault(asked.search(recommender.beam_size), []).append((asked, future))
            for (beam_size, mask_history, only), group in groups.items():
                self._answer(recommender, group, beam_size, mask_history, only)
            if last:
                return

    def _answer(
        self,
        recommender: BaseRecommender,
        group: list[tuple[Asked, Future]],
        beam_size: int | None,
        mask_history: bool,
        only: tuple[str, ...] | None,
    ) -> None:
        self._observe(len(group))
        try:
            (batch,) = recommender.stream(
                [asked.request for asked, _ in group],
                k=max(asked.k for asked, _ in group),
                mask_history=mask_history,
                only=only,
                beam_size=beam_size,
                unknown="skip",
                batch_size=len(group),
            )
        except Exception as error:  # whatever it is, each of the clients is to hear of it, and the thread goes on
            for _, future in group:
                future.set_exception(error)
            return
        for (asked, future), *lists in zip(group, batch.item_ids, batch.scores, batch.titles, strict=True):
            future.set_result(Listed(*(part[: asked.k] for part in lists)))
