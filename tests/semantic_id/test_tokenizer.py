"""New items get the codes they would have had in the catalogue."""

import numpy as np
import pytest

from recbole_mgr.semantic_id.build import FUSED, SemanticIdSettings, quantize_modalities
from recbole_mgr.semantic_id.tokenizer import ItemTokenizer, missing_rows

TOKENS = [f"i{n}" for n in range(60)]


def features(dtype) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"text": rng.normal(size=(60, 6)).astype(dtype), "image": rng.normal(size=(60, 4)).astype(dtype)}


def fitted(vectors, settings) -> tuple[dict[str, np.ndarray], ItemTokenizer]:
    """Codes of the catalogue, and its tokenizer with a fill vector of twos."""
    quantized = quantize_modalities(vectors, TOKENS, settings, cache_dir=None)
    tokenizer = ItemTokenizer(
        settings=settings,
        quantizers={name: part.quantizer for name, part in quantized.items()},
        fill_vectors={name: np.full(matrix.shape[1], 2, dtype=matrix.dtype) for name, matrix in vectors.items()},
    )
    return {name: part.codes for name, part in quantized.items()}, tokenizer


@pytest.mark.parametrize("fusion", ["early", "late"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("quantizer", ["rkmeans", "rqvae"])
def test_known_vectors_get_known_codes_also_after_a_round_trip(fusion, dtype, quantizer):
    options = {"epochs": 2, "hidden_sizes": [8], "latent_size": 4} if quantizer == "rqvae" else {}
    settings = SemanticIdSettings(quantizer=quantizer, fusion=fusion, codebook_levels=2, quantizer_options=options)
    vectors = features(dtype)
    codes, tokenizer = fitted(vectors, settings)
    sizes = {name: quantizer.codebook_size for name, quantizer in tokenizer.quantizers.items()}
    back = ItemTokenizer.from_arrays(tokenizer.arrays(), settings, sizes=sizes)
    assert back.modalities == ["text", "image"]
    given = {name: matrix[7:20].astype(np.float64) for name, matrix in reversed(vectors.items())}
    for made in (tokenizer.encode(tokenizer.complete(given)), back.encode(back.complete(given))):
        assert set(made) == ({FUSED} if fusion == "early" else {"text", "image"})
        for name in made:
            np.testing.assert_array_equal(made[name], codes[name][7:20])


def test_missing_vectors_become_the_fill_vector():
    vectors = features(np.float32)
    _, tokenizer = fitted(vectors, SemanticIdSettings(codebook_levels=2))
    text = vectors["text"][:3].copy()
    text[1] = np.nan
    complete = tokenizer.complete({"text": text})
    np.testing.assert_array_equal(complete["text"], np.stack([text[0], np.full(6, 2), text[2]]))
    np.testing.assert_array_equal(complete["image"], np.full((3, 4), 2))
    assert missing_rows(text).tolist() == [False, True, False]
    assert np.isnan(text[1]).all()  # the caller's array stays as it was


def test_wrong_vectors_are_told():
    vectors = features(np.float16)
    _, tokenizer = fitted(vectors, SemanticIdSettings(codebook_levels=2))
    half, huge = np.ones((2, 6)), np.ones((2, 6))
    half[1, 2], huge[0, 0] = np.nan, 70_000
    for given, message in (
        ({"text": half}, "'text', row 1: the vector is not finite"),
        ({"text": huge}, "'text', row 0: the vector is not finite in float16"),
        ({"text": np.ones((2, 4))}, r"shape \(2, 4\), expected \(2, 6\)"),
        ({"text": np.ones((2, 6)), "image": np.ones((3, 4))}, r"shape \(3, 4\), expected \(2, 4\)"),
        ({"sound": np.ones((2, 6))}, r"not \['sound'\]"),
        ({}, "not none at all"),
    ):
        with pytest.raises(ValueError, match=message):
            tokenizer.complete(given)


def test_arrays_of_another_quantiser_are_refused():
    vectors = features(np.float32)
    _, tokenizer = fitted(vectors, SemanticIdSettings(codebook_levels=2))
    sizes = {"text": 16, "image": 16}
    with pytest.raises(ValueError, match="levels=3 needs"):
        ItemTokenizer.from_arrays(tokenizer.arrays(), SemanticIdSettings(codebook_levels=3), sizes=sizes)


@pytest.mark.parametrize("fill_vector", [None, np.zeros(5), np.array(2.0), np.full(6, np.nan), np.array(["a"] * 6)])
def test_fill_vectors_that_do_not_fit_are_refused(fill_vector):
    vectors = features(np.float32)
    settings = SemanticIdSettings(codebook_levels=2)
    _, tokenizer = fitted(vectors, settings)
    sizes = {name: quantizer.codebook_size for name, quantizer in tokenizer.quantizers.items()}
    arrays = {name: array for name, array in tokenizer.arrays().items() if name != "stand_in/text"}
    if fill_vector is not None:
        arrays["stand_in/text"] = fill_vector
    with pytest.raises(ValueError, match="text|vectors"):
        ItemTokenizer.from_arrays(arrays, settings, sizes=sizes)
