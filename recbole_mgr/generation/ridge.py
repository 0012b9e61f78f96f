"""Ridge regression between items from counts: exact in a dense matrix, or column by column on a support of candidates.

Both solve ``(gram + ridge I) B = goal``. The dense one inverts the matrix, which needs two of [N, N] at its peak and
N^3 operations, and multiplies the sparse goal. The other lets each column of B rest on the column's own item, which is
pushed down where nobody takes an item twice, and on the items with the largest goal in that column, and solves the
regression on these alone, exactly: with every item in the support it is the dense solution.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

_ROWS = 1000  # of a dense solution at once
_SYSTEM_VALUES = 2**23  # values of all small systems at once: 32 MiB


def dense_bytes(num_items: int, dtype: torch.dtype = torch.float32) -> int:
    """Memory that `solve_dense` takes at its peak, but for blocks of rows."""
    return 2 * (num_items + 1) ** 2 * dtype.itemsize


def solve_dense(
    gram: sparse.csr_matrix,
    goal: sparse.csr_matrix,
    ridge: float,
    *,
    max_entries: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Solve exactly, by the inverse from Cholesky's decomposition.

    Args:
        gram: CSR [n, n], symmetric, no negative eigenvalues.
        goal: CSR [n, n].
        ridge: > 0, added to the diagonal.
        max_entries: R, entries kept of a row of the solution, the largest by absolute value; None keeps all.
        device, dtype: of the computation.
        progress: called with the blocks of rows done and their number, the inverse not counted.

    Returns:
        float32 weights [n, n] and None, or [n, R] and the columns that they belong to, int64 [n, R]; on ``device``.
    """
    precision = np.float64 if dtype == torch.float64 else np.float32
    matrix = torch.from_numpy(gram.astype(precision).toarray()).to(device)
    matrix.diagonal().add_(ridge)
    matrix = torch.linalg.cholesky(matrix)
    matrix = torch.cholesky_inverse(matrix)
    turned = goal.T.tocoo()
    places = torch.from_numpy(np.stack([turned.row, turned.col]).astype(np.int64))
    values = torch.from_numpy(turned.data.astype(precision))
    turned = torch.sparse_coo_tensor(places, values, turned.shape, check_invariants=True).coalesce().to(device)
    kept = min(max_entries or len(matrix), len(matrix))
    weights = torch.empty(len(matrix), kept, device=device)
    columns = None if kept == len(matrix) else torch.empty(weights.shape, dtype=torch.int64, device=device)
    blocks = range(0, len(matrix), _ROWS)
    for done, start in enumerate(blocks, start=1):
        rows = slice(start, start + _ROWS)
        block = torch.sparse.mm(turned, matrix[:, rows].contiguous()).T  # [rows, n]: the inverse is symmetric
        if columns is None:
            weights[rows] = block
        else:
            columns[rows] = block.abs().topk(kept).indices
            weights[rows] = block.gather(1, columns[rows])
        if progress:
            progress(done, len(blocks))
    return weights, columns


def solve_on_support(
    gram: sparse.csr_matrix,
    goal: sparse.csr_matrix,
    ridge: float,
    *,
    support: int,
    max_entries: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Solve each column on its own few rows.

    Args:
        gram, goal, ridge: as for `solve_dense`; ``goal`` has no negative entries.
        support: rows that a column may have entries in: its own and those of its largest goals, each relative to how
            often the row's item occurs.
        max_entries: R, entries kept of a row of the solution, the largest by absolute value.
        device: of the small systems.
        progress: called with the columns done and their number.

    Returns:
        float32 weights [n, R] and the columns that they belong to, int64 [n, R]; 0 and column 0 where a row has fewer.
    """
    gram = gram.sorted_indices()
    scale = sparse.diags(1 / np.sqrt(gram.diagonal() + ridge))
    columns = (scale @ goal).tocsc()  # how well a row alone explains a column, up to the column's own scale
    goal = goal.tocsc().sorted_indices()
    columns.sort_indices()
    size = max(1, _SYSTEM_VALUES // support**2)
    # made beforehand: small arrays that stay between large ones that go would leave holes in memory
    most = int(np.minimum(np.diff(columns.indptr) + 1, support).sum())
    rows, owners, values = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.float32)
    filled = 0
    for start in range(0, goal.shape[1], size):
        part = range(start, min(start + size, goal.shape[1]))
        members = [_largest_rows(columns, goal, column, support) for column in part]
        solved = _solve_small([m for m, _ in members], [g for _, g in members], gram, ridge, device)
        for column, (member, _), value in zip(part, members, solved, strict=True):
            entries = slice(filled, filled + len(member))
            rows[entries], owners[entries], values[entries] = member, column, value[: len(member)]
            filled = entries.stop
        if progress:
            progress(part.stop, goal.shape[1])
    entries = (values[:filled], (rows[:filled], owners[:filled]))
    solution = sparse.csr_matrix(entries, shape=goal.shape, dtype=np.float32)
    weights, kept = largest_of_rows(solution, max_entries)
    return weights.to(device), kept.to(device)


def _largest_rows(
    columns: sparse.csc_matrix, goal: sparse.csc_matrix, column: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The column's own row and those of its largest entries, and the goal in each."""
    entries = slice(columns.indptr[column], columns.indptr[column + 1])
    rows, goals, sizes = columns.indices[entries], goal.data[entries], columns.data[entries]
    own = rows == column
    if own.any():
        sizes = np.where(own, np.inf, sizes)
    else:
        rows, goals, sizes = np.append(rows, column), np.append(goals, 0.0), np.append(sizes, np.inf)
    if len(rows) > count:
        best = np.argpartition(-sizes, count - 1)[:count]
        rows, goals = rows[best], goals[best]
    return rows, goals


def _solve_small(
    members: list[np.ndarray], goals: list[np.ndarray], gram: sparse.csr_matrix, ridge: float, device
) -> np.ndarray:
    """Solve the systems of several columns at once; what a smaller one lacks is filled up with the identity."""
    width = max(1, *map(len, members))
    systems = np.zeros((len(members), width, width), dtype=np.float32)
    right = np.zeros((len(members), width, 1), dtype=np.float32)
    for place, (member, goal) in enumerate(zip(members, goals, strict=True)):
        lower = np.tril_indices(len(member))  # all that Cholesky's decomposition reads
        # a look-up of each pair, not a walk of whole rows, which are long where items are popular
        systems[place][lower] = np.asarray(gram[member[lower[0]], member[lower[1]]]).ravel()
        right[place, : len(member), 0] = goal
    systems[:, np.arange(width), np.arange(width)] += ridge
    factors = torch.linalg.cholesky(torch.from_numpy(systems).to(device))
    return torch.cholesky_solve(torch.from_numpy(right).to(device), factors).squeeze(-1).cpu().numpy()


def largest_of_rows(matrix: sparse.csr_matrix, count: int) -> tuple[Tensor, Tensor]:
    """The largest entries of each row of a sparse matrix, padded to ``count``."""
    weights = np.zeros((matrix.shape[0], count), dtype=np.float32)
    columns = np.zeros((matrix.shape[0], count), dtype=np.int64)
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-np.abs(matrix.data), row_of))  # rows as they are, the largest entries of a row first
    place = np.arange(len(order)) - matrix.indptr[row_of]
    keep = place < count
    weights[row_of[keep], place[keep]] = matrix.data[order[keep]]
    columns[row_of[keep], place[keep]] = matrix.indices[order[keep]]
    return torch.from_numpy(weights), torch.from_numpy(columns)
