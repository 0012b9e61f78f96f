import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from recbole_mgr.semantic_id.rqvae import RQVAE, ResidualCodebooks


def hierarchical(dim=24):
    """8 places x 8 offsets, each pair met 20 times: 64 tight clusters."""
    rng = np.random.default_rng(0)
    coarse, fine = rng.normal(size=(8, dim)) * 3, rng.normal(size=(8, dim))
    groups = np.stack(np.divmod(np.arange(64), 8), axis=1).repeat(20, axis=0)
    vectors = coarse[groups[:, 0]] + fine[groups[:, 1]] + 0.05 * rng.normal(size=(len(groups), dim))
    return vectors.astype(np.float32), groups


@pytest.fixture(scope="module")
def trained():
    vectors, groups = hierarchical()
    quantizer = RQVAE(
        levels=2,
        codebook_size=8,
        seed=0,
        hidden_sizes=(64,),
        latent_size=16,
        epochs=30,
        batch_size=128,
        learning_rate=1e-2,
    )
    return quantizer.fit(vectors), vectors, groups


def test_two_levels_beat_one_level_of_kmeans(trained):
    quantizer, vectors, _ = trained
    lost = np.square(vectors - quantizer.reconstruct(quantizer.encode(vectors))).mean()
    one_level = KMeans(8, n_init=3, random_state=0).fit(vectors).inertia_ / vectors.size
    assert lost < 0.7 * one_level


def test_every_code_is_used_on_planted_data(trained):
    quantizer, vectors, _ = trained
    codes = quantizer.encode(vectors)
    assert [len(np.unique(level)) for level in codes.T] == [8, 8]


def test_quantize_matches_a_plain_loop():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(3, 5, 4, generator=generator)
    latents = torch.randn(20, 4, generator=generator)
    quantized = ResidualCodebooks(centers, decay=0.9).quantize(latents)
    for item in range(20):
        residual = latents[item]
        for level in range(3):
            assert torch.allclose(quantized.residuals[level, item], residual, atol=1e-6)
            best = (centers[level] - residual).square().sum(1).argmin()
            assert quantized.codes[item, level] == best
            residual = residual - centers[level, best]
        assert torch.allclose(quantized.latents[item], latents[item] - residual, atol=1e-6)


def test_centers_follow_their_residuals():
    codebooks = ResidualCodebooks(torch.tensor([[[0.0], [10.0]]]), decay=0.9)
    latents = torch.tensor([[1.0], [3.0], [11.0]])
    for _ in range(200):
        codebooks.follow(codebooks.quantize(latents))
    assert torch.allclose(codebooks.centers.flatten(), torch.tensor([2.0, 11.0]), atol=1e-3)


def test_dead_codes_are_revived():
    generator = torch.Generator().manual_seed(0)
    centers = torch.full((1, 8, 2), 1e3)
    centers[0, 0] = 0
    codebooks = ResidualCodebooks(centers, decay=0.9)
    latents = torch.randn(100, 2, generator=generator)
    quantized = codebooks.quantize(latents)
    assert quantized.codes.unique().tolist() == [0]
    dead = torch.ones(1, 8, dtype=torch.bool)
    dead[0, 0] = False
    codebooks.restart(dead, quantized.residuals, generator=generator)
    assert (codebooks.centers[0, 0] == 0).all()
    revived = codebooks.quantize(latents)
    assert revived.codes.unique().tolist() == list(range(8))
    codebooks.follow(revived)
    assert codebooks.centers.abs().max() < 10  # the averages restarted too


def test_training_revives_codes_that_the_first_sample_missed(monkeypatch):
    """All codes but one start out of reach: without restarts the quantiser would end with one."""
    start = ResidualCodebooks.from_latents.__func__

    def out_of_reach(cls, latents, **options):
        codebooks = start(cls, latents, **options)
        codebooks.centers[:, 1:] = 1e3
        return ResidualCodebooks(codebooks.centers, decay=options["decay"])

    monkeypatch.setattr(ResidualCodebooks, "from_latents", classmethod(out_of_reach))
    vectors, _ = hierarchical()
    options = {"levels": 2, "codebook_size": 8, "seed": 0, "hidden_sizes": (32,), "latent_size": 8}
    codes = RQVAE(**options, epochs=10, batch_size=64).fit(vectors).encode(vectors)
    assert min(len(np.unique(level)) for level in codes.T) == 8
    monkeypatch.setattr(ResidualCodebooks, "restart", lambda *_, **__: None)
    codes = RQVAE(**options, epochs=10, batch_size=64).fit(vectors).encode(vectors)
    assert max(len(np.unique(level)) for level in codes.T) == 1


def test_encoder_receives_gradients_through_the_codes(trained):
    """The straight-through estimate and the commitment reach the encoder: it leaves its starting weights."""
    _, vectors, _ = trained
    options = {"levels": 2, "codebook_size": 8, "seed": 0, "hidden_sizes": (16,), "latent_size": 8}
    short = RQVAE(**options, epochs=1, beta=0.0).fit(vectors).state()
    longer = RQVAE(**options, epochs=5, beta=0.0).fit(vectors).state()
    assert not np.allclose(short["encoder.0.weight"], longer["encoder.0.weight"], atol=1e-4)
