"""Explanation: rows, texts back from answers, and the reviews that need no model."""

import pytest

from recbole_mgr.unimp.tasks.explanation import ExplanationTask
from recbole_mgr.unimp.tasks.explanation_baselines import ExplanationBaselines


def test_chunks_carry_ratings_and_reviews(world, settings):
    task = ExplanationTask(world.data, {**settings, "history_items": 2})
    case = next(case for case in task.cases("valid") if case.user_id == 1)
    assert world.read(task.row(case, answer=True)) == (
        "<image> red comb <answer> d0=1 d1=0 r2 user1 likes red comb <end> "
        "<image> red mask <answer> d0=2 d1=0 user1 likes red mask <end> "
        "<image> blue soap What will the user say? <answer> r1 user1 likes blue soap <end>"
    )


def test_without_ratings_there_are_the_words_alone(make_world, settings):
    world = make_world(ratings=False)
    task = ExplanationTask(world.data, settings)
    case = next(case for case in task.cases("valid") if case.user_id == 1)
    assert world.read(task.row(case, answer=True)).endswith("<answer> user1 likes blue soap <end>")


def test_what_has_no_review_is_not_asked(make_world, settings):
    world = make_world()
    world.data._reviews[world.parts["test"][0].interactions[-1]] = ""
    users = {case.user_id for case in ExplanationTask(world.data, settings).cases("test")}
    assert users == {2, 3, 4, 5, 6}


def test_long_reviews_are_cut_to_the_room_that_answers_have(world, settings):
    task = ExplanationTask(world.data, {**settings, "explanation_words": 1})
    case = task.cases("test")[0]
    assert world.read(task.row(case, answer=True)).endswith(f" user{case.user_id} likes <end>")  # 2 tokens a word


def test_a_model_that_knows_writes_the_reviews(world, settings, knowing_model, tmp_path):
    task = ExplanationTask(world.data, settings)
    cases = task.cases("test")
    model = knowing_model(task, cases)
    assert task.write(model, cases) == [world.reviews[case.target_interaction] for case in cases]
    result = task.evaluate(model, cases, tmp_path)
    assert result.metrics["bleu"].value == pytest.approx(100)
    assert result.metrics["rouge_l"].value == result.metrics["feature_match"].value == 1
    for baseline in result.baselines.values():
        assert baseline["bleu"].value < 100 and baseline["rouge_l"].value < 1


def test_words_of_an_answer_are_without_rating_and_marks(world, settings):
    task = ExplanationTask(world.data, settings)
    words = [world.tokenizer.words.index(word) for word in ("red", "soap")]
    answer = [int(world.data.vocabulary.rating_ids[0]), *words, world.data.vocabulary.end_id]
    assert task.text(answer) == "red soap"
    assert task.text([world.data.vocabulary.end_id]) == ""


def test_another_users_training_review_of_the_item_else_of_its_category(make_world, settings):
    world = make_world(histories={1: [1, 4, 2, 5], 2: [5, 1, 2, 6], 3: [7, 9, 4, 8]})  # two of each user train
    task = ExplanationTask(world.data, settings)
    baselines = ExplanationBaselines(world.data)
    said = {case.user_id: baselines.of_another(case) for case in task.cases("test")}
    assert said[1] == "user2 likes blue comb"  # of item 5 itself
    assert said[2] == "user1 likes red comb"  # of the category of 6, and not their own of 5
    assert said[3] == baselines.most_frequent  # of masks only he wrote himself


def test_the_most_frequent_training_review(make_world):
    world = make_world()
    for user in (2, 3, 4):
        world.data._reviews[world.parts["train"][user].interactions[0]] = "nice"
    for user in range(6):
        world.data._reviews[world.parts["test"][user].interactions[-1]] = "never trained"
    assert ExplanationBaselines(world.data).most_frequent == "nice"


def test_feature_words_are_the_items_and_not_everybodys(make_world, settings):
    world = make_world()
    baselines = ExplanationBaselines(world.data)
    case = next(case for case in ExplanationTask(world.data, settings).cases("test") if case.user_id == 1)  # blue comb
    assert baselines.features(case, "I likes the blue comb from user9, a Soap") == {"blue", "comb"}


def test_data_without_reviews_are_refused(make_world, settings):
    with pytest.raises(ValueError, match="task explanation: .*no .review file"):
        ExplanationTask(make_world(reviews=False).data, settings)
