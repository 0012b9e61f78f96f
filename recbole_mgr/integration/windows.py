"""Training rows of many targets: a user's history once, of which each item is a target of what stands before it."""

from __future__ import annotations

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.data.ordering import stable_order
from recbole_mgr.integration.history_rows import places_in_runs

TARGET_COUNT = "target_count"


def windows(rows: Interaction, user_field: str, stride: int) -> Interaction:
    """Keep of RecBole's training rows (one per target) the last of each user and every ``stride``-th before it.

    A kept row's history and target form a window of which the last ``target_count`` items are predicted, each from
    all before it. Counts over a user's windows add up to their number of targets.
    """
    users = rows[user_field].numpy()
    order, total = stable_order(users), np.bincount(users).astype(np.int32)
    position = np.empty(len(users), dtype=np.int32)  # 1 for a user's first target
    position[order] = 1 + places_in_runs(users[order])
    remaining = total[users] - position
    keep = np.flatnonzero(remaining % stride == 0)
    kept = rows[keep]
    counts = np.minimum(position[keep], stride).astype(np.int64)
    kept.update(Interaction({TARGET_COUNT: torch.from_numpy(counts)}))
    return kept


def targets_of_windows(
    history: Tensor, lengths: Tensor, targets: Tensor, counts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Which item follows at each place of a window, and whether it counts as a target.

    Args:
        history: [B, L] item ids, right-padded with 0.
        lengths: [B] items of history.
        targets: [B] the item after the history.
        counts: [B] how many of a row's last items count as targets; None means 1, the target alone.

    Returns:
        int64 [B, L], the item after each place, and bool [B, L].
    """
    place = torch.arange(history.shape[1], device=history.device)
    following = history.roll(-1, dims=1)
    following[torch.arange(len(history), device=history.device), lengths - 1] = targets
    counts = torch.ones_like(lengths) if counts is None else counts
    is_counted = (place < lengths[:, None]) & (place >= (lengths - counts)[:, None])
    return following, is_counted


def count_targets(rows: Interaction) -> int:
    """Targets of a batch: as many as its rows say, or one each."""
    return int(rows[TARGET_COUNT].sum()) if TARGET_COUNT in rows else len(rows)
