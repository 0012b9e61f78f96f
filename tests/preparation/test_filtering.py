"""k-core and the other filters against brute force."""

import networkx as nx
import numpy as np
import pytest

from recbole_mgr.preparation import filtering
from recbole_mgr.preparation.filtering import at_least, count, k_core, of_items, one_per_pair, repeated_pairs
from recbole_mgr.preparation.interactions import Interactions


def interactions(pairs, ratings=None):
    users, items = np.array(pairs, dtype=np.uint32).reshape(-1, 2).T
    ratings = None if ratings is None else np.array(ratings, dtype=np.float32)
    return Interactions(users, items, np.arange(len(users), dtype=float), ratings, np.arange(len(users)))


def pairs(kept):
    return list(zip(kept.users.tolist(), kept.items.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [2, 3, 5])
def test_k_core_is_that_of_graph_theory(seed, k, monkeypatch):
    monkeypatch.setattr(filtering, "_CHUNK", 17)
    rng = np.random.default_rng(seed)
    every = {(int(u), int(i)) for u, i in rng.integers(30, size=(130, 2))}
    graph = nx.Graph([(("u", u), ("i", i)) for u, i in every])
    core = nx.k_core(graph, k)
    expected = {(u, i) for u, i in every if core.has_edge(("u", u), ("i", i))}
    assert set(pairs(k_core(interactions(sorted(every)), k))) == expected


def test_k_core_goes_on_until_nothing_falls():
    chain = [(user, user + step) for user in range(9) for step in (0, 1)]  # falls from both ends, one by one
    assert not pairs(k_core(interactions(chain), 2))
    ring = [(user, (user + step) % 9) for user in range(9) for step in (0, 1)]
    assert pairs(k_core(interactions(ring), 2)) == ring


def test_pictures_need_only_be_tried_in_the_first_core():
    """core(all items whose picture is there) == core(core(all) whose picture is there)."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        every = interactions(sorted({(int(u), int(i)) for u, i in rng.integers(25, size=(160, 2))}))
        there = rng.random(25) < 0.8
        assert pairs(k_core(of_items(every, there), 3)) == pairs(k_core(of_items(k_core(every, 3), there), 3))


def test_repeated_pairs():
    several = interactions([(0, 1), (0, 2), (0, 1), (1, 1), (0, 1)])
    assert pairs(one_per_pair(several, "first")) == [(0, 1), (0, 2), (1, 1)]
    assert one_per_pair(several, "first").source_rows.tolist() == [0, 1, 3]
    assert one_per_pair(several, "last").source_rows.tolist() == [1, 3, 4]
    assert repeated_pairs(several) == 2
    assert several.users.tolist() == [0, 0, 0, 1, 0]  # counting changes nothing
    large = interactions([(2**32 - 1, 2**32 - 1), (2**32 - 1, 0), (2**32 - 2, 2**32 - 1)])
    assert repeated_pairs(large) == 0  # ids never run into each other


def test_ratings():
    rated = interactions([(0, 1), (0, 2), (1, 1)], ratings=[3.7, 4, np.nan])
    assert pairs(at_least(rated, 3.7)) == [(0, 1), (0, 2)]
    with pytest.raises(ValueError, match="--min-rating: the source has no ratings"):
        at_least(interactions([(0, 1)]), 3)


def test_counts():
    assert count("x", interactions([(5, 1), (5, 1), (2, 9)])) == ("x", 2, 2, 3)
    assert count("x", interactions([])) == ("x", 0, 0, 0)
