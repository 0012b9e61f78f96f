"""Every task for one user, by a UniMP network that has learned nothing: who is asked what, and what may be answered."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from untrained_unimp import HISTORY, ITEMS, TITLES, make_run

from recbole_mgr.data.histories import UserHistories
from recbole_mgr.serving.personalize import PersonalRequest, personalize
from recbole_mgr.serving.prompt_text import prompt_text
from recbole_mgr.serving.run_directory import Run, make_network
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tasks import make_tasks
from recbole_mgr.unimp.user_sequences import leave_one_out


@pytest.fixture(scope="module")
def run() -> Run:
    return make_run("rec,search,preference,explanation,selection,image")


def test_recommendation_is_the_networks_own_ranking(run):
    by_user = personalize(run, PersonalRequest("rec", user="ann", k=4))
    by_history = personalize(run, PersonalRequest("rec", history=HISTORY, k=4))
    assert by_user == by_history
    scores = [float(line.split()[0]) for line in by_user.answer]
    items = [line.split()[1] for line in by_user.answer]
    assert len(set(items)) == 4 and set(items) <= set(ITEMS) and scores == sorted(scores, reverse=True)
    assert by_user.answer[0].endswith(TITLES[ITEMS.index(items[0])])
    assert by_user.images == ["a.jpg", "c.jpg"]
    assert by_user.prompt.startswith("<image a.jpg> red soap<answer><item a><end>\n")
    assert by_user.prompt.endswith("What comes next?<answer>")


def test_all_items_sum_to_one(run):
    answer = personalize(run, PersonalRequest("rec", user="ann", k=6)).answer
    assert np.exp([float(line.split()[0]) for line in answer]).sum() == pytest.approx(1, abs=0.01)


def test_a_search_hears_its_words(run):
    soap = personalize(run, PersonalRequest("search", user="ann", query="soap", k=6))
    comb = personalize(run, PersonalRequest("search", user="ann", query="comb", k=6))
    assert soap.prompt.endswith("Looking for: soap<answer>") and comb.prompt.endswith("Looking for: comb<answer>")
    # words are read in the catalogue's spelling, which the network learned; others as they come
    assert personalize(run, PersonalRequest("search", user="ann", query="SOAP", k=6)).answer == soap.answer
    assert "Looking for: SOAPS<answer>" in personalize(run, PersonalRequest("search", user="ann", query="SOAPS")).prompt
    # a recommendation after it is one again
    assert personalize(run, PersonalRequest("rec", user="ann", k=6)).answer != soap.answer


def test_an_answer_leaves_the_run_as_it_was(run):
    task = run.network.ranking_task
    personalize(run, PersonalRequest("search", user="ann", query="soap"))
    assert run.network.ranking_task is task is not None


def test_threads_share_a_run_and_do_not_see_each_other(run):
    """They meet before every pass of the language model, each with a task, words and pictures of its own."""
    requests = [
        PersonalRequest("rec", user="ann", k=6),
        PersonalRequest("search", user="ann", query="soap", k=6),
        PersonalRequest("search", history=["b"], query="comb", k=6),
        PersonalRequest("rec", history=["e", "d"], k=6),
    ]
    alone = [personalize(run, request) for request in requests]
    meeting = threading.Barrier(len(requests), timeout=60)
    hook = run.network.backbone.lm.base_model.register_forward_pre_hook(lambda *_: (meeting.wait(), None)[1])
    try:
        with ThreadPoolExecutor(len(requests)) as pool:
            assert list(pool.map(lambda request: personalize(run, request), requests)) == alone
    finally:
        hook.remove()


def test_ratings_stand_on_the_scale(run):
    answer = personalize(run, PersonalRequest("preference", user="ann", item="e"))
    (rating,) = answer.answer
    assert 1 <= float(rating) <= 5
    assert answer.images == ["a.jpg", "c.jpg", "e.jpg"] and answer.prompt.endswith("<answer>")


def test_explanations_are_text(run):
    answer = personalize(run, PersonalRequest("explanation", user="ann", item="e"))
    assert len(answer.answer) == 1 and isinstance(answer.answer[0], str)


def test_selections_come_from_the_candidates(run):
    answer = personalize(run, PersonalRequest("selection", user="ann", candidates=["b", "d", "e"]))
    assert answer.prompt.endswith("What comes next?<answer>")  # by the likelihood of their IDs
    assert all(line == "none of them" or line.split()[0] in "bde" for line in answer.answer)


def test_pictures_are_drawn_from_the_codes(run):
    answer = personalize(run, PersonalRequest("image", user="ann", query="soap"))
    again = personalize(run, PersonalRequest("image", user="ann", query="soap"))
    assert answer.picture.size == (4, 4) and answer.picture.tobytes() == again.picture.tobytes()
    assert set(np.unique(answer.picture)) <= {0, 50, 100, 150, 200}
    assert answer.images == ["a.jpg", "c.jpg"] and "<picture of 2 codes>" in answer.prompt
    drawn = {
        personalize(run, PersonalRequest("image", user="ann", query="soap", temperature=5.0)).picture.tobytes()
        for _ in range(8)
    }
    assert len(drawn) > 1


@pytest.fixture(scope="module")
def before_the_test(tmp_path_factory):
    """What training knew, and the run that is left of it, whose histories end where the test asks.

    Ann takes a, c and f and then the test's e; bob's rows stand between hers.
    """
    users, items = np.array([[1, 1], [2, 2], [1, 3], [2, 1], [1, 6], [1, 5]]).T
    run = make_run(
        "rec,preference,explanation",
        sequences=leave_one_out(users, items),
        ratings=np.array([5, 1, np.nan, 1, 2, 1]),
        reviews=["so red", "dull", "blue", "dull", "", "too red"],
    )
    trained, folder = run.network.personal, tmp_path_factory.mktemp("kept")
    histories = UserHistories.of(np.stack([users, items], 1)[:-1], ["ann", "bob"])
    trained.save(folder / "unimp", histories.interactions)
    histories.save(folder / "histories.npz")
    return trained, folder, run


def reread(run: Run, folder) -> Run:
    data = PersonalData.load(folder / "unimp", run.network.personal.table)
    with np.load(folder / "histories.npz", allow_pickle=False) as arrays:
        histories = UserHistories.from_arrays(arrays)
    return run._replace(network=make_network(run.settings, data.table, data), histories=histories)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("preference", ["<item a><rating 5><end>", "<item c><end>", "<item f><rating 2><end>"]),
        ("explanation", ["<item a><rating 5> so red<end>", "<item c> blue<end>", "<item f><rating 2><end>"]),
    ],
)
def test_a_user_is_asked_as_the_test_asks(before_the_test, task, said):
    trained, folder, run = before_the_test
    of_the_test = make_tasks([task], trained, run.settings)[0]
    (case,) = of_the_test.cases("test")
    asked = personalize(reread(run, folder), PersonalRequest(task, user="ann", item="e"))
    assert asked.prompt == prompt_text(of_the_test.row(case, answer=False), trained)
    assert asked.images == ["a.jpg", "c.jpg", "e.jpg"]
    assert [line.partition("<answer>")[2] for line in asked.prompt.splitlines()[:3]] == said


@pytest.mark.parametrize("task", ["preference", "explanation"])
def test_of_a_history_alone_and_in_older_runs_nobody_said_anything(before_the_test, task, tmp_path):
    _, folder, run = before_the_test
    by_history = personalize(reread(run, folder), PersonalRequest(task, history=HISTORY, item="e"))
    assert [line.partition("<answer>")[2] for line in by_history.prompt.splitlines()[:3]] == [
        f"<item {item}><end>" for item in HISTORY
    ]
    older = Path(shutil.copytree(folder, tmp_path / "older"))
    (older / "unimp" / "ratings_and_reviews.npz").unlink()
    assert personalize(reread(run, older), PersonalRequest(task, user="ann", item="e")).prompt == by_history.prompt


def test_ratings_of_other_histories_are_refused(before_the_test):
    _, folder, run = before_the_test
    other = reread(run, folder)._replace(histories=UserHistories.of(np.array([[1, 1]]), ["ann"]))
    with pytest.raises(
        ValueError, match="ratings_and_reviews.npz is about 5 interactions, histories.npz about 1; copy the run"
    ):
        personalize(other, PersonalRequest("rec", user="ann"))


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (PersonalRequest("rec", user="bob"), "'bob' is not in the training data"),
        (PersonalRequest("rec", history=["a", "z"]), "no such item 'z'"),
        (PersonalRequest("rec,search", user="ann"), "one task at a time"),
        (PersonalRequest("dance", user="ann"), "dance"),
        (PersonalRequest("search", user="ann"), "search needs words .* give a query"),
        (PersonalRequest("image", user="ann", query=" "), "image_generation needs words .* give a query"),
        (PersonalRequest("image", history=["f"], query="soap"), "none of the last 1 items"),
        (PersonalRequest("preference", user="ann"), "about an item; name an item"),
        (PersonalRequest("explanation", user="ann", item="z"), "no such item 'z'"),
        (PersonalRequest("selection", user="ann", candidates=["a"]), "choose from 3 items"),
    ],
)
def test_what_is_wrong_is_named(run, request_, named):
    with pytest.raises(ValueError, match=named):
        personalize(run, request_)


def test_only_what_the_run_has_learned():
    run = make_run("rec")
    with pytest.raises(ValueError, match="has learned recommendation"):
        personalize(run, PersonalRequest("preference", user="ann", item="e"))
    with pytest.raises(ValueError, match="MGRLF, which only recommends"):
        personalize(run._replace(about={"model": "MGRLF"}), PersonalRequest("rec", user="ann"))
    with pytest.raises(ValueError, match="keeps no histories"):
        personalize(run._replace(histories=None), PersonalRequest("rec", user="ann"))
