"""What each user took, in time order: flat arrays, so that millions of users fit and load at once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recbole_mgr.data.interaction_histories import InteractionHistories
from recbole_mgr.files import replacing


class UserHistories:
    """The items of each user, oldest first (a CSR matrix without values).

    Args:
        users: U user tokens, all different.
        starts: int64 [U + 1], where each user's items begin.
        item_ids: int32 [interactions], 1..N.
        interactions: int64 [interactions], each one's row number in the data set; None where they are numbered as they
            stand here, as in a loaded run.
    """

    def __init__(
        self, users: list[str], starts: np.ndarray, item_ids: np.ndarray, interactions: np.ndarray | None = None
    ) -> None:
        self._users = users
        self._starts = starts
        self._item_ids = item_ids
        self.interactions = interactions

    @classmethod
    def of(cls, pairs: np.ndarray, user_tokens: list[str]) -> UserHistories:
        """Group interactions by user.

        Args:
            pairs: int64 [n, 2], internal user and item ids in time order.
            user_tokens: U tokens, of the internal user ids from 1.
        """
        order = np.argsort(pairs[:, 0], kind="stable")
        starts = np.searchsorted(pairs[order, 0], np.arange(1, len(user_tokens) + 2))
        return cls(user_tokens, starts, pairs[order, 1].astype(np.int32), order)

    @classmethod
    def of_all(cls, histories: InteractionHistories) -> UserHistories:
        """Those of a data set, as they stand there."""
        columns = (histories.starts[1:], histories.items, histories.order)
        return cls(histories.user_tokens, *(column.numpy() for column in columns))

    def __len__(self) -> int:
        return len(self._users)

    @property
    def users(self) -> list[str]:
        """U user tokens, in order."""
        return self._users

    @functools.cached_property
    def _row_of(self) -> dict[str, int]:
        """Made when the first user is asked for."""
        return dict(zip(self._users, range(len(self)), strict=True))

    @property
    def num_interactions(self) -> int:
        """Of all users together."""
        return len(self._item_ids)

    def row_of(self, user: str) -> int:
        """The place of a user among all, from 0; raises KeyError if there is no such user."""
        return self._row_of[user]

    def of_user(self, user: str) -> np.ndarray | None:
        """Item ids int32 [l] of one user; None if there is no such user."""
        row = self._row_of.get(user)
        return None if row is None else self._item_ids[self._starts[row] : self._starts[row + 1]]

    def interactions_of_user(self, user: str) -> np.ndarray:
        """Numbers int64 [l] of the same interactions, which ratings and reviews go by.

        Raises:
            KeyError: If there is no such user.
        """
        row = self._row_of[user]
        start, end = self._starts[row], self._starts[row + 1]
        return np.arange(start, end) if self.interactions is None else self.interactions[start:end]

    def save(self, path: Path) -> None:
        """Write a .npz of plain arrays, which are not packed, so that they are read at once."""
        users = np.frombuffer("\n".join(self.users).encode(), dtype=np.uint8)
        with replacing(path) as unfinished:
            np.savez(unfinished, users=users, starts=self._starts, item_ids=self._item_ids)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> UserHistories:
        """What `save` wrote, as ``np.load`` gives it."""
        return cls(arrays["users"].tobytes().decode().split("\n"), arrays["starts"], arrays["item_ids"])
