import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recbole_mgr.serving import Request, load
from recbole_mgr.serving.http.batching import Asked, Batcher, QueueFull


@pytest.fixture(scope="module")
def recommender(run):
    return load(run.folder, device="cpu")


class Held:
    """A recommender that waits in its first batch until it is let go."""

    def __init__(self, recommender):
        self._recommender, self.reached, self.go = recommender, threading.Event(), threading.Event()
        self.beam_size = recommender.beam_size

    def stream(self, *arguments, **options):
        self.reached.set()
        assert self.go.wait(20)
        return self._recommender.stream(*arguments, **options)


def test_every_client_gets_the_list_that_it_would_get_alone(run, recommender):
    sizes: list[int] = []
    held = Held(recommender)
    batcher = Batcher(held, observe=sizes.append)
    users = sorted(run.histories)
    only = tuple(recommender.item_ids[:9])
    kinds = [{"k": 3}, {"k": 7}, {"k": 3, "mask_history": True}, {"k": 2, "only": only}, {"k": 5, "beam_size": 5}]
    asked = [Asked(Request(user), **kinds[place % len(kinds)]) for place, user in enumerate(users)]
    futures = [batcher.submit(one) for one in asked]
    held.go.set()
    for one, future in zip(asked, futures, strict=True):
        found = future.result(20)
        options = {key: value for key, value in one._asdict().items() if key != "request"}
        alone = recommender.recommend(users=[one.request.name], **options)
        assert found.item_ids == alone.item_ids[0]
        assert found.scores == pytest.approx(alone.scores[0], abs=1e-5)
        assert found.titles == alone.titles[0]
    batcher.close()
    assert sum(sizes) == len(users)
    assert len(sizes) <= 1 + len(kinds)  # one alone at the start, then one batch for each kind of search


def test_too_many_waiting_are_refused_and_those_that_left_are_not_computed(recommender):
    sizes: list[int] = []
    held = Held(recommender)
    batcher = Batcher(held, most_waiting=2, observe=sizes.append)
    history = Asked(Request("1", recommender.item_ids[:2]))
    first = batcher.submit(history)
    assert held.reached.wait(20)
    stays, leaves = batcher.submit(history), batcher.submit(history)
    with pytest.raises(QueueFull):
        batcher.submit(history)
    assert leaves.cancel()
    held.go.set()
    assert first.result(20) == stays.result(20)
    batcher.close()
    assert sum(sizes) == 2


def test_an_error_reaches_its_clients_and_nobody_else(recommender):
    batcher = Batcher(recommender)
    history = recommender.item_ids[:2]
    with pytest.raises(ValueError, match="names no item"):
        batcher.submit(Asked(Request("1", history), only=("nothing",))).result(20)
    assert len(batcher.submit(Asked(Request("1", history), k=3)).result(20).item_ids) == 3
    batcher.close()


def test_a_new_recommender_takes_over_without_losing_a_request(run, recommender):
    batcher = Batcher(recommender)
    history = recommender.item_ids[:3]
    expected = recommender.recommend(histories=[history], k=4).item_ids[0]

    def client(turn):
        if turn % 20 == 10:
            batcher.recommender = load(run.folder, device="cpu")
        return batcher.submit(Asked(Request("1", history), k=4)).result(20).item_ids

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(client, range(100)))
    batcher.close()
