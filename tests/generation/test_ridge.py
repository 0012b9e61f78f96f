"""Ridge regression from counts: the formula, the support, what is kept."""

import numpy as np
import pytest
import torch
from scipy import sparse

from recbole_mgr.generation import ridge

N = 12


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x = rng.random((40, N)) * (rng.random((40, N)) < 0.3)
    goal = rng.random((N, N)) * (rng.random((N, N)) < 0.6)
    expected = np.linalg.inv(x.T @ x + 2.5 * np.eye(N)) @ goal
    return sparse.csr_matrix(x.T @ x), sparse.csr_matrix(goal), expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dense_solve_is_the_formula_in_any_number_of_blocks(problem, dtype, monkeypatch):
    monkeypatch.setattr(ridge, "_ROWS", 5)
    gram, goal, expected = problem
    told = []
    solved, columns = ridge.solve_dense(gram, goal, 2.5, dtype=dtype, progress=lambda *parts: told.append(parts))
    assert columns is None
    np.testing.assert_allclose(solved.numpy(), expected, atol=1e-5)
    assert solved.dtype == torch.float32 and told == [(1, 3), (2, 3), (3, 3)]


def test_with_every_row_in_the_support_the_solve_by_columns_is_the_dense_one(problem):
    gram, _, _ = problem
    goal = sparse.csr_matrix(np.random.default_rng(1).random((N, N)))  # no zeros: every row is a candidate
    expected = np.linalg.inv(gram.toarray() + 2.5 * np.eye(N)) @ goal.toarray()
    weights, columns = ridge.solve_on_support(gram, goal, 2.5, support=N, max_entries=N)
    np.testing.assert_allclose(_scattered(weights, columns), expected, atol=1e-5)


def test_a_column_rests_on_its_own_row_and_on_the_largest_goals(problem, monkeypatch):
    monkeypatch.setattr(ridge, "_SYSTEM_VALUES", 2 * 4**2)  # two systems at once
    gram, goal, _ = problem
    weights, columns = ridge.solve_on_support(gram, goal, 2.5, support=4, max_entries=N)
    solved = _scattered(weights, columns)
    relative = goal.toarray() / np.sqrt(gram.diagonal() + 2.5)[:, None]
    for column in range(N):
        relative[column, column] = np.inf
        rows = np.argsort(-relative[:, column], kind="stable")[:4]
        rows = rows[relative[rows, column] > 0]
        system = gram.toarray()[np.ix_(rows, rows)] + 2.5 * np.eye(len(rows))
        expected = np.zeros(N)
        expected[rows] = np.linalg.solve(system, goal.toarray()[rows, column])
        np.testing.assert_allclose(solved[:, column], expected, atol=1e-5)


def test_the_entries_kept_are_the_largest_by_absolute_value(problem, monkeypatch):
    monkeypatch.setattr(ridge, "_ROWS", 5)
    gram, goal, expected = problem
    weights, columns = ridge.solve_dense(gram, goal, 2.5, max_entries=3)
    order = np.argsort(-np.abs(expected), axis=1)[:, :3]
    np.testing.assert_array_equal(columns.numpy(), order)
    np.testing.assert_allclose(weights.numpy(), np.take_along_axis(expected, order, axis=1), atol=1e-5)
    kept_weights, kept_columns = ridge.largest_of_rows(sparse.csr_matrix(expected), 3)
    assert torch.equal(kept_columns, columns)
    torch.testing.assert_close(kept_weights, weights, atol=1e-5, rtol=0)


def _scattered(weights: torch.Tensor, columns: torch.Tensor) -> np.ndarray:
    return torch.zeros(len(weights), N).scatter_add_(1, columns, weights).numpy()
