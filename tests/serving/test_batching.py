import asyncio
import os
import signal
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


def with_batcher(test, recommender, **options):
    """What ``await test(batcher)`` returns, of a batcher that is closed afterwards."""

    async def run():
        batcher = Batcher(recommender, **options)
        await batcher.start()
        try:
            return await asyncio.wait_for(test(batcher), 60)
        finally:
            await batcher.close()

    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may keep a loop in this one
        return thread.submit(asyncio.run, run()).result()


def test_every_client_gets_the_list_that_it_would_get_alone(run, recommender):
    sizes: list[int] = []
    held = Held(recommender)
    users = sorted(run.histories)
    only = tuple(recommender.item_ids[:9])
    kinds = [{"k": 3}, {"k": 7}, {"k": 3, "mask_history": True}, {"k": 2, "only": only}, {"k": 5, "beam_size": 5}]
    asked = [Asked(Request(user), **kinds[place % len(kinds)]) for place, user in enumerate(users)]

    async def test(batcher):
        first = batcher.submit(asked[0])
        await asyncio.to_thread(held.reached.wait, 20)
        rest = [batcher.submit(one) for one in asked[1:]]
        held.go.set()
        return await asyncio.gather(first, *rest)

    for one, found in zip(asked, with_batcher(test, held, observe=sizes.append), strict=True):
        options = {key: value for key, value in one._asdict().items() if key != "request"}
        alone = recommender.recommend(users=[one.request.name], **options)
        assert found.item_ids == alone.item_ids[0]
        assert found.scores == pytest.approx(alone.scores[0], abs=1e-5)
        assert found.titles == alone.titles[0]
    assert sum(sizes) == len(users)
    assert len(sizes) <= 1 + len(kinds)  # one alone at the start, then one batch for each kind of search


def test_too_many_waiting_are_refused_and_those_that_left_are_not_computed(recommender):
    sizes: list[int] = []
    held = Held(recommender)
    history = Asked(Request("1", recommender.item_ids[:2]))

    async def test(batcher):
        first = batcher.submit(history)
        await asyncio.to_thread(held.reached.wait, 20)
        stays, leaves = batcher.submit(history), batcher.submit(history)
        with pytest.raises(QueueFull):
            batcher.submit(history)
        assert leaves.cancel()
        held.go.set()
        assert await first == await stays

    with_batcher(test, held, most_waiting=2, observe=sizes.append)
    assert sum(sizes) == 2


def test_what_waits_is_answered_before_the_end(recommender):
    history = Asked(Request("1", recommender.item_ids[:2]))

    async def test(batcher):
        return [batcher.submit(history) for _ in range(5)]

    assert all(future.result().item_ids for future in with_batcher(test, recommender, most_together=2))


def test_an_error_reaches_its_clients_and_nobody_else(recommender):
    history = recommender.item_ids[:2]

    async def test(batcher):
        with pytest.raises(ValueError, match="names no item"):
            await batcher.submit(Asked(Request("1", history), only=("nothing",)))
        return await batcher.submit(Asked(Request("1", history), k=3))

    assert len(with_batcher(test, recommender).item_ids) == 3


def test_a_new_recommender_takes_over_without_losing_a_request(run, recommender):
    history = recommender.item_ids[:3]
    expected = recommender.recommend(histories=[history], k=4).item_ids[0]

    async def test(batcher):
        async def client(turn):
            if turn % 20 == 10:
                batcher.recommender = await asyncio.to_thread(load, run.folder, device="cpu")
            return (await batcher.submit(Asked(Request("1", history), k=4))).item_ids

        return await asyncio.gather(*map(client, range(100)))

    assert all(found == expected for found in with_batcher(test, recommender))


def test_what_waits_is_shared_by_those_that_are_idle(recommender):
    sizes: list[int] = []
    history = Asked(Request("1", recommender.item_ids[:2]))

    async def test(batcher):
        batcher._idle = batcher._idle * 2  # as with two processes
        await asyncio.gather(*(batcher.submit(history) for _ in range(5)))

    with_batcher(test, recommender, observe=sizes.append)
    assert sizes == [3, 2]


def test_processes_give_equal_lists_see_new_items_and_are_replaced_when_they_end(run):
    """One test for all of it: a process takes some seconds to start."""
    recommender = load(run.folder, device="cpu")
    history = recommender.item_ids[:2]
    vectors = {modality: [of["i4"]] for modality, of in run.features.items()}

    async def test(batcher):
        async def lists(**options):
            everyone = [Asked(Request(user), **options) for user in sorted(run.histories)]
            return [found.item_ids for found in await asyncio.gather(*map(batcher.submit, everyone))]

        def expected(**options):
            return recommender.recommend(users=sorted(run.histories), **options).item_ids

        assert await lists(k=7) == expected(k=7)
        with pytest.raises(ValueError, match="names no item"):
            await batcher.submit(Asked(Request("1", history), only=("nothing",)))
        recommender.add_items(["new"], vectors)
        count = recommender.num_items
        found = await lists(k=count)
        assert found == expected(k=count)
        assert "new" in found[0]
        (search,) = batcher._searches
        os.kill(search._process.pid, signal.SIGKILL)
        assert await lists(k=7) == expected(k=7)

    with_batcher(test, recommender, processes=1)
