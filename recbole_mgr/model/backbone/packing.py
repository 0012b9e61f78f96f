"""Rows of different length without their padding: only attention has to see it."""

from typing import NamedTuple

import torch
from torch import Tensor

# Added to the scores of hidden keys. exp(-1e4) is 0, float16 can hold it, and a row of hidden keys only (a user
# without history) attends to zeros instead of becoming NaN.
HIDDEN = -1e4


class Packing(NamedTuple):
    """Where the real entries of B padded rows stand, so that only attention has to see the padding.

    Attributes:
        rows: B.
        length: S, the padded length.
        positions: int64 [M], the place of each real entry in the flattened [B * S]; None where all places are
            real, in order.
    """

    rows: int
    length: int
    positions: Tensor | None = None

    @property
    def size(self) -> int:
        """M, the number of real entries."""
        return self.rows * self.length if self.positions is None else len(self.positions)

    def pad(self, packed: Tensor) -> Tensor:
        """[M, C] -> [B, S, C], zeros in the padding."""
        if self.positions is not None:
            empty = packed.new_zeros(self.rows * self.length, packed.shape[-1])
            packed = empty.index_copy(0, self.positions, packed)
        return packed.view(self.rows, self.length, -1)

    def pack(self, padded: Tensor) -> Tensor:
        """[B, S, C] -> [M, C]."""
        flat = padded.flatten(0, 1)
        return flat if self.positions is None else flat.index_select(0, self.positions)

    def key_bias(self, device: torch.device) -> Tensor:
        """What hides the padding from attention, float32 [B, 1, 1, S]."""
        bias = torch.zeros(self.rows * self.length, device=device)
        if self.positions is not None:
            bias = bias.fill_(HIDDEN).index_fill_(0, self.positions, 0.0)
        return bias.view(self.rows, 1, 1, self.length)


class Padded(NamedTuple):
    """Rows with their padding, in the place of a `Packing` where no shape may depend on how much of it there is.

    Attributes:
        is_real: bool [B, S].
    """

    is_real: Tensor

    @property
    def rows(self) -> int:
        return self.is_real.shape[0]

    @property
    def length(self) -> int:
        return self.is_real.shape[1]

    @property
    def size(self) -> int:
        return self.rows * self.length

    def pad(self, packed: Tensor) -> Tensor:
        """[B * S, C] -> [B, S, C]."""
        return packed.view(self.rows, self.length, -1)

    def pack(self, padded: Tensor) -> Tensor:
        """[B, S, C] -> [B * S, C]."""
        return padded.flatten(0, 1)

    def key_bias(self, device: torch.device) -> Tensor:
        """As of `Packing`."""
        return torch.where(self.is_real, 0.0, HIDDEN)[:, None, None]


def pack_rows(is_real: Tensor, group_sizes: list[int]) -> list[Packing]:
    """Packings of consecutive groups of rows, each row's real entries moved to its front.

    Args:
        is_real: bool [B, S].
        group_sizes: number of rows of each group, adding up to B.

    Returns:
        One packing per group; the real entries keep their order.
    """
    packings = []
    for group in is_real.split(group_sizes):
        rank = group.cumsum(dim=1) - 1  # [b, S]
        longest = max(1, int(rank[:, -1].max()) + 1)
        rows = torch.arange(len(group), device=group.device).unsqueeze(1)
        packings.append(Packing(len(group), longest, (rows * longest + rank)[group]))
    return packings
