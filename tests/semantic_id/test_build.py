import numpy as np
import pytest

from recbole_mgr.semantic_id import build as module
from recbole_mgr.semantic_id.build import SemanticIdSettings, build_semantic_ids, quantize_modalities

N = 120
TOKENS = [f"i{item}" for item in range(N)]
RNG = np.random.default_rng(0)
VECTORS = {
    "text": RNG.normal(size=(N, 10)).astype(np.float32),
    "image": RNG.normal(size=(N, 6)).astype(np.float16),
}
SETTINGS = SemanticIdSettings(codebook_size=8, codebook_levels=2)
TINY_RQVAE = {"hidden_sizes": [8], "latent_size": 4, "epochs": 2}


def build(vectors=VECTORS, tokens=TOKENS, cache_dir=None, **changes):
    settings = SemanticIdSettings(**{"codebook_size": 8, "codebook_levels": 2, **changes})
    return build_semantic_ids(vectors, tokens, settings, cache_dir=cache_dir).table


@pytest.fixture
def no_fitting(monkeypatch):
    """Call it, and any further fit fails the test."""

    def forbid():
        from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans

        monkeypatch.setattr(ResidualKMeans, "fit", lambda *_: pytest.fail("fitted in spite of the cache"))

    return forbid


def test_late_fusion_has_a_block_per_modality():
    table = build(transitions=True)
    assert table.modalities == ["text", "image"]
    assert [digit.kind for digit in table.digits[:5]] == ["code", "code", "transition", "code", "code"]
    assert table.sizes[:5] == [8, 8, 1, 8, 8]
    assert table.item_tokens == TOKENS


def test_early_fusion_has_one_block():
    table = build(fusion="early")
    assert table.modalities == ["fused"]
    settings = SemanticIdSettings(codebook_size=8, codebook_levels=2, fusion="early")
    quantized = quantize_modalities(VECTORS, TOKENS, settings, cache_dir=None)
    assert quantized["fused"].vectors.shape == (N, 16)
    assert (table.codes[1:, :2].numpy() == quantized["fused"].codes).all()


def test_the_parts_of_a_table_come_with_it():
    built = build_semantic_ids(VECTORS, TOKENS, SETTINGS, cache_dir=None)
    assert list(built.modalities) == ["text", "image"]
    for modality, part in built.modalities.items():
        assert (built.table.codes[1:, built.table.block(modality)].numpy() == part.codes).all()
        assert (part.quantizer.encode(VECTORS[modality]) == part.codes).all()


def test_views_of_vectors_serve_as_well_as_arrays():
    turned = {name: module.OrderedRows(rows[::-1], np.arange(N)[::-1]) for name, rows in VECTORS.items()}
    for fusion in ("early", "late"):
        assert build(turned, fusion=fusion).fingerprint == build(fusion=fusion).fingerprint


@pytest.mark.parametrize(
    "changes",
    [{}, {"fusion": "early"}, {"quantizer_options": {"sample_size": 50}}]
    + [{"quantizer": "rqvae", "quantizer_options": TINY_RQVAE}],
)
def test_the_order_of_the_items_does_not_matter(changes):
    order = np.random.default_rng(1).permutation(N)
    table = build(**changes)
    other = build({name: rows[order] for name, rows in VECTORS.items()}, [TOKENS[row] for row in order], **changes)
    assert (other.codes[1:] == table.codes[1:][order]).all()
    assert other.fingerprint == table.fingerprint


def test_a_modality_has_the_same_codes_alone_and_in_company():
    both, alone = build(), build({"text": VECTORS["text"]})
    assert (both.codes[:, both.block("text")] == alone.codes[:, alone.block("text")]).all()
    same = build({"text": VECTORS["text"], "copy": VECTORS["text"]})  # seeded by name: not the same codes twice
    assert (same.codes[:, same.block("text")] != same.codes[:, same.block("copy")]).any()


def test_the_seed_decides():
    assert build().fingerprint == build().fingerprint
    assert build().fingerprint != build(seed=5).fingerprint


@pytest.mark.parametrize("quantizer", ["rkmeans", "rqvae"])
def test_the_second_call_reads_the_cache(tmp_path, quantizer):
    options = TINY_RQVAE if quantizer == "rqvae" else {}
    settings = SemanticIdSettings(codebook_size=8, codebook_levels=2, quantizer=quantizer, quantizer_options=options)
    first = quantize_modalities(VECTORS, TOKENS, settings, cache_dir=tmp_path)
    stamps = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    suffixes = [".npz"] * 2 + [".safetensors"] * 2 + [".tsv"] * 2 + [".yaml"] * 2
    assert sorted(file.suffix for file in stamps) == suffixes
    again = quantize_modalities(VECTORS, TOKENS, settings, cache_dir=tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == stamps
    for modality in VECTORS:
        assert (first[modality].codes == again[modality].codes).all()
        new = VECTORS[modality][:7] + 0.1  # items that come later
        assert (first[modality].quantizer.encode(new) == again[modality].quantizer.encode(new)).all()


def test_variants_and_other_orders_share_the_cache(tmp_path, no_fitting):
    table = build(cache_dir=tmp_path)
    no_fitting()
    assert build(cache_dir=tmp_path, transitions=True).modalities == ["text", "image"]
    alone = build({"text": VECTORS["text"]}, cache_dir=tmp_path, early_fusion="sum")
    assert (alone.codes[:, :2] == table.codes[:, :2]).all()
    turned = build({name: rows[::-1] for name, rows in VECTORS.items()}, TOKENS[::-1], cache_dir=tmp_path)
    assert turned.fingerprint == table.fingerprint


def test_whatever_decides_about_codes_makes_a_new_cache_file(tmp_path):
    text = VECTORS["text"]
    moved = text.copy()
    moved[3, 3] += 1
    build({"text": text}, cache_dir=tmp_path)
    build({"text": moved}, cache_dir=tmp_path)
    build({"text": text}, ["other", *TOKENS[1:]], cache_dir=tmp_path)
    build({"words": text}, cache_dir=tmp_path)
    for changes in (
        {"seed": 1},
        {"codebook_size": 4},
        {"codebook_levels": 3},
        {"quantizer_options": {"iterations": 3}},
        {"quantizer": "rqvae", "quantizer_options": TINY_RQVAE},
    ):
        build({"text": text}, cache_dir=tmp_path, **changes)
    assert len(list(tmp_path.glob("*.tsv"))) == 9


def test_a_quantiser_with_other_results_never_meets_old_caches(tmp_path, monkeypatch):
    build({"text": VECTORS["text"]}, cache_dir=tmp_path)
    monkeypatch.setattr(module, "CACHE_FORMAT", module.CACHE_FORMAT + 1)
    build({"text": VECTORS["text"]}, cache_dir=tmp_path)
    assert len(list(tmp_path.glob("*.tsv"))) == 2


@pytest.mark.parametrize("suffix", [".tsv", ".npz", ".yaml"])
@pytest.mark.parametrize("damage", ["cut", "removed", "junk"])
def test_a_damaged_cache_is_named(tmp_path, suffix, damage):
    vectors = {"text": VECTORS["text"]}
    build(vectors, cache_dir=tmp_path)
    (file,) = tmp_path.glob(f"*{suffix}")
    content = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\x00\xff junk")
    if (suffix, damage) == (".tsv", "removed"):
        assert build(vectors, cache_dir=tmp_path).num_items == N  # nothing there: made again
        return
    with pytest.raises(ValueError, match=r"text-\w+\.tsv: this cache file is damaged .*remove it"):
        build(vectors, cache_dir=tmp_path)


def test_a_cache_with_one_code_changed_is_noticed(tmp_path):
    build({"text": VECTORS["text"]}, cache_dir=tmp_path)
    (file,) = tmp_path.glob("*.tsv")
    lines = file.read_text().splitlines()
    token, codes, *dedup = lines[1].split("\t")
    lines[1] = "\t".join([token, " ".join(str((int(code) + 1) % 8) for code in codes.split()), *dedup])
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="damaged .*fingerprint"):
        build({"text": VECTORS["text"]}, cache_dir=tmp_path)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="at least one modality"):
        build({})
    with pytest.raises(ValueError, match="at least one item"):
        build({"text": np.zeros((0, 3), dtype=np.float32)}, [])
    with pytest.raises(ValueError, match=r"'image': vectors have shape \(119, 6\), expected \[120"):
        build({**VECTORS, "image": VECTORS["image"][1:]})
    broken = VECTORS["text"].copy()
    broken[7, 2] = np.nan
    with pytest.raises(ValueError, match="'text' has NaN .*'i7'"):
        build({"text": broken})


def test_one_item_and_equal_items():
    assert build({"text": np.ones((1, 4), dtype=np.float32)}, ["a"]).num_items == 1
    table = build({"text": np.ones((300, 4), dtype=np.float32)}, [f"i{item}" for item in range(300)])
    assert table.sizes[-1] == 300


@pytest.mark.parametrize(("num_items", "size"), [(1, 8), (16, 8), (256, 32), (1000, 64), (12101, 256), (10**7, 256)])
def test_automatic_codebook_size(num_items, size):
    assert SemanticIdSettings().codes_per_level(num_items) == size
    assert SemanticIdSettings(codebook_size=100).codes_per_level(num_items) == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebook_size": 0}, "codebook_size must be"),
        ({"codebook_size": "big"}, "codebook_size must be"),
        ({"codebook_levels": 0}, "levels must be above 0"),
        ({"fusion": "middle"}, "fusion must be"),
        ({"early_fusion": "max"}, "early_fusion must be"),
        ({"quantizer": "rqvea"}, "did you mean 'rqvae'"),
        ({"quantizer_options": {"epoch": 3}}, "rkmeans has no option 'epoch'"),
        ({"quantizer": "rqvae", "quantizer_options": {"epoch": 3}}, "did you mean 'epochs'"),
    ],
)
def test_settings_are_checked_at_once(changes, message):
    with pytest.raises(ValueError, match=message):
        SemanticIdSettings(**changes)


def test_half_precision_mapping_is_never_copied_whole(tmp_path, monkeypatch):
    """Every read of the mapping asks for fewer rows than there are."""
    np.save(tmp_path / "v.npy", VECTORS["image"])
    largest = []

    class Watched(module.OrderedRows):
        def __getitem__(self, rows):
            chunk = super().__getitem__(rows)
            largest.append(len(chunk))
            return chunk

    monkeypatch.setattr(module, "OrderedRows", Watched)
    monkeypatch.setattr("recbole_mgr.data.vectors.CHUNK_VALUES", 6 * 20)
    build({"image": np.load(tmp_path / "v.npy", mmap_mode="r")}, quantizer_options={"sample_size": 40})
    assert max(largest) == 20
