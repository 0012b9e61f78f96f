"""Agreement of IDs, in worlds where it is known."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from recbole_mgr.data.semantic_id_file import TableFile
from recbole_mgr.reporting.analysis.dominance import agreements
from recbole_mgr.reporting.analysis.runs import FinishedRun

RNG = np.random.default_rng(0)
TEXT, IMAGE = RNG.integers(4, size=(300, 2)), RNG.integers(4, size=(300, 2))
ITEMS = [f"i{n}" for n in range(300)]


def run_of(blocks: dict[str, np.ndarray], *, seed: int = 1, items=ITEMS, **settings) -> FinishedRun:
    how = {
        "semantic_ids": None,
        "early_fusion": "concat",
        "quantizer": "rkmeans",
        "codebook_levels": 2,
        "codebook_size": 4,
        "semantic_id_seed": seed,
    }
    return FinishedRun(
        Path("."), SimpleNamespace(settings={**how, **settings}), TableFile(list(items), blocks, None, None)
    )


def by_pair(found) -> dict[tuple, tuple]:
    return {(entry.one, entry.other, entry.level): (entry.code, entry.prefix) for entry in found}


def test_a_fused_id_that_is_the_texts_agrees_with_text_alone():
    relabelled = np.array([2, 0, 3, 1])[TEXT]  # AMI does not see what codes are called
    found = by_pair(agreements([run_of({"text": TEXT, "image": IMAGE}), run_of({"fused": relabelled})]))
    assert set(found) == {
        (one, other, level)
        for one, other in [("fused (concat)", "text"), ("fused (concat)", "image"), ("text", "image")]
        for level in (1, 2)
    }
    for level in (1, 2):
        code, prefix = found["fused (concat)", "text", level]
        assert code == prefix == [pytest.approx(1.0)]
        code, prefix = found["fused (concat)", "image", level]
        assert abs(code[0]) < 0.05 and abs(prefix[0]) < 0.05


def test_a_level_is_compared_alone_and_with_those_before_it():
    half = np.stack([TEXT[:, 0], IMAGE[:, 1]], axis=1)
    found = by_pair(agreements([run_of({"text": TEXT, "half": half})]))
    (code,), (prefix,) = found["text", "half", 2]
    assert code == pytest.approx(adjusted_mutual_info_score(TEXT[:, 1], half[:, 1]))
    assert prefix == pytest.approx(adjusted_mutual_info_score(TEXT @ [4, 1], half @ [4, 1]))
    assert code < 0.05 < 0.3 < prefix


def test_the_order_of_items_does_not_matter():
    order = RNG.permutation(300)
    shuffled = run_of({"fused": TEXT[order]}, items=[ITEMS[item] for item in order])
    found = by_pair(agreements([run_of({"text": TEXT}), shuffled]))
    assert found["fused (concat)", "text", 1][0] == [pytest.approx(1.0)]


def test_only_ids_of_one_quantiser_and_seed_meet():
    runs = [run_of({"text": TEXT, "image": IMAGE}, seed=seed) for seed in (1, 2)]
    runs += [run_of({"fused": TEXT}, seed=1, early_fusion="mean"), run_of({"fused": TEXT}, seed=2, codebook_size=8)]
    found = agreements(runs)
    assert by_pair(found)["text", "image", 1][0] == pytest.approx([by_pair(found)["text", "image", 1][0][0]] * 2)
    assert len(by_pair(found)["fused (mean)", "text", 1][0]) == 1
    assert not any("concat" in name for entry in found for name in entry[1:3])  # has nothing to meet


def test_runs_without_ids_and_ids_alone_give_nothing():
    assert agreements([FinishedRun(Path("."), SimpleNamespace(settings={}), None), run_of({"text": TEXT})]) == []


def test_the_shorter_id_gives_the_levels():
    found = agreements([run_of({"text": TEXT, "image": IMAGE[:, :1]}, semantic_ids="user_supplied.tsv")])
    assert [(entry.quantizer, entry.level) for entry in found] == [("user-supplied", 1)]
