"""The offsets between codes and token ids; nothing else may compute them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


class CodeVocabulary:
    """One vocabulary for all digits: token id 0 is PAD, then the codes of digit 0, of digit 1, and so on.

    Args:
        sizes: number of codes of each of the D digits, each >= 1.
    """

    PAD = 0

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes or min(sizes) < 1:
            raise ValueError(f"sizes must name at least one code for each digit, not {list(sizes)}")
        self.sizes = tuple(sizes)
        self.size = 1 + sum(sizes)
        self._starts = tuple(accumulate(sizes[:-1], initial=1))
        self._offsets: dict[torch.device, Tensor] = {}

    def token_ids(self, codes: Tensor) -> Tensor:
        """Token ids int64 [..., D] of codes [..., D]; -1 (no item) becomes PAD.

        Codes must be legal, as those of a `SemanticIdTable` are; a check would make the host wait.
        """
        return torch.where(codes < 0, self.PAD, codes + self._offsets_on(codes))

    def codes(self, token_ids: Tensor) -> Tensor:
        """Codes int64 [..., D] of token ids [..., D]; PAD becomes -1."""
        return torch.where(token_ids == self.PAD, -1, token_ids - self._offsets_on(token_ids))

    def token_id_range(self, digit: int) -> slice:
        """The token ids of one digit's codes."""
        start = self._starts[digit]
        return slice(start, start + self.sizes[digit])

    def _offsets_on(self, like: Tensor) -> Tensor:
        if like.shape[-1] != len(self.sizes):
            raise ValueError(f"the last dimension must be the {len(self.sizes)} digits, not {like.shape[-1]}")
        if like.device not in self._offsets:
            self._offsets[like.device] = torch.tensor(self._starts, device=like.device)
        return self._offsets[like.device]
