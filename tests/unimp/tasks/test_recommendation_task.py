"""Rows of recommendation, read word by word, and which next items an epoch teaches."""

import numpy as np
import pytest

from recbole_mgr.unimp.tasks.recommendation import RecommendationTask


def test_a_row_asks_after_every_item_and_names_none_twice(world, settings):
    task = RecommendationTask(world.data, settings)
    (case,) = [case for case in task.training_rows(0) if case.user_id == 1]  # trains on 1, 4, 7
    row = task.row(case, answer=True)
    assert world.read(row) == (
        "<image> red soap <answer> d0=0 d1=0 <end> "
        "What comes next? <answer> d0=1 d1=0 <end> "
        "<image> red comb What comes next? <answer> d0=2 d1=0 <end>"
    )
    assert world.targets(row) == "d0=0 d1=0 <end> d0=1 d1=0 <end> d0=2 d1=0 <end>"
    assert world.images(row) == [1, 4]


def test_without_context_targets_only_next_items_are_taught(world, settings):
    task = RecommendationTask(world.data, {**settings, "context_targets": False})
    (case,) = [case for case in task.training_rows(0) if case.user_id == 1]
    assert world.targets(task.row(case, answer=True)) == "d0=1 d1=0 <end> d0=2 d1=0 <end>"


def test_a_row_that_asks_last_is_the_papers(world, settings):
    task = RecommendationTask(world.data, {**settings, "ask_after": "last"})
    case = next(case for case in task.cases("valid") if case.user_id == 1)  # 1, 4, 7, then 2
    row = task.row(case, answer=True)
    assert world.read(row) == (
        "<image> red soap <answer> d0=0 d1=0 <end> "
        "<image> red comb <answer> d0=1 d1=0 <end> "
        "<image> red mask <answer> d0=2 d1=0 <end> "
        "What comes next? <answer> d0=0 d1=1 <end>"
    )
    assert world.targets(row) == "d0=0 d1=1 <end>"


def test_without_pictures_there_are_no_image_tokens(world, settings):
    task = RecommendationTask(world.data, {**settings, "image_attention": "none"})
    row = task.prompt([1, 4])
    assert "<image>" not in world.read(row)
    assert len(row.images) == 0
    assert (row.sees < 0).all()


def test_an_item_without_picture_has_its_text_alone(world, settings):
    task = RecommendationTask(world.data, settings)
    assert world.read(task.prompt([9])) == "old <answer> d0=2 d1=2 <end> What comes next? <answer>"


def test_a_prompt_is_that_of_the_same_case(world, settings):
    task = RecommendationTask(world.data, settings)
    for case in task.cases("test"):
        whole = world.parts["test"][case.user_id - 1].item_ids[:-1]  # longer than history_items for some
        assert np.array_equal(task.prompt(whole).token_ids, task.row(case, answer=False).token_ids)


def test_an_epoch_teaches_every_next_item(make_world, settings):
    histories = {1: [1, 2], 2: [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8], 3: [3, 2, 1, 3, 4, 5]}
    world = make_world(histories=histories)
    task = RecommendationTask(world.data, settings)
    wanted = {row for user in world.parts["train"] for row in user.interactions[1:].tolist()}
    for epoch in range(10):
        cases = task.training_rows(epoch)
        taught = [row for case in cases for row in [*case.history_interactions[1:].tolist(), case.target_interaction]]
        assert set(taught) == wanted
        assert len(taught) - len(wanted) < settings["history_items"]  # one user has more than a window


def test_asking_last_draws_one_window_a_user(make_world, settings):
    world = make_world(histories={1: [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6], 2: [1, 2]})
    task = RecommendationTask(world.data, {**settings, "ask_after": "last"})
    epochs = [task.training_rows(epoch) for epoch in range(150)]
    assert all([case.user_id for case in cases] == [1, 2] for cases in epochs)
    assert {cases[0].target_interaction for cases in epochs} == set(range(1, 13))


@pytest.mark.parametrize(("sees", "expected"), [("all", -2), ("last", 1)])
def test_the_question_sees_all_pictures_or_the_last(world, settings, sees, expected):
    row = RecommendationTask(world.data, {**settings, "closing_sees": sees}).prompt([1, 4])
    assert row.sees[-4:].tolist() == [expected] * 4
