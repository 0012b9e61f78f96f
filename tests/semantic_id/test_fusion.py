import numpy as np
import pytest

from recbole_mgr.data import vectors as vectors_module
from recbole_mgr.semantic_id.fusion import early_fusion

TEXT = np.array([[3, 4], [0, 0], [0, 2]], dtype=np.float32)
IMAGE = np.array([[0, 5], [1, 0], [0, 0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("concat", [[0.6, 0.8, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]]),
        ("sum", [[0.6, 1.8], [1, 0], [0, 1]]),
        ("mean", [[0.3, 0.9], [0.5, 0], [0, 0.5]]),
    ],
)
@pytest.mark.parametrize("chunk_values", [1, 10**6])
def test_known_answers(method, expected, chunk_values, monkeypatch):
    monkeypatch.setattr(vectors_module, "CHUNK_VALUES", chunk_values)
    fused = early_fusion({"text": TEXT, "image": IMAGE}, method)
    assert np.allclose(fused, expected)
    assert fused.dtype == np.float32


def test_half_precision_stays_half_and_norms_do_not_overflow():
    large = np.full((1, 4), 60000, dtype=np.float16)
    fused = early_fusion({"text": large})
    assert fused.dtype == np.float16
    assert np.allclose(fused, 0.5)


def test_errors_name_modalities_and_dims():
    with pytest.raises(ValueError, match="'text': 2, 'image': 1.*use 'concat'"):
        early_fusion({"text": TEXT, "image": IMAGE[:, :1]}, "mean")
    with pytest.raises(ValueError, match="numbers of items.*'text': 3, 'image': 2"):
        early_fusion({"text": TEXT, "image": IMAGE[:2]})
    with pytest.raises(ValueError, match="'max' is unknown"):
        early_fusion({"text": TEXT}, "max")
    with pytest.raises(ValueError, match="no modality"):
        early_fusion({})
