"""Requests of many clients, answered in batches.

A search takes whatever waits as soon as it is free, so nobody waits for a batch to fill: alone a request is a batch of
one, and while batches are being computed the next one gathers. Requests that ask for the same search share a batch;
each gets the list that it would get alone (but for the last digits of scores, which depend on the batch's size).
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from recbole_mgr.serving.base_recommender import BaseRecommender
from recbole_mgr.serving.http.searches import ProcessSearch, Search, ThreadSearch
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
        # a generating model reads a history wherever it is from; one that scores every item may read who asks
        by_id = usual_beams is None and self.request.history is None
        return (beams, self.mask_history, self.only, by_id)


class Listed(NamedTuple):
    """A list: items, scores and titles, best first."""

    item_ids: list[str]
    scores: list[float]
    titles: list[str]


class QueueFull(Exception):
    """More requests wait than the service takes."""


class Batcher:
    """A recommender and what searches with it; for one event loop.

    Args:
        recommender: what answers; :attr:`recommender` may be set to another at any time, which the next batch uses.
        processes: that search at once; 0: a thread of this process.
        most_waiting: requests that may wait.
        most_together: requests in a batch.
        observe: called with the size of each batch.
    """

    def __init__(
        self,
        recommender: BaseRecommender,
        *,
        processes: int = 0,
        most_waiting: int = 1024,
        most_together: int = 64,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.recommender = recommender
        self._searches: list[Search] = [ProcessSearch() for _ in range(processes)] or [ThreadSearch()]
        self._idle: list[Search] = []
        self._most_waiting, self._most_together, self._observe = most_waiting, most_together, observe
        self._waiting: deque[tuple[Asked, asyncio.Future]] = deque()
        self._batches: set[asyncio.Task] = set()  # that are being computed

    async def start(self) -> None:
        """Begin to answer, once each search is ready."""
        await asyncio.gather(*(search.prepare(self.recommender) for search in self._searches))
        self._idle = list(self._searches)
        self._begin()

    def submit(self, asked: Asked) -> asyncio.Future:
        """A future of the :class:`Listed`; cancelling it before its batch begins takes it out.

        Raises:
            QueueFull: If too many requests wait.
        """
        if len(self._waiting) >= self._most_waiting:
            raise QueueFull
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((asked, future))
        loop.call_soon(self._begin)  # and not now: what else has arrived by now shares the batch
        return future

    @property
    def num_waiting(self) -> int:
        """Requests that wait for their batch."""
        return len(self._waiting)

    async def close(self) -> None:
        """Answer what waits, then end."""
        self._begin()
        while self._batches:  # each begins the next before it ends
            await asyncio.wait(self._batches)
        await asyncio.gather(*(search.close() for search in self._searches))

    def _begin(self) -> None:
        """Share what waits among the searches that are idle; the one that was busy last is the quickest."""
        recommender = self.recommender
        while self._idle:
            share = math.ceil(len(self._waiting) / len(self._idle))
            if not (group := self._next_group(recommender.beam_size, min(share, self._most_together))):
                return
            batch = asyncio.create_task(self._answer(self._idle.pop(), recommender, group))
            self._batches.add(batch)
            batch.add_done_callback(self._batches.discard)

    def _next_group(self, usual_beams: int | None, most: int) -> list[tuple[Asked, asyncio.Future]]:
        """Take the first request that waits, and those that can share its batch; the order of the others stays."""
        group, others, kind = [], [], None
        while self._waiting and len(group) < most:
            asked, future = entry = self._waiting.popleft()
            if future.done():  # whoever asked has left
                continue
            own = asked.search(usual_beams)
            kind = kind or own
            (group if own == kind else others).append(entry)
        self._waiting.extendleft(reversed(others))
        return group

    async def _answer(
        self, search: Search, recommender: BaseRecommender, group: list[tuple[Asked, asyncio.Future]]
    ) -> None:
        self._observe(len(group))
        beam_size, mask_history, only, _ = group[0][0].search(recommender.beam_size)
        options = {
            "k": max(asked.k for asked, _ in group),
            "mask_history": mask_history,
            "only": only,
            "beam_size": beam_size,
            "unknown": "skip",
            "batch_size": len(group),
        }
        try:
            batch = await search(recommender, [asked.request for asked, _ in group], options)
        except Exception as error:  # whatever it is, each of the clients is to hear of it, and the search goes on
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # asyncio would complain where a client has asked for several and reads one
        else:
            for (asked, future), *lists in zip(group, batch.item_ids, batch.scores, batch.titles, strict=True):
                if not future.done():
                    future.set_result(Listed(*(part[: asked.k] for part in lists)))
        self._idle.append(search)
        self._begin()
