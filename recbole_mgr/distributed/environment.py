"""What torchrun tells a process about itself; read without PyTorch, so that a command's help takes no seconds."""

from __future__ import annotations

import os

_VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")  # before RecBole sets it
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


def started_together() -> int:
    """How many processes were started for this command, 1 where nobody says otherwise.

    Raises:
        ValueError: If a number is given without what else torchrun gives.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    missing = [name for name in _NEEDED if name not in os.environ]
    if count > 1 and missing:
        raise ValueError(
            f"WORLD_SIZE is {count}, but {', '.join(missing)} is not set; start several processes by torchrun, or "
            "unset WORLD_SIZE"
        )
    return count


def is_first_process() -> bool:
    """Whether this process speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def place_on_machine() -> tuple[int, int]:
    """The number of this process on its machine, from 0, and how many run there."""
    local = int(os.environ.get("LOCAL_RANK", 0))
    return local, int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", 1)))


def visible_gpus() -> list[str]:
    """The GPUs that this command was given, as ``gpu_id`` names them; to be asked before RecBole chooses among them."""
    import torch

    if _VISIBLE_GPUS is not None:
        return [number.strip() for number in _VISIBLE_GPUS.split(",") if number.strip()]
    return [str(number) for number in range(torch.cuda.device_count())]


def gpu_of_process(gpu_id: str, *, chosen: bool) -> str:
    """The one GPU of this process, of those that a machine's processes share.

    Args:
        gpu_id: numbers of GPUs, separated by commas; empty for the CPU.
        chosen: whether the user named them. Otherwise the processes take all that are visible, in order.

    Raises:
        ValueError: If there are fewer than processes.
    """
    place, neighbours = place_on_machine()
    if neighbours == 1 or not gpu_id:
        return gpu_id
    ids = [number.strip() for number in gpu_id.split(",")]
    if not chosen:
        ids = _VISIBLE_GPUS.split(",") if _VISIBLE_GPUS else [str(number) for number in range(neighbours)]
    if len(ids) < neighbours:
        raise ValueError(
            f"gpu_id: {','.join(ids)}: {len(ids)} GPU(s) for the {neighbours} processes of this machine; name one for "
            "each, start fewer, or leave it empty (--gpu_id=) for the CPU"
        )
    return ids[place]
