import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from recbole_mgr.semantic_id import report as module
from recbole_mgr.semantic_id.report import format_report, table_report
from recbole_mgr.semantic_id.residual_kmeans import ResidualKMeans
from recbole_mgr.semantic_id.table import SemanticIdTable

TEXT = np.array([[0, 0], [0, 1], [1, 0], [1, 0]])
IMAGE = np.array([[0], [0], [1], [1]])
TABLE = SemanticIdTable.from_blocks(
    {"text": TEXT, "image": IMAGE}, list("abcd"), sizes={"text": [4, 2], "image": [2]}, transitions=True
)


def test_known_numbers():
    report = table_report(TABLE)
    first, second, image = report["digits"]
    assert (first["modality"], first["level"], first["size"], first["used"]) == ("text", 0, 4, 2)
    assert (first["utilisation"], first["perplexity"]) == (0.5, pytest.approx(2))
    assert second["entropy"] == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert (image["modality"], image["utilisation"]) == ("image", 1)
    assert report["collisions"] == {
        "whole": {"items": 2, "share": 0.5, "largest_group": 2},
        "text": {"items": 2, "share": 0.5, "largest_group": 2},
        "image": {"items": 4, "share": 1.0, "largest_group": 2},
    }
    assert report["reconstruction"] == {}
    assert report["agreement"]["text|image"]["first_level"] == pytest.approx(1)
    expected = adjusted_mutual_info_score([0, 1, 2, 2], [0, 0, 1, 1])
    assert report["agreement"]["text|image"]["full"] == pytest.approx(expected)


def test_report_is_plain():
    report = table_report(TABLE)
    assert json.loads(json.dumps(report)) == report


def test_reconstruction_is_the_share_of_variance_lost():
    vectors = np.random.default_rng(0).normal(5, 2, size=(60, 4)).astype(np.float16)
    quantizer = ResidualKMeans(levels=1, codebook_size=6, seed=0).fit(vectors)
    codes = quantizer.encode(vectors)
    table = SemanticIdTable.from_blocks({"text": codes}, [f"i{item}" for item in range(60)])
    lost = table_report(table, {"text": vectors}, {"text": quantizer})["reconstruction"]["text"]
    exact = vectors.astype(np.float64)
    errors = np.square(exact - quantizer.reconstruct(codes)).sum()
    assert lost == pytest.approx(errors / np.square(exact - exact.mean(0)).sum(), rel=1e-6)
    assert 0 < lost < 1


def test_agreement_of_a_big_catalogue_is_sampled_whatever_the_order(monkeypatch):
    monkeypatch.setattr(module, "AMI_ITEMS", 300)
    rng = np.random.default_rng(0)
    text = rng.integers(0, 6, size=(1000, 1))
    image = np.where(rng.random((1000, 1)) < 0.5, text, rng.integers(0, 6, size=(1000, 1)))
    tokens = [f"i{item}" for item in range(1000)]
    order = rng.permutation(1000)
    whole = adjusted_mutual_info_score(text[:, 0], image[:, 0])
    tables = [
        SemanticIdTable.from_blocks({"text": text, "image": image}, tokens),
        SemanticIdTable.from_blocks({"text": text[order], "image": image[order]}, [tokens[i] for i in order]),
    ]
    found = [table_report(table)["agreement"]["text|image"]["first_level"] for table in tables]
    assert found[0] == found[1]
    assert found[0] == pytest.approx(whole, abs=0.1)


def test_lines_are_aligned_and_say_everything():
    report = {**table_report(TABLE), "reconstruction": {"text": 0.25}}
    lines = format_report(report).splitlines()
    assert len(lines) == 2 + 3 + 3 + 1 + 1
    assert lines[0] == "4 items"
    assert {len(line) for line in lines[1:5]} == {len(lines[1])}
    assert "25.0% of the variance lost" in lines[8]
