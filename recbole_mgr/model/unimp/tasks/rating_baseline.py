"""What ratings can be told without a model: mean, user and item bias."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from recbole_mgr.model.unimp.tasks.task import Case

if TYPE_CHECKING:
    from recbole_mgr.model.unimp.personal_data import PersonalData

_ROUNDS = 10  # of alternating least squares
_SHRINKAGES = (1, 2, 5, 10, 15, 30)


class TrainingRatings(NamedTuple):
    """The ratings of the training part: ``users`` and ``items`` int64 [n] ids, ``ratings`` float [n]."""

    users: np.ndarray
    items: np.ndarray
    ratings: np.ndarray

    @classmethod
    def of(cls, data: PersonalData) -> TrainingRatings:
        """Those of a data set, at least one."""
        sequences = data.sequences("train")
        users = np.repeat([user.user_id for user in sequences], [len(user.item_ids) for user in sequences])
        items = np.concatenate([user.item_ids for user in sequences])
        ratings = data.rating(np.concatenate([user.interactions for user in sequences]))
        rated = ~np.isnan(ratings)
        return cls(users[rated], items[rated], ratings[rated])


class RatingBaseline:
    """Rating = mean + bias of the user + bias of the item, biases shrunk towards 0 where there are few ratings.

    Source: Koren, "Factor in the neighbors", TKDD 2010, section 2.1.

    Args:
        data: what the cases are about.
        training: the ratings that are fitted.
        user_shrinkage, item_shrinkage: > 0, how many ratings of 0 bias each user and item is given.

    Attributes:
        mean: of the training ratings.
    """

    mean: float

    def __init__(
        self, data: PersonalData, training: TrainingRatings, user_shrinkage: float = 15, item_shrinkage: float = 10
    ) -> None:
        self._data, self._user_shrinkage = data, user_shrinkage
        users, items, ratings = training
        self.mean = float(ratings.mean())
        self._item_bias = np.zeros(len(data.table.codes))
        user_bias = np.zeros(users.max() + 1)
        item_weight = item_shrinkage + np.bincount(items, minlength=len(self._item_bias))
        user_weight = user_shrinkage + np.bincount(users)
        for _ in range(_ROUNDS):
            rest = ratings - self.mean - user_bias[users]
            self._item_bias = np.bincount(items, rest, minlength=len(self._item_bias)) / item_weight
            rest = ratings - self.mean - self._item_bias[items]
            user_bias = np.bincount(users, rest) / user_weight
        self._user_bias = {user: user_bias[user] for user in np.unique(users).tolist()}

    def predict(self, case: Case) -> float:
        """The rating of a case's target, kept on the scale.

        A user without training ratings (``user_split: by_user``) is judged by those of the case's history.
        """
        bias = self._user_bias.get(case.user_id)
        if bias is None:
            bias = self._bias_from_history(case)
        values = self._data.rating_values
        return float(np.clip(self.mean + self._item_bias[case.target] + bias, values.min(), values.max()))

    def _bias_from_history(self, case: Case) -> float:
        ratings = self._data.rating(case.history_interactions)
        rated = ~np.isnan(ratings)
        rest = (ratings - self.mean - self._item_bias[case.history])[rated]
        return rest.sum() / (self._user_shrinkage + len(rest))


def best_on_validation(data: PersonalData, cases: Sequence[Case]) -> RatingBaseline:
    """The baseline with the shrinkages that err least, by squares, on the validation part's rated cases."""
    truth = data.rating(np.array([case.target_interaction for case in cases]))

    def error(baseline: RatingBaseline) -> float:
        return float(((np.array([baseline.predict(case) for case in cases]) - truth) ** 2).mean())

    training = TrainingRatings.of(data)
    pairs = itertools.product(_SHRINKAGES, repeat=2)
    return min((RatingBaseline(data, training, *pair) for pair in pairs), key=error)
