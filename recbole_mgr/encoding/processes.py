"""The processes that share one encoding: one alone, or those that torchrun started."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch.distributed


class Processes:
    """As a context: joins the processes of torchrun, where there are any.

    Attributes:
        rank: number of this one, 0 for the one that merges.
        count: how many there are.
        local_rank: number of this one on its machine.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.local_rank = int(os.environ.get("LOCAL_RANK", 0))

    def __enter__(self) -> Processes:
        if self.count > 1:  # a shard may take hours longer than another
            torch.distributed.init_process_group("gloo", timeout=timedelta(days=30))
        return self

    def __exit__(self, *_: Any) -> None:
        if self.count > 1:
            torch.distributed.destroy_process_group()

    def gather(self, value: Any) -> list[Any] | None:
        """The values of all processes, in the order of their ranks, for rank 0; None for the others."""
        if self.count == 1:
            return [value]
        values: list[Any] | None = [None] * self.count if self.rank == 0 else None
        torch.distributed.gather_object(value, values)
        return values
