"""Selection: candidates, rows, and set metrics of known choices."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from prompted_model import PromptedModel

from recbole_mgr.unimp.tasks.selection import SelectionCase, SelectionTask


def case_of(candidates, taken):
    history = np.array([1])
    return SelectionCase(
        1, history, 0, np.array([-1]), candidates=np.array(candidates), is_taken=np.isin(candidates, taken)
    )


def test_a_row_shows_the_candidates_and_answers_with_the_taken(world, settings):
    task = SelectionTask(world.data, settings)
    row = task.row(case_of([4, 9, 2, 8], [2, 4]), answer=True)
    assert world.read(row) == (
        "<image> red soap <answer> d0=0 d1=0 <end> "
        "<image> s0 red comb s1 old <image> s2 blue soap <image> s3 blue mask "
        "Which are chosen? <answer> s0 s2 <end>"
    )
    assert world.images(row) == [1, 4, 2, 8]


def test_candidates_are_what_the_user_takes_and_what_he_never_took(make_world, settings):
    rng = np.random.default_rng(0)
    histories = {user: rng.permutation(9)[:6].tolist() for user in range(1, 401)}
    histories = {user: [item + 1 for item in items] for user, items in histories.items()}
    world = make_world(histories=histories)
    task = SelectionTask(world.data, settings)
    cases = task.cases("test")
    for case in cases:
        whole = histories[case.user_id]
        count = case.is_taken.sum()
        assert len(set(case.candidates.tolist())) == 4
        assert set(case.candidates[case.is_taken].tolist()) == set(whole[-count:])
        assert not set(case.candidates[~case.is_taken].tolist()) & set(whole)
        assert case.history.tolist() == whole[-count - 3 : -count]
    assert 0.33 < np.mean([case.is_taken.sum() == 2 for case in cases]) < 0.47
    places = np.bincount([place for case in cases for place in np.flatnonzero(case.is_taken)], minlength=4)
    assert places.min() > 0.2 * places.sum()  # no place gives the answer away


def test_a_user_who_took_nearly_all_has_no_case(world, settings):
    users = {case.user_id for case in SelectionTask(world.data, settings).cases("test")}
    assert users == {1, 2, 4, 5, 6}  # user 3 took all nine items


def test_a_model_that_knows_chooses_right(world, settings, knowing_model, tmp_path):
    task = SelectionTask(world.data, settings)
    cases = task.cases("test")
    result = task.evaluate(knowing_model(task, cases), cases, tmp_path)
    assert {name: estimate.value for name, estimate in result.metrics.items()} == {"precision": 1, "recall": 1, "f1": 1}
    assert result.baselines["at random (expected)"]["f1"].value < 0.6


def test_set_metrics_by_hand(world, settings, tmp_path):
    class Fixed(PromptedModel):
        def generate_answers(self, batch, *, allowed_token_ids, max_new_tokens):
            s0, s1, s2, _, end = allowed_token_ids.tolist()
            return [[s0, s2, end], [s1, s1, s1], [end]]  # a repeated mark counts once; nothing is nothing

    task = SelectionTask(world.data, settings)
    cases = [case_of([4, 9, 2, 8], [2, 4]), case_of([4, 9, 2, 8], [9, 8]), case_of([4, 9, 2, 8], [4])]
    metrics = task.evaluate(Fixed(), cases, tmp_path).metrics
    assert metrics["precision"].value == pytest.approx((1 + 1 + 0) / 3)
    assert metrics["recall"].value == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics["f1"].value == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_the_popular_candidate_is_the_most_trained_one(world, settings, knowing_model, tmp_path):
    task = SelectionTask(world.data, settings)
    # training takes 1 and 7 four times, 4 four times, 5 and 6 once or twice, 8 never
    cases = [case_of([8, 1, 9], [1]), case_of([8, 9, 6], [8])]
    popular = task.evaluate(knowing_model(task, cases), cases, tmp_path).baselines["most popular candidate"]
    assert (popular["precision"].value, popular["recall"].value) == (0.5, 0.5)


def test_blind_choice_is_the_expectation_over_all_choices(world, settings, knowing_model, tmp_path):
    task = SelectionTask(world.data, settings)
    cases = [case_of([4, 9, 2, 8], [2, 4]), case_of([4, 9, 2, 8], [9])]
    expected = np.zeros(3)
    for case, (size, share) in itertools.product(cases, ((1, 0.6), (2, 0.4))):
        choices = list(itertools.combinations(range(4), size))
        for choice in choices:
            hits, truth = case.is_taken[list(choice)].sum(), case.is_taken.sum()
            metrics = np.array([hits / size, hits / truth, 2 * hits / (size + truth)])
            expected += share * metrics / len(choices) / len(cases)
    blind = task.evaluate(knowing_model(task, cases), cases, tmp_path).baselines["at random (expected)"]
    assert [blind[name].value for name in ("precision", "recall", "f1")] == pytest.approx(expected.tolist())


def test_more_candidates_than_items_are_refused(world, settings):
    with pytest.raises(ValueError, match="selection_candidates: 10 is more than the 9 items"):
        SelectionTask(world.data, {**settings, "selection_candidates": 10})


def test_a_case_of_more_candidates_than_marks_is_refused(world, settings):
    task = SelectionTask(world.data, settings)
    with pytest.raises(ValueError, match="task selection: 5 candidates, .* at most 4"):
        task.row(case_of([4, 9, 2, 8, 3], [2]), answer=False)


class Recommender:
    """Finds an item the likelier the smaller its id, and must be asked with the case's own history."""

    ITEM_SEQ, ITEM_SEQ_LEN = "item_id_list", "item_length"
    device = torch.device("cpu")
    ranking_task = SimpleNamespace(name="recommendation")

    def __init__(self, cases):
        self.histories = {tuple(case.history.tolist()) for case in cases}

    def score_items(self, interaction, item_ids):
        lengths = interaction["item_length"].tolist()
        assert {tuple(row[:n]) for row, n in zip(interaction["item_id_list"].tolist(), lengths, strict=True)} <= (
            self.histories
        )
        return -item_ids.float()


@pytest.mark.parametrize("selection_by", [None, "likelihood"])
def test_the_likeliest_candidate_is_chosen(world, settings, selection_by):
    task = SelectionTask(world.data, {**settings, "selection_by": selection_by})
    cases = task.cases("test")
    for case, chosen in zip(cases, task.choose(Recommender(cases), cases), strict=True):
        assert case.candidates[chosen].tolist() == [min(case.candidates)]


def test_who_has_not_learned_to_recommend_generates_marks(world, settings, knowing_model):
    task = SelectionTask(world.data, {**settings, "selection_by": None})
    cases = task.cases("test")
    model = knowing_model(task, cases)
    model.ranking_task = None
    assert all((chosen == case.is_taken).all() for case, chosen in zip(cases, task.choose(model, cases), strict=True))
