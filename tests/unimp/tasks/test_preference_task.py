"""Preference: rows, errors of known predictions, and what is refused."""

import numpy as np
import pytest
import torch
from prompted_model import PromptedModel

from recbole_mgr.unimp.tasks.preference import PreferenceTask
from recbole_mgr.unimp.tasks.rating_baseline import best_on_validation
from recbole_mgr.unimp.tasks.rating_line import RatingLine


def test_chunks_carry_ratings_and_the_question_shows_the_target(world, settings):
    task = PreferenceTask(world.data, settings)
    case = next(case for case in task.cases("valid") if case.user_id == 1)  # 1 (5 stars), 4 (4), 7 (none), then 2 (2)
    assert world.read(task.row(case, answer=True)) == (
        "<image> red soap <answer> d0=0 d1=0 r3 <end> "
        "<image> red comb <answer> d0=1 d1=0 r2 <end> "
        "<image> red mask <answer> d0=2 d1=0 <end> "
        "<image> blue soap Which rating? <answer> r1 <end>"
    )


def test_the_question_sees_the_target_as_chunks_see_their_items(world, settings):
    task = PreferenceTask(world.data, settings)
    row = task.row(next(case for case in task.cases("valid") if case.user_id == 1), answer=False)
    assert set(row.sees[row.image_positions[3] :]) == {3}  # its own picture, not the three of the history


def test_ratings_are_learned_and_ids_are_given(world, settings):
    task = PreferenceTask(world.data, settings)
    case = next(case for case in task.training_rows(0) if case.user_id == 1)  # 1 (5 stars), then 4 (4)
    assert world.targets(task.row(case, answer=True)) == "r3 <end> r2 <end>"


def test_what_was_not_rated_is_not_asked(world, settings):
    task = PreferenceTask(world.data, settings)
    cases = [case for epoch in range(10) for case in task.training_rows(epoch)] + task.cases("valid")
    assert not np.isnan(world.ratings[[case.target_interaction for case in cases]]).any()
    assert {case.user_id for case in task.cases("valid")} == {1, 3, 5, 6}  # the third of 2 and 4 is unrated


def test_a_model_that_knows_has_no_error(world, settings, knowing_model, tmp_path):
    task = PreferenceTask(world.data, settings)
    cases = task.cases("test")
    result = task.evaluate(knowing_model(task, cases), cases, tmp_path)
    assert result.cases == len(cases) == 6
    assert result.metrics["rmse"].value == pytest.approx(0, abs=1e-6)
    assert result.baselines["global mean"]["rmse"].value > 1


def test_the_prediction_is_the_expectation(world, settings):
    class Undecided(PromptedModel):
        def answer_logits(self, batch, token_ids):
            assert token_ids.tolist() == world.data.vocabulary.rating_ids.tolist()
            return torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4, 0.0])[: len(token_ids)]).expand(len(batch.task), -1)

    task = PreferenceTask(world.data, settings)
    cases = task.cases("test")
    predicted = task.predict(Undecided(), cases)
    scale = world.data.rating_values
    assert predicted == pytest.approx(np.full(len(cases), scale @ np.array([0.1, 0.2, 0.3, 0.4, 0.0])[: len(scale)]))


def test_errors_by_hand(world, settings, tmp_path):
    class Constant(PromptedModel):
        def answer_logits(self, batch, token_ids):
            logits = torch.full((len(batch.task), len(token_ids)), -1e9)
            logits[:, 2] = 0
            return logits

    task = PreferenceTask(world.data, settings)
    cases = task.cases("test")
    truth = world.ratings[[case.target_interaction for case in cases]]
    metrics = task.evaluate(Constant(), cases, tmp_path).metrics
    said = world.data.rating_values[2]
    assert metrics["rmse"].value == pytest.approx(np.sqrt(np.mean((truth - said) ** 2)))
    assert metrics["mae"].value == pytest.approx(np.mean(np.abs(truth - said)))


class Correcting(PromptedModel):
    """Expects 2 or 4 by the number of the interaction; the biases have a line to start from."""

    def __init__(self, task, cases):
        self.rating_line = RatingLine(9, best_on_validation(task.data, cases))
        self.expected = {tuple(task.row(case, answer=False).token_ids): case.target_interaction % 2 for case in cases}

    def answer_logits(self, batch, token_ids):
        rows = zip(batch.token_ids, batch.attention_mask, strict=True)
        places = [self.expected[tuple(tokens[mask.bool()].tolist())] for tokens, mask in rows]
        logits = torch.full((len(places), len(token_ids)), -1e9)
        logits[torch.arange(len(places)), torch.tensor(places) + 1] = 0  # the scale is 1, 2, 4, 5
        return logits


def test_a_network_corrects_the_biases_by_the_line_that_errs_least_on_validation(world, settings, tmp_path):
    task = PreferenceTask(world.data, settings)
    cases = task.cases("valid")
    model = Correcting(task, cases)
    truth = world.ratings[[case.target_interaction for case in cases]]
    baseline = best_on_validation(world.data, cases)
    by_bias = np.array([baseline.predict(case) for case in cases])
    assert task.predict(model, cases) == pytest.approx(by_bias)  # nothing is chosen yet
    task.tune(model, cases)
    columns = np.stack([np.ones(len(cases)), by_bias, task.expected(model, cases)], axis=1)
    solution = np.linalg.solve(columns.T @ columns, columns.T @ truth)
    assert model.rating_line.line.numpy() == pytest.approx(solution)
    assert task.predict(model, cases) == pytest.approx(np.clip(columns @ solution, 1, 5))
    result = task.evaluate(model, cases, tmp_path)
    assert result.metrics["rmse"].value <= result.baselines["user and item bias"]["rmse"].value
    assert "fitted on validation" in result.notes[-1]


def test_a_kept_line_judges_users_by_their_histories(world, settings):
    task = PreferenceTask(world.data, settings)
    cases = task.cases("valid")
    trained = RatingLine(9, best_on_validation(world.data, cases))
    trained.fit(np.arange(4.0), np.array([2.0, 1.0, 1.0, 0.0]), np.array([3.0, 4.0, 5.0, 5.0]))
    kept = RatingLine(9)
    kept.load_state_dict(trained.state_dict())
    assert kept.note == trained.note
    before, after = trained.baseline(world.data), kept.baseline(world.data)
    for case in cases:
        rated = [i for i in case.history_interactions.tolist() if not np.isnan(world.ratings[i])]
        rest = [world.ratings[i] - before.mean - before.item_bias[item] for i, item in _rated_items(world, case)]
        bias = sum(rest) / (before.user_shrinkage + len(rated))
        expected = np.clip(before.mean + before.item_bias[case.target] + bias, 1, 5)
        assert after.predict(case) == pytest.approx(expected)


def _rated_items(world, case):
    pairs = zip(case.history_interactions.tolist(), case.history.tolist(), strict=True)
    return [(interaction, item) for interaction, item in pairs if not np.isnan(world.ratings[interaction])]


def test_data_without_ratings_are_refused(make_world, settings):
    with pytest.raises(ValueError, match="task preference: .*no column rating"):
        PreferenceTask(make_world(ratings=False).data, settings)


def test_a_scale_of_one_rating_is_refused(make_world, settings):
    world = make_world()
    world.data.rating_values = np.array([5.0])
    with pytest.raises(ValueError, match="task preference: all training ratings are 5"):
        PreferenceTask(world.data, settings)
