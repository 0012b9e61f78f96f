import numpy as np
import pytest
import torch

from recbole_mgr.data import vectors as module
from recbole_mgr.data.vectors import (
    OrderedRows,
    Standardization,
    chunk_slices,
    require_finite,
    sample_rows,
)


def test_chunks_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_VALUES", 10)
    rows = [row for chunk in chunk_slices(23, 3) for row in range(chunk.start, chunk.stop)]
    assert rows == list(range(23))
    assert max(chunk.stop - chunk.start for chunk in chunk_slices(23, 3)) == 3


def test_ordered_rows_reads_in_the_given_order():
    matrix = np.arange(12).reshape(6, 2)
    order = np.array([5, 0, 3, 1, 2, 4])
    ordered = OrderedRows(matrix, order)
    assert ordered.shape == (6, 2)
    assert (ordered[1:4] == matrix[[0, 3, 1]]).all()
    assert (ordered[np.array([0, 5])] == matrix[[5, 4]]).all()


def test_ordered_rows_fill_gaps_and_stack():
    matrix = np.arange(6, dtype=np.float16).reshape(3, 2)
    filled = OrderedRows(matrix, np.array([2, -1, 0, -1]), filler=np.array([7, 8], dtype=np.float16))
    assert filled[:].tolist() == [[4, 5], [7, 8], [0, 1], [7, 8]]
    assert filled[-2:].tolist() == [[0, 1], [7, 8]]
    assert OrderedRows(filled, np.array([1, 0]))[:].tolist() == [[7, 8], [4, 5]]
    assert matrix.tolist() == [[0, 1], [2, 3], [4, 5]]  # not written to


def test_sample_keeps_order_and_size():
    matrix = np.arange(100, dtype=np.float32)[:, None]
    sample = sample_rows(matrix, limit=10, generator=torch.Generator().manual_seed(0)).flatten()
    assert len(sample.unique()) == 10
    assert (sample.diff() > 0).all()
    whole = sample_rows(matrix, limit=100, generator=torch.Generator())
    assert (whole.numpy() == matrix).all()


def test_standardization_inverts_and_keeps_proportions():
    sample = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 4]) + 7
    standardization = Standardization.of(sample)
    applied = standardization.apply_(sample.clone())
    assert torch.allclose(applied.mean(0), torch.zeros(4), atol=1e-5)
    assert applied.square().mean().item() == pytest.approx(1, rel=1e-4)
    ratio = torch.cdist(sample, sample).sum() / torch.cdist(applied, applied).sum()
    assert torch.allclose(torch.cdist(sample, sample), ratio * torch.cdist(applied, applied), atol=1e-2)
    assert torch.allclose(standardization.invert(applied), sample, atol=1e-5)


def test_standardization_of_equal_rows_is_finite():
    applied = Standardization.of(torch.full((5, 3), 0.1)).apply_(torch.full((5, 3), 0.1))
    assert applied.abs().max() < 1e-6


def test_non_finite_values_name_modality_and_item():
    matrix = np.zeros((3, 2), dtype=np.float16)
    require_finite(matrix, modality="text", item_tokens=["a", "b", "c"])
    matrix[1, 1] = np.inf
    with pytest.raises(ValueError, match="'text'.*'b'"):
        require_finite(matrix, modality="text", item_tokens=["a", "b", "c"])
