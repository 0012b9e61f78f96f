"""The tokens of UniMP's prompts: the one owner of every offset between codes, ratings, pictures and token ids.

    [0, base_size)              the language model's own tokens
    image, answer, end          marks of the prompt format
    ratings, candidates         one token for each rating of the scale, and for each candidate of a selection
    picture codes               codes of the picture codec
    digit 0, digit 1, ...       codes of the semantic IDs

Digits come last, so that a larger catalogue moves no other token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_mgr.semantic_id.table import SemanticIdTable

_NUM_MARKS = 3


class DigitCodes(NamedTuple):
    """Token ids read as codes, both of the shape of the token ids.

    Attributes:
        depth: int64, the digit a token belongs to, -1 for tokens of no digit.
        codes: int64, its code there, -1 for tokens of no digit.
    """

    depth: Tensor
    codes: Tensor


class PromptVocabulary:
    """Token ids of everything a prompt can hold.

    Args:
        base_size: tokens of the language model before it is extended, >= 1.
        table: semantic IDs; their digits' sizes say how many tokens each digit has.
        num_ratings: R, values of the rating scale; 0 without ratings.
        num_candidates: C, most candidates of a selection, >= 0.
        picture_codes: P, codes of the picture codec; 0 without one.

    Attributes:
        image_id, answer_id, end_id: int, the marks ``<image>``, ``<answer>`` and end-of-chunk.
        rating_ids: int64 [R], candidate_ids: int64 [C], picture_ids: int64 [P].
        size: number of all tokens; num_new: those that the language model does not have.

    Raises:
        ValueError: If a count is negative or there are no base tokens.
    """

    def __init__(
        self,
        base_size: int,
        table: SemanticIdTable,
        *,
        num_ratings: int,
        num_candidates: int,
        picture_codes: int,
    ) -> None:
        counts = {"num_ratings": num_ratings, "num_candidates": num_candidates, "picture_codes": picture_codes}
        for name, count in (("base_size", base_size - 1), *counts.items()):
            if count < 0:
                raise ValueError(f"{name}: {count} is too few; a vocabulary counts tokens from 0, of the base from 1")
        self.base_size = base_size
        self._counts = counts
        self._sizes = table.sizes
        self.image_id, self.answer_id, self.end_id = range(base_size, base_size + _NUM_MARKS)
        start = base_size + _NUM_MARKS
        self.rating_ids, self.candidate_ids, self.picture_ids = (
            torch.arange(count) + start + offset
            for count, offset in zip(counts.values(), (0, num_ratings, num_ratings + num_candidates), strict=True)
        )
        first_digit = start + sum(counts.values())
        self._digit_bounds = torch.tensor([0, *self._sizes]).cumsum(0) + first_digit  # [D+1]
        self.size = int(self._digit_bounds[-1])
        self.num_new = self.size - base_size

    @property
    def num_digits(self) -> int:
        """D, digits of a semantic ID."""
        return len(self._sizes)

    def digit_ids(self, depth: int) -> slice:
        """Token ids of the digit ``depth``, code 0 first: a slice, because they are neighbours."""
        return slice(int(self._digit_bounds[depth]), int(self._digit_bounds[depth + 1]))

    @property
    def digit_starts(self) -> Tensor:
        """int64 [D], the token id of code 0 of each digit."""
        return self._digit_bounds[:-1]

    def item_token_ids(self, codes: Tensor) -> Tensor:
        """Token ids of semantic IDs.

        Args:
            codes: int64 [..., D], legal codes (PAD's -1 has no token).

        Returns:
            int64 [..., D], on the device of ``codes``.
        """
        return codes + self.digit_starts.to(codes.device)  # [..., D]

    def digit_codes(self, token_ids: Tensor) -> DigitCodes:
        """Which digit's codes tokens are: the inverse of `item_token_ids`.

        Args:
            token_ids: int64 [...], any tokens.
        """
        bounds = self._digit_bounds.to(token_ids.device)
        depth = torch.bucketize(token_ids, bounds, right=True) - 1  # [...]
        is_digit = (depth >= 0) & (token_ids < self.size)
        codes = token_ids - bounds[depth.clamp(0, self.num_digits - 1)]
        return DigitCodes(depth.where(is_digit, -1), codes.where(is_digit, -1))

    def state(self) -> dict[str, int]:
        """What, beside the table, makes this vocabulary: plain numbers for the run directory."""
        return {"base_size": self.base_size, **self._counts}

    @classmethod
    def from_state(cls, state: Mapping[str, int], table: SemanticIdTable) -> PromptVocabulary:
        """The vocabulary that `state` came from."""
        return cls(table=table, **state)
