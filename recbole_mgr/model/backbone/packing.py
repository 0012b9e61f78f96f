"""Rows of different length without their padding: only attention has to see it."""

from typing import NamedTuple

import torch
from torch import Tensor

# Added to the scores of hidden keys. exp(-1e4) is 0, float16 can hold it, and a row of hidden keys only (a user
# without history) attends to zeros instead of becoming NaN.
HIDDEN = -1e4


class Packing(NamedTuple):
    """Where the real tokens of B right-padded rows stand, so that only attention has to see the padding.

    Attributes:
        rows: B.
        length: S, the padded length in tokens.
        positions: int64 [M], the place of each real token in the flattened [B * S].
    """

    rows: int
    length: int
    positions: Tensor

    def pad(self, packed: Tensor) -> Tensor:
        """[M, C] -> [B, S, C], zeros in the padding."""
        padded = packed.new_zeros(self.rows * self.length, packed.shape[-1])
        return padded.index_copy(0, self.positions, packed).view(self.rows, self.length, -1)

    def pack(self, padded: Tensor) -> Tensor:
        """[B, S, C] -> [M, C]."""
        return padded.flatten(0, 1).index_select(0, self.positions)

    def key_bias(self) -> Tensor:
        """What hides the padding from attention, float32 [B, 1, 1, S]."""
        bias = torch.full((self.rows * self.length,), HIDDEN, device=self.positions.device)
        return bias.index_fill(0, self.positions, 0.0).view(self.rows, 1, 1, self.length)
