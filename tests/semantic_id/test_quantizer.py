"""The contract that every quantiser keeps, and their table."""

import random

import numpy as np
import pytest
import torch

from recbole_mgr.data import vectors as vectors_module
from recbole_mgr.semantic_id.quantizer import QUANTIZERS, make_quantizer, quantizer_class

SMALL = {
    "rkmeans": {},
    "rqvae": {"hidden_sizes": (16,), "latent_size": 8, "epochs": 20, "batch_size": 64, "learning_rate": 0.01},
}
VECTORS = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)


def make(name, seed=1, levels=2, codebook_size=8, **options):
    return make_quantizer(
        name, levels=levels, codebook_size=codebook_size, seed=seed, options={**SMALL[name], **options}
    )


@pytest.fixture(params=sorted(QUANTIZERS))
def name(request):
    return request.param


def test_codes_and_reconstruction_have_the_promised_form(name):
    quantizer = make(name)
    assert quantizer.fit(VECTORS) is quantizer
    codes = quantizer.encode(VECTORS)
    assert codes.shape == (300, 2)
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert codes.max() < 8
    rebuilt = quantizer.reconstruct(codes)
    assert rebuilt.shape == VECTORS.shape
    assert rebuilt.dtype == np.float32
    assert np.square(VECTORS - rebuilt).mean() < VECTORS.var()


def test_same_seed_same_codes_other_seed_other_codes(name):
    codes = make(name).fit(VECTORS).encode(VECTORS)
    torch.manual_seed(99)
    np.random.seed(99)
    assert (make(name).fit(VECTORS).encode(VECTORS) == codes).all()
    assert (make(name, seed=2).fit(VECTORS).encode(VECTORS) != codes).any()


def test_global_random_states_are_left_alone(name):
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    make(name, sample_size=100).fit(VECTORS).encode(VECTORS)
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_memory_mapped_half_precision_in_small_chunks(name, tmp_path, monkeypatch):
    half = VECTORS.astype(np.float16)
    np.save(tmp_path / "v.npy", half)
    expected = make(name).fit(half).encode(half)
    monkeypatch.setattr(vectors_module, "CHUNK_VALUES", 500)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    codes = make(name).fit(mapped).encode(mapped)
    assert (codes == expected).mean() > 0.99  # the order of float sums may settle a tie the other way


def test_encode_never_reads_more_than_a_chunk(name, monkeypatch):
    class Watched:
        shape, dtype = VECTORS.shape, VECTORS.dtype
        largest = 0

        def __len__(self):
            return len(VECTORS)

        def __getitem__(self, rows):
            self.largest = max(self.largest, len(VECTORS[rows]))
            return VECTORS[rows]

    monkeypatch.setattr(vectors_module, "CHUNK_VALUES", 40 * 16)
    watched = Watched()
    make(name, sample_size=100).fit(watched).encode(watched)
    assert 40 <= watched.largest <= 100


def test_state_through_a_file_gives_the_same_quantizer(name, tmp_path):
    fitted = make(name).fit(VECTORS)
    np.savez(tmp_path / "state.npz", **fitted.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        loaded = make(name, seed=5).load(dict(state))
    codes = fitted.encode(VECTORS)
    assert (loaded.encode(VECTORS) == codes).all()
    assert (loaded.reconstruct(codes) == fitted.reconstruct(codes)).all()


def test_state_of_other_sizes_is_refused(name):
    state = make(name, levels=3).fit(VECTORS).state()
    with pytest.raises(ValueError, match="state has the arrays|'centers' is float32"):
        make(name, levels=2).load(state)
    with pytest.raises(ValueError, match="state has more than|'centers' is float32"):
        make(name, levels=3, codebook_size=4).load(state)


@pytest.mark.parametrize("change", ["missing", "one number", "cut", "deeper", "words", "not finite"])
def test_a_damaged_state_is_refused_whatever_part_it_is(name, change):
    state = make(name, epochs=1).fit(VECTORS).state() if name == "rqvae" else make(name).fit(VECTORS).state()
    for part, array in state.items():
        if change == "cut" and (not array.ndim or part.startswith("codebook")):  # which may have fewer codes than K
            continue
        if change == "one number" and not array.ndim:
            continue
        damaged = {
            "missing": {},
            "one number": {part: array.reshape(-1)[0]},
            "cut": {part: array[:-1] if array.ndim else array},
            "deeper": {part: array[None]},
            "words": {part: array.astype(str)},
            "not finite": {part: np.full_like(array, np.nan)},
        }[change]
        others = {other: values for other, values in state.items() if other != part}
        with pytest.raises(ValueError, match="is missing|expected numbers|not finite|state has the arrays"):
            make(name).load({**others, **damaged})


def test_one_vector_and_equal_vectors_work(name):
    equal = np.full((20, 4), 0.3, dtype=np.float32)
    codes = make(name).fit(equal).encode(equal)
    assert len(np.unique(codes, axis=0)) == 1
    assert np.isfinite(make(name).fit(equal[:1]).reconstruct(codes[:1])).all()


def test_unfitted_and_mismatched_input(name):
    with pytest.raises(RuntimeError, match="call fit"):
        make(name).encode(VECTORS)
    fitted = make(name).fit(VECTORS)
    with pytest.raises(ValueError, match=r"vectors have shape \(300, 11\)"):
        fitted.encode(VECTORS[:, :11])
    with pytest.raises(ValueError, match=r"codes have shape \(1, 3\)"):
        fitted.reconstruct(np.zeros((1, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="codes must lie in"):
        fitted.reconstruct(np.full((1, 2), 8))


def test_sizes_must_be_positive(name):
    with pytest.raises(ValueError, match="levels must be above 0, not 0"):
        make(name, levels=0)


def test_unknown_names_suggest_the_nearest(name):
    assert quantizer_class(name).__name__ in ("ResidualKMeans", "RQVAE")
    with pytest.raises(ValueError, match="did you mean 'rkmeans'"):
        quantizer_class("rkmean")
    with pytest.raises(ValueError, match="did you mean 'sample_size'"):
        make(name, sample_sizes=3)
