"""RecBole's own way to ask for several processes: ``--nproc 2 --world_size 4 --ip host --port 5678 --group_offset 2``.

It starts what torchrun would start with ``--nproc-per-node``, ``--nnodes``, ``--node-rank`` and so on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

# what torchrun tells its processes, whose meeting place it keeps itself
STORE_OF_LAUNCHER = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
_OPTIONS = ("nproc", "world_size", "ip", "port", "group_offset")


class Machine(NamedTuple):
    """This machine's part in a command.

    Attributes:
        nproc: processes here.
        world_size: processes on all machines.
        ip, port: where they meet: the first one listens there; at port 0, this machine's launcher at a free one.
        group_offset: rank of the first one here.
    """

    nproc: int
    world_size: int
    ip: str
    port: int
    group_offset: int


def split_off_launch(arguments: list[str]) -> tuple[list[str], Machine | None]:
    """A command's arguments without RecBole's options, and what these ask for; None where it is one process.

    Raises:
        ValueError: For a value that is not understood, or a machine whose processes are not among all.
    """
    if not any(argument.partition("=")[0] in ("--nproc", "--world_size") for argument in arguments):
        return arguments, None  # --port may be the command's own
    rest, given = [], {}
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and name in _OPTIONS:
            given[name] = value if equals else next(waiting, "")
        else:
            rest.append(argument)
    numbers = {"nproc": 1, "world_size": -1, "group_offset": 0}
    for name in [*numbers, "port"]:
        if name in given:
            try:
                numbers[name] = int(given[name])
            except ValueError:
                raise ValueError(f"--{name} {given[name]}: expected a whole number") from None
    nproc, offset = numbers["nproc"], numbers["group_offset"]
    world = numbers["world_size"] if numbers["world_size"] > 0 else nproc
    if nproc < 1 or offset < 0 or offset + nproc > world:
        raise ValueError(
            f"--nproc {nproc} --group_offset {offset}: ranks {offset} to {offset + nproc - 1} are not among the "
            f"{world} of --world_size"
        )
    if world == 1:
        return rest, None
    port = numbers.get("port") or (0 if world == nproc else 5678)
    return rest, Machine(nproc, world, given.get("ip", "localhost"), port, offset)


def start_processes(machine: Machine, work: Callable[..., Any], *arguments: Any) -> int:
    """Call ``work(*arguments)`` in every process of this machine.

    Args:
        machine: which processes.
        work: a function that can be imported.
        arguments: what can be pickled.

    Returns:
        0, or the exit status of the first process that failed; the others are ended then.

    Raises:
        ValueError: If a process was killed.
    """
    import torch.distributed as dist  # here, for the sake of a command's help
    from torch.multiprocessing import ProcessExitedException
    from torch.multiprocessing import start_processes as start

    store = None
    if machine.port == 0:  # kept open, so that nobody else gets the port between its choice and its use
        store = dist.TCPStore(machine.ip, 0, is_master=True, wait_for_workers=False)
        machine = machine._replace(port=store.port)
    try:
        start(_process, args=(machine, store is not None, work, arguments), nprocs=machine.nproc, start_method="spawn")
    except ProcessExitedException as error:
        if error.signal_name is not None:
            raise ValueError(
                f"process {machine.group_offset + error.error_index} was ended by {error.signal_name}; run the same "
                "command again, with as many processes, to resume"
            ) from error
        return error.exit_code
    return 0


def _process(
    local_rank: int, machine: Machine, is_store_there: bool, work: Callable[..., Any], arguments: tuple
) -> None:
    numbers = {
        "RANK": machine.group_offset + local_rank,
        "LOCAL_RANK": local_rank,
        "WORLD_SIZE": machine.world_size,
        "LOCAL_WORLD_SIZE": machine.nproc,
        "MASTER_ADDR": machine.ip,
        "MASTER_PORT": machine.port,
    }
    if is_store_there:
        numbers |= STORE_OF_LAUNCHER
    os.environ.update({name: str(value) for name, value in numbers.items()})
    work(*arguments)
