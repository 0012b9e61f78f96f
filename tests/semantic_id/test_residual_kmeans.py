import numpy as np
import pytest
from sklearn.cluster import KMeans

from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans

VECTORS = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32) @ np.diag(np.linspace(3, 0.2, 16)).astype(
    np.float32
)


def error(vectors, quantizer):
    return np.square(vectors - quantizer.reconstruct(quantizer.encode(vectors))).mean()


def test_error_falls_with_levels_and_matches_sklearn():
    residuals = VECTORS.copy()
    errors = []
    for levels in (1, 2, 3):
        reference = KMeans(16, n_init=1, random_state=0).fit(residuals)
        residuals -= reference.cluster_centers_[reference.labels_]
        errors.append(error(VECTORS, ResidualKMeans(levels=levels, codebook_size=16, seed=0).fit(VECTORS)))
        assert errors[-1] < 1.05 * np.square(residuals).mean()
    assert errors[0] > errors[1] > errors[2]


def test_levels_nest():
    one = ResidualKMeans(levels=1, codebook_size=16, seed=0).fit(VECTORS).encode(VECTORS)
    three = ResidualKMeans(levels=3, codebook_size=16, seed=0).fit(VECTORS).encode(VECTORS)
    assert (one[:, 0] == three[:, 0]).all()


def test_scale_and_offset_of_the_vectors_do_not_matter():
    quantizer = ResidualKMeans(levels=2, codebook_size=8, seed=0)
    expected, lost = quantizer.fit(VECTORS).encode(VECTORS), error(VECTORS, quantizer)
    scaled = 1024 * VECTORS  # exact in floats
    assert (quantizer.fit(scaled).encode(scaled) == expected).all()
    moved = VECTORS + 50
    assert error(moved, quantizer.fit(moved)) == pytest.approx(lost, rel=0.02)


def test_more_codes_than_distinct_vectors():
    distinct = VECTORS[:5]
    vectors = np.tile(distinct, (40, 1))
    quantizer = ResidualKMeans(levels=3, codebook_size=64, seed=0).fit(vectors)
    codes = quantizer.encode(vectors)
    assert len(np.unique(codes, axis=0)) == 5
    assert (codes == np.tile(codes[:5], (40, 1))).all()
    assert not codes[:, 1:].any()  # nothing is left for the levels below
    assert np.allclose(quantizer.reconstruct(codes), vectors, atol=1e-4)
    with pytest.raises(ValueError, match=r"0\.\.4"):
        quantizer.reconstruct(np.full((1, 3), 5))


def test_a_sample_serves_vectors_that_it_does_not_hold():
    sampled = ResidualKMeans(levels=2, codebook_size=8, seed=0, sample_size=800).fit(VECTORS)
    whole = ResidualKMeans(levels=2, codebook_size=8, seed=0).fit(VECTORS)
    assert error(VECTORS, sampled) < 1.1 * error(VECTORS, whole)
    assert error(VECTORS, sampled) != error(VECTORS, whole)
