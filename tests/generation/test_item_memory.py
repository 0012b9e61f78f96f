"""The item memory: the formula written out naively, worlds with known answers, the ways to score, cross-fitting."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import sparse

from recbole_mgr.generation.item_memory import (
    Counts,
    FittedMemory,
    MemorySettings,
    Sequences,
)

N = 9
SETTINGS = MemorySettings(history_decay=0.7, history_length=3, future_decay=0.4, future_length=2, ridge=1.5)


@pytest.fixture
def walks():
    rng = np.random.default_rng(0)
    return [rng.integers(1, N + 1, size=size) for size in rng.integers(1, 9, size=25)]  # repeats, users of one item


def sequences(walks) -> Sequences:
    return Sequences.of(np.repeat(np.arange(len(walks)), [*map(len, walks)]), np.concatenate(walks))


def padded(walks) -> tuple[torch.Tensor, torch.Tensor]:
    history = torch.zeros(len(walks), max(map(len, walks)), dtype=torch.long)
    for row, walk in enumerate(walks):
        history[row, : len(walk)] = torch.as_tensor(walk)
    return history, torch.tensor([*map(len, walks)])


def naive(walks, s: MemorySettings, likeness=None) -> np.ndarray:
    """B by the formula, position by position."""
    past, future = [], []
    for walk in walks:
        for position in range(1, len(walk)):
            x, y = np.zeros(N + 1), np.zeros(N + 1)
            for k, item in enumerate(reversed(walk[:position][-s.history_length :])):
                x[item] += s.history_decay**k
            for k, item in enumerate(walk[position:][: s.future_length]):
                y[item] += s.future_decay**k
            past.append(x)
            future.append(y)
    x, y = np.array(past), np.array(future)
    goal = x.T @ y + (0 if likeness is None else s.content_weight * likeness)
    return np.linalg.inv(x.T @ x + s.ridge * np.eye(N + 1)) @ goal


def test_fitted_weights_are_those_of_the_formula(walks):
    likeness = np.zeros((N + 1, N + 1))
    likeness[1:, 1:] = np.random.default_rng(1).random((N, N))
    settings = dataclasses.replace(SETTINGS, content_weight=0.8)
    counts = Counts.of(sequences(walks), N, settings)
    memory = FittedMemory.fit(counts, settings, sparse.csr_matrix(likeness))
    np.testing.assert_allclose(memory.weights.numpy(), naive(walks, settings, likeness), atol=1e-5)
    assert len(memory.weights) - 1 == N and not memory.weights[0].any() and not memory.weights[:, 0].any()


def test_scores_are_the_decayed_last_items_times_the_weights(walks):
    weights = naive(walks, SETTINGS)
    memory = FittedMemory.fit(Counts.of(sequences(walks), N, SETTINGS), SETTINGS)
    expected = [
        sum(SETTINGS.history_decay**k * weights[item] for k, item in enumerate(reversed(walk[-3:]))) for walk in walks
    ]
    np.testing.assert_allclose(memory.scores(*padded(walks)).numpy(), expected, atol=1e-5)


def test_who_walks_in_a_circle_goes_on():
    """Every user takes the items in one order; the next item gets the highest score, the one after it the second."""
    walks = [[(start + step) % N + 1 for step in range(5)] for start in range(N)]
    settings = MemorySettings(ridge=0.01, future_decay=0.3)
    memory = FittedMemory.fit(Counts.of(sequences(walks), N, settings), settings)
    best = memory.best(*padded([[3, 4], [8, 9]]), 2)
    assert best.item_ids.tolist() == [[5, 6], [1, 2]]


def test_content_alone_recommends_what_is_alike():
    """Item 9 was never taken: its row of the counts is empty and what is alike decides."""
    likeness = sparse.csr_matrix(([1.0], ([9], [2])), shape=(N + 1, N + 1))
    settings = MemorySettings(content_weight=5.0)
    memory = FittedMemory.fit(Counts.of(sequences([[1, 2, 3], [3, 4, 5]]), N, settings), settings, likeness)
    assert memory.best(*padded([[9]]), 1).item_ids.tolist() == [[2]]
    assert memory.scores(*padded([[9]]))[0, 2] == pytest.approx(5.0 / settings.ridge)


@pytest.mark.parametrize("entries", [3, N])
def test_all_ways_to_score_agree(walks, entries):
    whole = FittedMemory.fit(Counts.of(sequences(walks), N, SETTINGS), SETTINGS)
    few = FittedMemory.fit(Counts.of(sequences(walks), N, SETTINGS), dataclasses.replace(SETTINGS, max_entries=entries))
    batch = padded([*walks, []])  # nobody's history too
    for memory in (whole, few):
        scores = memory.scores(*batch)
        best, order = memory.best(*batch, N + 3), scores[:, 1:].sort(dim=1, descending=True)
        positive = order.values > 0
        torch.testing.assert_close(best.scores[:, :N], order.values.masked_fill(~positive, -torch.inf))
        torch.testing.assert_close(best.item_ids[:, :N], (order.indices + 1).masked_fill(~positive, 0))
        assert not best.item_ids[:, N:].any() and (best.item_ids[-1] == 0).all()
    if entries == N:  # column 0 is zero, so nothing is lost
        torch.testing.assert_close(few.scores(*batch), whole.scores(*batch))


def test_beyond_the_dense_limit_the_scores_stay_close_to_the_exact_ones(walks):
    exact = FittedMemory.fit(Counts.of(sequences(walks), N, SETTINGS), SETTINGS)
    settings = dataclasses.replace(SETTINGS, dense_items=N - 1, support=N + 1)
    on_support = FittedMemory.fit(Counts.of(sequences(walks), N, settings), settings)
    assert on_support.targets is not None
    scores, others = exact.scores(*padded(walks)), on_support.scores(*padded(walks))
    assert torch.corrcoef(torch.stack([scores.flatten(), others.flatten()]))[0, 1] > 0.99


def test_bad_input_is_refused_by_name(walks):
    for key, value in [
        ("history_decay", 0),
        ("future_decay", 1.5),
        ("ridge", 0),
        ("content_weight", -1),
        ("support", 0),
    ]:
        with pytest.raises(ValueError, match=key):
            MemorySettings(**{key: value})
    settings = MemorySettings(content_weight=1.0)
    with pytest.raises(ValueError, match="content_weight"):
        FittedMemory.fit(Counts.of(sequences(walks), N, settings), settings)
