"""The processes of one command: torchrun starts them, PyTorch's process group joins them.

Rank 0 is the owner: it writes every file and speaks, the others wait. A process that is alone is an owner without
others, so callers need no case for it. Objects and decisions travel by gloo, gradients on a GPU by NCCL.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from recbole_mgr import files
from recbole_mgr.distributed.environment import place_on_machine, started_together

Result = TypeVar("Result")

_LONGEST_WAIT = timedelta(days=30)  # a share may take hours longer than another; a process that dies ends all at once
_LAST_MOMENT = 0.2  # seconds for gloo's threads to free what they sent last; Python's end would end them, and abort


class OtherProcessFailed(RuntimeError):
    """Another process of the command raised an error, which it tells itself, or died."""


class _Failures:
    """Which process tells the user what went wrong: the first one that failed."""

    def __init__(self, store: dist.Store) -> None:
        self._store = store

    def is_first(self) -> bool:
        try:
            return self._store.add("failures", 1) == 1
        except RuntimeError:  # the store went with the process that had it
            return False


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that were started for this command, where there are any.

    Only the owner's standard output is shown. Where processes fail, the first one's error leaves this context, so that
    it is told once; the others exit with status 2, and the launcher ends those that wait.
    """
    if started_together() == 1:
        yield
        return
    store, rank, count = next(rendezvous("env://", timeout=_LONGEST_WAIT))
    failures = _Failures(dist.PrefixStore("recbole_mgr", store))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_LONGEST_WAIT)
    _keep_until_exit(dist.group.WORLD)
    shown = sys.stdout
    try:
        with open(os.devnull, "w", encoding="utf-8") as nothing:
            sys.stdout = shown if rank == 0 else nothing
            yield
            wait()  # the owner may still write what others have to be there for
    except Exception as error:
        if isinstance(error, OtherProcessFailed) or not failures.is_first():
            raise SystemExit(2) from error
        if _is_lost_connection(error):
            raise ValueError(
                "another process of this command ended; run the same command again, with as many processes, to resume"
            ) from error
        raise
    finally:
        sys.stdout = shown
    gradient_group.cache_clear()
    dist.destroy_process_group()
    time.sleep(_LAST_MOMENT)


def _keep_until_exit(group: dist.ProcessGroup) -> None:
    """Let nothing but the end of the process free a group of gloo's.

    Its destructor waits for its threads and holds Python's lock meanwhile, which they need to free the tensors of the
    last exchange: one end of about a hundred hung (torch 2.4). So it counts one reference that nobody gives back.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))


def _is_lost_connection(error: Exception) -> bool:
    """PyTorch has no class of its own for what gloo reports when the other end is gone."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "Connection", "NCCL"))
    )


_works_alone = ContextVar("works_alone", default=False)


@contextmanager
def alone() -> Iterator[None]:
    """Let each process do work of its own in this context, as if there were no others."""
    token = _works_alone.set(True)
    try:
        yield
    finally:
        _works_alone.reset(token)


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _is_one_of_several() else 0


def count() -> int:
    """How many processes do this work together."""
    return dist.get_world_size() if _is_one_of_several() else 1


def _is_one_of_several() -> bool:
    return dist.is_available() and dist.is_initialized() and not _works_alone.get()


def is_owner() -> bool:
    """Whether this process writes the files."""
    return rank() == 0


def share(total: int) -> range:
    """The part of ``total`` things that is this process's: together all of them, in the order of the ranks."""
    return range(total * rank() // count(), total * (rank() + 1) // count())


def wait() -> None:
    """Until all processes are here."""
    if count() > 1:
        dist.barrier()


def gather(value: Any) -> list[Any] | None:
    """The values of all processes, in the order of their ranks, for the owner; None for the others."""
    if count() == 1:
        return [value]
    values: list[Any] | None = [None] * count() if is_owner() else None
    dist.gather_object(value, values)
    return values


def gather_for_all(value: Any) -> list[Any]:
    """The values of all processes, in the order of their ranks."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    dist.all_gather_object(values, value)
    return values


def all_in_order(values: Iterable[Result]) -> list[Result]:
    """The values of all processes' shares, in the order of their ranks."""
    return list(chain.from_iterable(gather_for_all(list(values))))


def broadcast(value: Any) -> Any:
    """The owner's value; what the others pass does not matter."""
    if count() == 1:
        return value
    box = [value if is_owner() else None]
    dist.broadcast_object_list(box)
    return box[0]


def sum_of_all(number: float) -> float:
    """The sum of a number over all processes, the same bits on each."""
    if count() == 1:
        return number
    total = torch.tensor(number, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total)


def on_owner(work: Callable[[], Result]) -> Result:
    """Let the owner alone work, and give its result to all.

    Raises:
        What the work raised; on the others ValueError and OSError as they are, anything else as `OtherProcessFailed`.
    """
    if count() == 1:
        return work()
    if not is_owner():
        result, error = broadcast(None)
        return result if error is None else _raise(error)
    try:
        result = work()
    except Exception as error:
        broadcast((None, _portable(error)))
        raise
    broadcast((result, None))
    return result


def owned(path: Path) -> AbstractContextManager[None]:
    """`recbole_mgr.files.owned`: the lock of a file or folder that is being made, which the owner holds for all."""
    return files.owned(path) if is_owner() else nullcontext()


@contextmanager
def owner_first() -> Iterator[None]:
    """Let the others enter when the owner has left: what it builds and caches, they read."""
    if not is_owner() and (error := broadcast(None)) is not None:
        _raise(error)
    try:
        yield
    except Exception as error:
        if is_owner():
            broadcast(_portable(error))
        raise
    if is_owner():
        broadcast(None)


@functools.cache
def gradient_group(device_type: str) -> dist.ProcessGroup | None:
    """The group that gradients travel by; made by all processes together."""
    return dist.new_group(backend="nccl", timeout=_LONGEST_WAIT) if device_type == "cuda" else None


def own_gpu() -> str | None:
    """The name of this process's GPU where a machine's processes share several; None leaves the choice open."""
    place, neighbours = place_on_machine()
    return f"cuda:{place}" if neighbours > 1 and torch.cuda.is_available() else None


def _portable(error: Exception) -> Exception:
    """An error that can be sent to the other processes."""
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(error.errno, error.strerror, error.filename)
    return ValueError(str(error)) if isinstance(error, ValueError | OSError) else OtherProcessFailed(str(error))


def _raise(error: Exception) -> NoReturn:
    raise error
