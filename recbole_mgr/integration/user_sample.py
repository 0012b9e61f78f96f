"""A fixed sample of users to validate on while training: the ranking of a whole catalogue costs as much as an epoch."""

from __future__ import annotations

import numpy as np
from recbole.data.dataloader import AbstractDataLoader

MANY_USERS, SAMPLE = 50_000, 10_000  # beyond so many a validation of all costs more than the epoch before it


def users_that_steer(asked: int | None, num_users: int) -> int | None:
    """How many users steer training: as many as are asked for, or all (None), or a sample where there are many."""
    return SAMPLE if asked is None and num_users > MANY_USERS else asked


def sample_of_users(loader: AbstractDataLoader, count: int) -> AbstractDataLoader:
    """An evaluation loader of RecBole's over some of its users.

    The sample depends on the loader's users and ``count`` only, so every model and seed meets the same one.

    Args:
        loader: of the validation part, any mode, general or sequential.
        count: users to keep; all, where there are no more.
    """
    dataset = loader._dataset
    user_of_row = dataset.inter_feat[dataset.uid_field].numpy()
    users = np.unique(user_of_row)
    if count >= len(users):
        return loader
    chosen = np.random.default_rng(0).choice(users, count, replace=False)
    part = dataset.copy(dataset.inter_feat[np.flatnonzero(np.isin(user_of_row, chosen))])
    return type(loader)(loader.config, part, loader._sampler, shuffle=False)
