"""Search: the query in the question, and the ranks of searches that know no user."""

import numpy as np
import pytest

from recbole_mgr.unimp.tasks.search import SearchTask


def test_every_question_holds_the_query_of_its_own_item(world, settings):
    task = SearchTask(world.data, settings)
    (case,) = [case for case in task.training_rows(0) if case.user_id == 1]
    assert world.read(task.row(case, answer=True)) == (
        "<image> red soap <answer> d0=0 d1=0 <end> "
        "Looking for: comb <answer> d0=1 d1=0 <end> "
        "<image> red comb Looking for: mask <answer> d0=2 d1=0 <end>"
    )


def test_a_prompt_searches_by_an_item_or_by_own_words(world, settings):
    task = SearchTask(world.data, settings)
    words = np.array([world.tokenizer.words.index("blue"), world.tokenizer.words.index("mask")])
    assert world.read(task.prompt([1, 4], target=8)).endswith("Looking for: mask <answer>")
    prompt = world.read(task.prompt([1, 4], query_token_ids=words))
    assert prompt.endswith("<image> red comb Looking for: blue mask <answer>")
    assert "Looking for: comb" in prompt  # the question inside the history keeps its item's words


def test_a_search_for_nothing_is_an_error(world, settings):
    with pytest.raises(ValueError, match="task search: nothing to search for"):
        SearchTask(world.data, settings).prompt([1, 4])


def test_queries_that_tell_no_items_apart_are_refused(make_world, settings):
    with pytest.raises(ValueError, match="task search: every item's query is 'unknown'"):
        SearchTask(make_world(queries=["unknown"] * 9).data, settings)


def test_baselines_rank_by_hand(make_world, settings):
    """Training takes item 4 twice, 7 three times, 1 and 5 once; soaps are 1, 2, 3, combs 4, 5, 6, masks 7, 8."""
    histories = {1: [4, 7, 2, 5], 2: [4, 7, 2, 8], 3: [1, 7, 5, 6], 4: [5, 1, 6, 3]}
    world = make_world(histories=histories)
    task = SearchTask(world.data, settings)
    users, targets = np.array([1, 2, 3, 4]), np.array([5, 8, 6, 3])
    result = task.result(np.array([1, 0, 2, 11]), targets, users, [1, 2])
    # training popularity: 1: 2, 4: 2, 5: 1, 7: 3. Combs: 4, 5, 6; masks: 7, 8; soaps: 1, 2, 3.
    ranks = {"query words": [2, 2, 3, 3], "query words, seen items left out": [1, 1, 2, 2], "popularity": [4, 8, 7, 6]}
    for name, places in {"": [1, 0, 2, 11], **ranks}.items():
        metrics = result.baselines[name] if name else result.metrics
        places = np.array([place or 99 for place in places])
        for cut in (1, 2):
            hit = places <= cut
            assert metrics[f"recall@{cut}"].value == pytest.approx(hit.mean())
            assert metrics[f"ndcg@{cut}"].value == pytest.approx((hit / np.log2(places + 1)).mean())
    assert (result.task, result.cases) == ("search", 4)
    told = next(note for note in result.notes if note.startswith("Above query words, case by case: "))
    # the places 1, none, 2, none against 2, 2, 3, 3
    assert "recall@1 +0.2500 [+0.0000, +0.7500], recall@2 +0.0000 [-0.7500, +0.7500]" in told
    assert "ndcg@1 +0.2500 " in told


def test_a_target_is_never_left_out_though_the_user_has_it_already(make_world, settings):
    world = make_world(histories={1: [1, 2, 3, 1], 2: [1, 2, 5, 4]})
    result = SearchTask(world.data, settings).result(np.array([1, 1]), np.array([1, 4]), np.array([1, 2]), [9])
    assert result.baselines["query words"]["recall@9"].value == 1
    assert result.baselines["query words, seen items left out"]["recall@9"].value == 1
