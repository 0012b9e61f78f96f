"""The interactions of a data set as one history for each user: filtered, numbered and in the order of time.

All that is trained and tested on is cut from these arrays: models, seeds and processes of a table share them as one
file, of which only what is read is in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recbole_mgr.data.interactions import Interactions, by_appearance
from recbole_mgr.data.ordering import stable_order
from recbole_mgr.files import replacing

Kept = Callable[[np.ndarray], np.ndarray]  # numbers of interactions [n] -> whether each is allowed, bool [n]


class InteractionHistories(NamedTuple):
    """A CSR matrix of who took what when; ids count from 1 in the order of time, 0 is padding.

    Attributes:
        user_tokens: U ids, the token of user 1 first.
        item_tokens: N ids, the token of item 1 first.
        starts: int64 [U + 2], where the interactions of each user id begin, those of the padding included (none).
        users: int32 [n], 1..U, ascending.
        items: int32 [n], 1..N; those of a user oldest first, at equal times in the order of the file.
        times: float64 [n].
        order: int32 [n], the place of each interaction when those of all users stand in the order of time.
    """

    user_tokens: list[str]
    item_tokens: list[str]
    starts: Tensor
    users: Tensor
    items: Tensor
    times: Tensor
    order: Tensor

    @classmethod
    def of(
        cls,
        interactions: Interactions,
        *,
        repeats: str | None = None,
        user_counts: Kept | None = None,
        item_counts: Kept | None = None,
    ) -> InteractionHistories:
        """Filter, number and arrange the rows of a file, as RecBole does it.

        Args:
            interactions: of the file.
            repeats: "first" or "last" keeps that one of a user's interactions with the same item; None keeps all.
            user_counts, item_counts: how many interactions a user and an item may have; taken away are all others,
                until there are none.
        """
        if repeats is not None:
            rows = stable_order(interactions.times)
            rows = rows[_first_or_last(interactions.users[rows], interactions.items[rows], repeats)]
            interactions = _chosen(interactions, np.sort(rows))
        if user_counts is not None or item_counts is not None:
            kept = _within_counts(interactions.users, interactions.items, user_counts, item_counts)
            interactions = interactions if kept.all() else _chosen(interactions, kept)
        rows = stable_order(interactions.times)
        user_tokens, users = _numbered(interactions.users[rows], interactions.user_tokens)
        item_tokens, items = _numbered(interactions.items[rows], interactions.item_tokens)
        return cls.arranged(user_tokens, item_tokens, users, items, interactions.times[rows])

    @classmethod
    def arranged(
        cls, user_tokens: list[str], item_tokens: list[str], users: np.ndarray, items: np.ndarray, times: np.ndarray
    ) -> InteractionHistories:
        """From interactions in the order of time: int32 [n] ids from 1 on, float64 [n]."""
        order = stable_order(users)
        counts = np.bincount(users, minlength=len(user_tokens) + 1)
        starts = np.concatenate([[0], counts.cumsum()])
        ascending = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        columns = (ascending, items[order], times[order], order.astype(np.int32))
        return cls(user_tokens, item_tokens, torch.from_numpy(starts), *map(torch.from_numpy, columns))

    def __len__(self) -> int:
        return len(self.items)

    @property
    def lengths(self) -> Tensor:
        """Interactions of each user, int64 [U]."""
        return self.starts[1:].diff()

    def in_time_order(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users int32, items int32 and times float64 [n], those of all users in the order of time."""
        columns = []
        for values in (self.users, self.items, self.times):
            column = torch.empty_like(values)
            column[self.order.long()] = values
            columns.append(column.numpy())
        return tuple(columns)

    def save(self, path: Path) -> None:
        """Write them as one safetensors file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for name in _TOKENS:
            text = "\n".join(getattr(self, name)).encode()
            arrays[name] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        with replacing(path) as unfinished:
            save_file(arrays, unfinished)

    @classmethod
    def load(cls, path: Path) -> InteractionHistories:
        """What `save` wrote; the arrays are mapped, and read from the disk where they are used.

        Raises:
            ValueError: If the file is damaged, naming it and the remedy.
        """
        try:
            with safe_open(path, framework="pt") as file:
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
                tokens = {name: file.get_tensor(name).numpy().tobytes().decode().split("\n") for name in _TOKENS}
        except (SafetensorError, OSError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path}: this cache file is damaged ({error}); remove it, and it will be made again"
            ) from error
        return cls(**tokens, **arrays)


_ARRAYS = ("starts", "users", "items", "times", "order")
_TOKENS = ("user_tokens", "item_tokens")


def _chosen(interactions: Interactions, rows: np.ndarray) -> Interactions:
    """Some of them, by ascending numbers or a mask; all tokens stay."""
    columns = {name: getattr(interactions, name)[rows] for name in ("users", "items", "times")}
    return interactions._replace(**columns)


def _first_or_last(users: np.ndarray, items: np.ndarray, which: str) -> np.ndarray:
    """Places, ascending, of the first or last of equal pairs."""
    pairs = users.astype(np.int64) << 32 | items
    if which == "first":
        return np.sort(np.unique(pairs, return_index=True)[1])
    return np.sort(len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1])


def _within_counts(
    users: np.ndarray, items: np.ndarray, user_counts: Kept | None, item_counts: Kept | None
) -> np.ndarray:
    """Whether each interaction stays when those of users and items with too few or too many go, bool [n]."""
    kept = np.ones(len(users), dtype=bool)
    limits = [(ids, counts) for ids, counts in ((users, user_counts), (items, item_counts)) if counts is not None]
    while True:
        banned = np.zeros(len(users), dtype=bool)
        for ids, allowed in limits:
            count = np.bincount(ids[kept], minlength=int(ids.max(initial=0)) + 1)
            banned |= ~allowed(count)[ids]
        banned &= kept
        if not banned.any():
            return kept
        kept &= ~banned


def _numbered(numbers: np.ndarray, tokens: list[str]) -> tuple[list[str], np.ndarray]:
    """The tokens that are there in the order in which they first appear, and ids from 1 in that order, int32 [n]."""
    first, ids = by_appearance(numbers, len(tokens))
    ids += 1
    appearing = numbers[first]
    if np.array_equal(appearing, np.arange(len(tokens))):
        return tokens, ids
    return pl.Series(tokens, dtype=pl.String).gather(appearing).to_list(), ids
