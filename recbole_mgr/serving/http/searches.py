"""Where a batch is searched: in a thread of the service's process, or in a process of its own.

Python runs one thread at a time, and a search is hundreds of short calls: beside HTTP both keep waiting for each other.
A process has a copy of the recommender, which is sent to it anew once there is another one or the items have changed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sys
import traceback
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from recbole_mgr.serving.base_recommender import BaseRecommender, Catalogue
from recbole_mgr.serving.messages import Recommendations, Request

_HEAD = 8  # bytes of a message's length before it


class Search(Protocol):
    """Searches one batch at a time."""

    async def prepare(self, recommender: BaseRecommender) -> None:
        """Have everything ready that the first batch needs."""

    async def __call__(
        self, recommender: BaseRecommender, requests: list[Request], options: Mapping[str, Any]
    ) -> Recommendations:
        """The lists of a batch; ``options`` are those of `BaseRecommender.stream`, which also says what is raised."""

    async def close(self) -> None:
        """End."""


def _searched(recommender: BaseRecommender, requests: list[Request], options: Mapping[str, Any]) -> Recommendations:
    (batch,) = recommender.stream(requests, **options)
    return batch


class ThreadSearch:
    """A search in a thread of this process."""

    async def prepare(self, recommender: BaseRecommender) -> None:
        pass

    async def __call__(
        self, recommender: BaseRecommender, requests: list[Request], options: Mapping[str, Any]
    ) -> Recommendations:
        return await asyncio.to_thread(_searched, recommender, requests, options)

    async def close(self) -> None:
        pass


class ProcessSearch:
    """A search in a process of its own; where that ends, a new one takes the batch over."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._sent: Catalogue | None = None

    async def prepare(self, recommender: BaseRecommender) -> None:
        if self._process is None:
            command = sys.executable, "-m", __spec__.name, str(torch.get_num_threads())
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe,
                start_new_session=True,  # Ctrl-C is for the service, which ends it
            )
        if self._sent is not recommender.catalogue:
            await self._send(recommender)
            self._sent = recommender.catalogue

    async def __call__(
        self, recommender: BaseRecommender, requests: list[Request], options: Mapping[str, Any]
    ) -> Recommendations:
        try:
            return await self._asked(recommender, requests, options)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
        try:
            return await self._asked(recommender, requests, options)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            raise RuntimeError("the process that searches ended twice over a batch") from error

    async def close(self) -> None:
        if self._process is None:
            return
        process, self._process, self._sent = self._process, None, None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()

    async def _asked(
        self, recommender: BaseRecommender, requests: list[Request], options: Mapping[str, Any]
    ) -> Recommendations:
        await self.prepare(recommender)
        await self._send((requests, options))
        head = await self._process.stdout.readexactly(_HEAD)
        answer = pickle.loads(await self._process.stdout.readexactly(int.from_bytes(head, "big")))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _send(self, message: Any) -> None:
        self._process.stdin.write(_framed(message))
        await self._process.stdin.drain()


def _framed(message: Any) -> bytes:
    # both ends are ours: nobody else writes to the pipe
    content = pickle.dumps(message, protocol=5)
    return len(content).to_bytes(_HEAD, "big") + content


def _main() -> None:
    """The process: takes recommenders and batches from its input, until that ends, and answers the batches."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    torch.set_num_threads(int(sys.argv[1]))
    recommender = None
    while head := questions.read(_HEAD):
        message = pickle.loads(questions.read(int.from_bytes(head, "big")))
        if isinstance(message, BaseRecommender):
            recommender = message
            gc.collect()  # of the one before, as `Service.reload` does
            continue
        try:
            answer = _searched(recommender, *message)
        except ValueError as error:
            answer = ValueError(str(error))
        except Exception as error:
            traceback.print_exc()
            answer = RuntimeError(f"{type(error).__name__}: {error}")
        answers.write(_framed(answer))
        answers.flush()


if __name__ == "__main__":
    _main()
