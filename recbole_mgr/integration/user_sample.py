"""A fixed sample of users to validate on while training: the ranking of a whole catalogue costs as much as an epoch."""

from __future__ import annotations

import numpy as np
from recbole.data.dataloader import AbstractDataLoader

MANY_USERS, SAMPLE = 50_000, 10_000  # beyond so many a validation of all costs more than the epoch before it


def users_that_steer(asked: int | None, loader: AbstractDataLoader) -> int | None:
    """How many users of the validation part steer training: those that are asked for, or all (None).

    Args:
        asked: None is all, or a sample where there are many.
        loader: of the validation part, as for `sample_of_users`.
    """
    there = len(_users(loader))
    if asked is None and there > MANY_USERS:
        return SAMPLE
    return asked if asked is not None and asked < there else None


def sample_of_users(loader: AbstractDataLoader, count: int) -> AbstractDataLoader:
    """An evaluation loader of RecBole's over some of its users.

    The sample depends on the loader's users and ``count`` only, so every model and seed meets the same one.

    Args:
        loader: of the validation part, any mode, general or sequential.
        count: users to keep; all, where there are no more.
    """
    dataset = loader._dataset
    users = _users(loader)
    if count >= len(users):
        return loader
    chosen = np.random.default_rng(0).choice(users, count, replace=False)
    of_chosen = np.isin(dataset.inter_feat[dataset.uid_field].numpy(), chosen)
    part = dataset.copy(dataset.inter_feat[np.flatnonzero(of_chosen)])
    return type(loader)(loader.config, part, loader._sampler, shuffle=False)


def _users(loader: AbstractDataLoader) -> np.ndarray:
    """int64 [U], ascending."""
    dataset = loader._dataset
    return np.unique(dataset.inter_feat[dataset.uid_field].numpy())
