"""k-core and the other filters against brute force."""

import networkx as nx
import numpy as np
import pytest

from recbole_mgr.preparation import filtering
from recbole_mgr.preparation.filtering import (
    at_least,
    copies,
    core_sizes,
    count,
    k_core,
    of_items,
    one_per_pair,
    rated,
    repeated_pairs,
    without_copies,
)
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
    assert set(pairs(k_core(interactions(sorted(every)), k, k))) == expected


def test_k_core_goes_on_until_nothing_falls():
    chain = [(user, user + step) for user in range(9) for step in (0, 1)]  # falls from both ends, one by one
    assert not pairs(k_core(interactions(chain), 2, 2))
    ring = [(user, (user + step) % 9) for user in range(9) for step in (0, 1)]
    assert pairs(k_core(interactions(ring), 2, 2)) == ring


def test_pictures_need_only_be_tried_in_the_first_core():
    """core(all items whose picture is there) == core(core(all) whose picture is there)."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        every = interactions(sorted({(int(u), int(i)) for u, i in rng.integers(25, size=(160, 2))}))
        there = rng.random(25) < 0.8
        assert pairs(k_core(of_items(every, there), 3, 3)) == pairs(k_core(of_items(k_core(every, 3, 3), there), 3, 3))


def test_repeated_pairs():
    many = interactions([(0, 1), (0, 2), (0, 1), (1, 1), (0, 1)])
    assert pairs(one_per_pair(many, "first")) == [(0, 1), (0, 2), (1, 1)]
    assert one_per_pair(many, "first").source_rows.tolist() == [0, 1, 3]
    assert one_per_pair(many, "last").source_rows.tolist() == [1, 3, 4]
    assert repeated_pairs(many) == 2
    assert many.users.tolist() == [0, 0, 0, 1, 0]  # counting changes nothing
    large = interactions([(2**32 - 1, 2**32 - 1), (2**32 - 1, 0), (2**32 - 2, 2**32 - 1)])
    assert repeated_pairs(large) == 0  # ids never run into each other


def test_ratings():
    some = interactions([(0, 1), (0, 2), (1, 1)], ratings=[3.7, 4, np.nan])
    assert pairs(rated(some)) == [(0, 1), (0, 2)]
    assert pairs(at_least(some, 3.7)) == [(0, 1), (0, 2)]
    with pytest.raises(ValueError, match="--min-rating: the source has no ratings"):
        rated(interactions([(0, 1)]))


def several(rows):
    """Interactions of (user, item, time, rating), sorted by user and time as they always are."""
    users, items, times, ratings = zip(*rows, strict=True)
    users, items = np.array(users, np.uint32), np.array(items, np.uint32)
    return Interactions(users, items, np.array(times, float), np.array(ratings, np.float32), np.arange(len(rows)))


def test_exact_copies_are_told_from_repeats():
    rows = [(0, 1, 5, 4), (0, 2, 5, 4), (0, 1, 5, 4), (0, 1, 5, 3), (0, 1, 6, 4), (1, 1, 5, 4), (1, 1, 5, 4)]
    assert copies(several(rows)) == 2
    assert without_copies(several(rows)).source_rows.tolist() == [0, 1, 3, 4, 5]
    assert copies(several(rows)._replace(ratings=None)) == 3
    assert copies(several(rows).where(np.s_[:0])) == 0


@pytest.mark.parametrize("seed", range(3))
def test_copies_against_a_set(seed):
    rng = np.random.default_rng(seed)
    rows = sorted((tuple(row) for row in rng.integers(4, size=(200, 4)).tolist()), key=lambda row: (row[0], row[2]))
    kept = without_copies(several(rows))
    assert len(kept.users) == len(set(rows)) == 200 - copies(several(rows))


@pytest.mark.parametrize("seed", range(5))
def test_sizes_of_all_cores_and_cores_of_two_numbers(seed):
    rng = np.random.default_rng(seed)
    every = interactions(rng.integers(25, size=(160, 2)).tolist())
    for size in core_sizes(every, [5, 2, 3, 9]):
        kept = k_core(every, *[int(size.step.removesuffix("-core"))] * 2)
        assert size == count(size.step, kept)
    kept = pairs(k_core(every, 2, 7))
    for place, least in ((0, 2), (1, 7)):
        of_each = [pair[place] for pair in kept]
        assert all(of_each.count(number) >= least for number in of_each)
    left = [pair for pair in pairs(every) if pair not in kept]
    assert len(left) + len(kept) == 160 and left


def test_counts():
    assert count("x", interactions([(5, 1), (5, 1), (2, 9)])) == ("x", 2, 2, 3)
    assert count("x", interactions([])) == ("x", 0, 0, 0)
