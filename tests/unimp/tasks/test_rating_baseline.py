"""User and item biases against the solution of their least-squares problem."""

import itertools

import numpy as np
import pytest

from recbole_mgr.unimp.tasks.preference import PreferenceTask
from recbole_mgr.unimp.tasks.rating_baseline import RatingBaseline, TrainingRatings, best_on_validation


def test_biases_solve_the_regularised_least_squares_and_know_what_a_prompt_shows(world, settings):
    baseline = RatingBaseline.fitted(world.data, TrainingRatings.of(world.data))
    rows = [
        (user.user_id, item, world.ratings[row])
        for user in world.parts["train"]
        for item, row in zip(user.item_ids, user.interactions, strict=True)
        if not np.isnan(world.ratings[row])
    ]
    mean = np.mean([rating for *_, rating in rows])
    design = np.zeros((len(rows), 7 + 10))  # users 1..6, items 1..9
    for index, (user, item, _) in enumerate(rows):
        design[index, user] = design[index, 7 + item] = 1
    penalty = np.diag([15.0] * 7 + [10.0] * 10)
    rest = np.array([rating - mean for *_, rating in rows])
    biases = np.linalg.solve(design.T @ design + penalty, design.T @ rest)
    assert baseline.mean == pytest.approx(mean)
    for case in PreferenceTask(world.data, settings).cases("valid"):  # whose histories are training ratings
        expected = np.clip(mean + biases[case.user_id] + biases[7 + case.target], 1, 5)
        assert baseline.predict(case) == pytest.approx(expected, abs=1e-4)
    count = np.bincount([user for user, *_ in rows])
    judged = []
    for case in PreferenceTask(world.data, settings).cases("test"):  # whose histories end with the validation item
        rating = world.ratings[case.history_interactions[-1]]
        if np.isnan(rating):
            continue
        weight = 15 + count[case.user_id]
        rest = rating - mean - biases[7 + case.history[-1]]
        bias = (biases[case.user_id] * weight + rest) / (weight + 1)
        assert baseline.predict(case) == pytest.approx(np.clip(mean + bias + biases[7 + case.target], 1, 5), abs=1e-4)
        judged.append(case)
    assert len(judged) > 2


def test_a_new_user_is_judged_by_his_history(make_world, settings):
    world = make_world(split="by_user")
    baseline = RatingBaseline.fitted(world.data, TrainingRatings.of(world.data))
    (case,) = PreferenceTask(world.data, {**settings, "history_items": 2}).cases("test")  # user 6: 5, 4, none, 2 | 1
    assert case.user_id == 6 and len(case.history) == 2  # of which one is rated: 2 stars
    low = baseline.predict(case)
    world.data._ratings[case.history_interactions[-1]] = 5.0
    high = RatingBaseline.fitted(world.data, TrainingRatings.of(world.data)).predict(case)
    assert high - low == pytest.approx(3 / (15 + 1))


def test_shrinkages_are_chosen_on_validation(world, settings):
    cases = PreferenceTask(world.data, settings).cases("valid")
    truth = world.ratings[[case.target_interaction for case in cases]]

    def error(baseline):
        return np.mean((np.array([baseline.predict(case) for case in cases]) - truth) ** 2)

    chosen = error(best_on_validation(world.data, cases))
    training = TrainingRatings.of(world.data)
    pairs = itertools.product((1, 5, 30), repeat=2)
    assert all(chosen <= error(RatingBaseline.fitted(world.data, training, *pair)) for pair in pairs)
    assert chosen < error(RatingBaseline.fitted(world.data, training, 1e9, 1e9))  # the mean alone


def test_predictions_stay_on_the_scale(world, settings):
    baseline = RatingBaseline.fitted(world.data, TrainingRatings.of(world.data))
    cases = PreferenceTask(world.data, settings).cases("test")
    baseline.mean = 9.0
    assert [baseline.predict(case) for case in cases] == [5.0] * len(cases)
    baseline.mean = -9.0
    assert [baseline.predict(case) for case in cases] == [1.0] * len(cases)
