"""Runs a function in several processes that are joined as torchrun joins them.

A server process imports what they need once and forks them, so that a test of two or three costs no start.
"""

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch.distributed as dist

from recbole_mgr.distributed.launch import STORE_OF_LAUNCHER

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # as the command says it
_context = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Before Python 3.12 a server does not look for modules where its parent does; a module it lacks it passes over."""
    _context.set_forkserver_preload(["parallel_work", "warm"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        multiprocessing.forkserver.ensure_running()


def together(
    count: int, function: Callable[..., Any], *arguments: Any, join: bool = True, timeout: float = 120
) -> list[Any]:
    """What ``function(*arguments)`` returns in each of ``count`` processes, by rank.

    An exception comes as its text, and None from a process that was killed. As a launcher does, this ends the others
    when one has failed.

    Args:
        function: of a module that the processes can import.
        join: whether they are joined before; a command joins them itself.
    """
    start_server()
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # at a port that nobody else has
    pipes, started = [], []
    for rank in range(count):
        here, there = _context.Pipe(duplex=False)
        work = (there, count, rank, store.port, os.getcwd(), join, function, arguments)
        started.append(_context.Process(target=_joined, args=work))  # no daemon, so that its loader may have workers
        started[-1].start()
        there.close()
        pipes.append(here)
    answers: list[Any] = [None] * count
    waiting = dict(enumerate(pipes))
    try:
        while waiting:
            ready = multiprocessing.connection.wait(waiting.values(), timeout)
            assert ready, f"processes {sorted(waiting)} did not end"
            for rank in [rank for rank, pipe in waiting.items() if pipe in ready]:
                try:
                    answers[rank] = waiting.pop(rank).recv()
                except EOFError:
                    timeout = 5  # for the others to notice
    finally:
        for process in started:
            process.kill()
            process.join()
    return answers


def _joined(
    pipe, count: int, rank: int, port: int, folder: str, join: bool, function: Callable, arguments: tuple
) -> None:
    os.chdir(folder)
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(number) for name, number in (numbers | STORE_OF_LAUNCHER).items()})
    import torch

    from recbole_mgr.distributed.processes import joined

    torch.set_num_threads(1)
    try:
        with joined() if join else nullcontext():
            answer = function(*arguments)
    except BaseException as error:
        answer = f"{type(error).__name__}: {error}"
    pipe.send(answer)
