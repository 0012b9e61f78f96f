"""Which items a user already has: what ``mask_history`` keeps out of the ranked lists."""

from __future__ import annotations

import numpy as np
import torch

from recbole_mgr.data.interaction_histories import InteractionHistories
from recbole_mgr.data.ordering import stable_order

_ROWS_AT_A_TIME = 4096


class SeenItems:
    """Items per user, as one flat array with offsets (a CSR matrix without values).

    Args:
        users: [n] user ids.
        items: [n] item ids, the pairs to keep out.
        num_users: number of users, PAD included.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, num_users: int) -> None:
        order = stable_order(users)
        starts = torch.from_numpy(np.searchsorted(users[order], np.arange(num_users + 1)))
        self._items, self._starts, self._ends = torch.from_numpy(items[order].astype(np.int32)), starts[:-1], starts[1:]

    @classmethod
    def at_first(cls, histories: InteractionHistories, held_out: torch.Tensor) -> SeenItems:
        """All items of each user but the last ``held_out`` int64 [U + 1], which stay where they are."""
        seen = cls.__new__(cls)
        seen._items, seen._starts = histories.items, histories.starts[:-1]
        seen._ends = histories.starts[1:] - held_out
        return seen

    def contains(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Whether each user has the item already, bool [B], on the device of ``users``, from ids [B] each."""
        return (self.rows(users) == items.to(users.device)[:, None]).any(dim=1) & (items.to(users.device) > 0)

    def contain_all(self, users: torch.Tensor, items: torch.Tensor) -> bool:
        """Whether each of n users has the item already, from ids [n] each; ends at the first part where one has not."""
        parts = zip(users.split(_ROWS_AT_A_TIME), items.split(_ROWS_AT_A_TIME), strict=True)
        return all(bool(self.contains(*part).all()) for part in parts)

    def rows(self, users: torch.Tensor) -> torch.Tensor:
        """Seen items of a batch of users.

        Args:
            users: [B] user ids.

        Returns:
            [B, X] item ids, some perhaps twice, right-padded with 0, on the device of ``users``.
        """
        device = users.device
        users = users.cpu()
        start, length = self._starts[users], self._ends[users] - self._starts[users]
        columns = torch.arange(int(length.max()) if len(length) else 0)  # [X]
        index = (start[:, None] + columns).clamp(max=max(len(self._items) - 1, 0))
        return torch.where(columns < length[:, None], self._items[index].long(), 0).to(device)  # [B, X]

    @classmethod
    def split(
        cls, users: np.ndarray, items: np.ndarray, valid: np.ndarray, test: np.ndarray, num_users: int
    ) -> tuple[SeenItems, SeenItems]:
        """What has been seen before validation and before test.

        Args:
            users, items: integer [n], all interactions of the data set; repeats are legal.
            valid, test: [m, 2] the (user, item) targets of the two phases.
            num_users: number of users, PAD included.

        Returns:
            Items to mask on validation (training items) and on test (training and validation items).
        """
        keys, counts = np.unique(users.astype(np.int64) << 32 | items, return_counts=True)
        parts = []
        for targets in (np.concatenate([valid, test]), test):
            target_keys, target_counts = np.unique(targets[:, 0] << 32 | targets[:, 1], return_counts=True)
            before = counts.copy()  # a pair that occurs more often than it is a target was also seen before
            before[np.searchsorted(keys, target_keys)] -= target_counts
            seen = keys[before > 0]
            parts.append(cls(seen >> 32, seen & 0xFFFFFFFF, num_users))
        return tuple(parts)


def mark_seen_items(histories: InteractionHistories, valid, test) -> None:
    """Give the validation and test parts of a RecBole data set what their users have seen (``seen_items``).

    Args:
        histories: all interactions before the split.
        valid, test: the two parts, built.
    """

    def targets(part) -> np.ndarray:
        return np.stack([part.inter_feat[part.uid_field].numpy(), part.inter_feat[part.iid_field].numpy()], axis=1)

    valid_targets, test_targets = targets(valid), targets(test)
    after_valid, after_test = (_held_out(histories, users) for users in (valid_targets[:, 0], test_targets[:, 0]))
    if _are_last(histories, test_targets, 0 * after_test) and _are_last(histories, valid_targets, after_test):
        valid.seen_items = SeenItems.at_first(histories, after_valid + after_test)
        test.seen_items = SeenItems.at_first(histories, after_test)
    else:
        columns = histories.users.numpy(), histories.items.numpy()
        valid.seen_items, test.seen_items = SeenItems.split(*columns, valid_targets, test_targets, test.user_num)


def _held_out(histories: InteractionHistories, users: np.ndarray) -> torch.Tensor:
    """Targets of each user, int64 [U + 1]."""
    return torch.from_numpy(np.bincount(users, minlength=len(histories.starts) - 1))


def _are_last(histories: InteractionHistories, targets: np.ndarray, after: torch.Tensor) -> bool:
    """Whether targets [m, 2] are one a user, and the item that only ``after`` [U + 1] others of the user follow."""
    users = torch.from_numpy(targets[:, 0])
    places = histories.starts[users + 1] - 1 - after[users]
    if len(users.unique()) < len(users) or (places < histories.starts[users]).any():
        return False
    return bool((histories.items[places] == torch.from_numpy(targets[:, 1])).all())
