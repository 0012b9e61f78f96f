"""What ratings can be told without a model: mean, user and item bias."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tasks.cases import Case

_ROUNDS = 10  # of alternating least squares
_SHRINKAGES = (1, 2, 5, 10, 15, 30)


class TrainingRatings(NamedTuple):
    """The ratings of the training part: ``users``, ``items`` int64 [n] ids, ``ratings`` float [n], and the row numbers
    of their ``interactions``."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray
    interactions: frozenset[int]

    @classmethod
    def of(cls, data: PersonalData) -> TrainingRatings:
        """Those of a data set, at least one."""
        sequences = data.sequences("train")
        users = np.repeat([user.user_id for user in sequences], [len(user.item_ids) for user in sequences])
        items = np.concatenate([user.item_ids for user in sequences])
        interactions = np.concatenate([user.interactions for user in sequences])
        ratings = data.rating(interactions)
        rated = ~np.isnan(ratings)
        return cls(users[rated], items[rated], ratings[rated], frozenset(interactions[rated].tolist()))


class RatingBaseline:
    """Rating = mean + bias of the user + bias of the item, biases shrunk towards 0 where there are few ratings.

    Source: Koren, "Factor in the neighbors", TKDD 2010, section 2.1.

    Args:
        data: what the cases are about.
        mean: of the training ratings.
        item_bias: float64 [N+1], by item id.
        user_shrinkage: > 0, how many ratings of 0 bias a user is given.
        user_rest: user id -> sum and weight, of which the user's bias is the ratio; without the users of the training,
            each is judged by the history alone.
        learned: row numbers of the interactions that these are made of.
    """

    def __init__(
        self,
        data: PersonalData,
        mean: float,
        item_bias: np.ndarray,
        user_shrinkage: float,
        user_rest: Mapping[int, tuple[float, float]] | None = None,
        learned: Collection[int] = frozenset(),
    ) -> None:
        self.mean, self.item_bias, self.user_shrinkage = mean, item_bias, user_shrinkage
        self._data, self._user_rest, self._learned = data, user_rest or {}, learned

    @classmethod
    def fitted(
        cls, data: PersonalData, training: TrainingRatings, user_shrinkage: float = 15, item_shrinkage: float = 10
    ) -> RatingBaseline:
        """Of the training ratings; shrinkages > 0 are how many ratings of 0 bias each user and item is given."""
        users, items, ratings, learned = training
        mean = float(ratings.mean())
        item_bias = np.zeros(len(data.table.codes))
        user_bias = np.zeros(users.max() + 1)
        item_weight = item_shrinkage + np.bincount(items, minlength=len(item_bias))
        user_weight = user_shrinkage + np.bincount(users)
        for _ in range(_ROUNDS):
            rest = ratings - mean - user_bias[users]
            item_bias = np.bincount(items, rest, minlength=len(item_bias)) / item_weight
            rest = ratings - mean - item_bias[items]
            user_bias = np.bincount(users, rest) / user_weight
        user_rest = {user: (user_bias[user] * user_weight[user], user_weight[user]) for user in set(users.tolist())}
        return cls(data, mean, item_bias, user_shrinkage, user_rest, learned)

    def predict(self, case: Case) -> float:
        """The rating of a case's target, kept on the scale.

        The user is judged by their training ratings and by those of the case's history that are none (the validation
        item's in a test, all of them for a user of ``user_split: by_user``): what a prompt shows, this knows too.
        """
        total, weight = self._user_rest.get(case.user_id, (0.0, self.user_shrinkage))
        is_new = np.array([interaction not in self._learned for interaction in case.history_interactions.tolist()])
        ratings = self._data.rating(case.history_interactions)
        rest = (ratings - self.mean - self.item_bias[case.history])[is_new & ~np.isnan(ratings)]
        bias = (total + rest.sum()) / (weight + len(rest))
        values = self._data.rating_values
        return float(np.clip(self.mean + self.item_bias[case.target] + bias, values.min(), values.max()))


def best_on_validation(data: PersonalData, cases: Sequence[Case]) -> RatingBaseline:
    """The baseline with the shrinkages that err least, by squares, on the validation part's rated cases."""
    truth = data.rating(np.array([case.target_interaction for case in cases]))

    def error(baseline: RatingBaseline) -> float:
        return float(((np.array([baseline.predict(case) for case in cases]) - truth) ** 2).mean())

    training = TrainingRatings.of(data)
    pairs = itertools.product(_SHRINKAGES, repeat=2)
    return min((RatingBaseline.fitted(data, training, *pair) for pair in pairs), key=error)
