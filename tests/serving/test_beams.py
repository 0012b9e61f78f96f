import math

import pytest
import torch

from recbole_mgr.serving.beams import KEPT, beams_of, history_of, plain_beams
from recbole_mgr.serving.run_directory import read_run


@pytest.fixture(scope="module")
def network(run):
    return read_run(run.folder).network


def paths_of(beams):
    """Item id -> its codes, by the parents of its last prefix."""
    found = {}
    for prefix in beams.levels[-1]:
        codes, place = [prefix.code], prefix.parent
        for level in reversed(beams.levels[:-1]):
            codes.insert(0, level[place].code)
            place = level[place].parent
        found[prefix.item_id] = codes
    return found


def test_the_levels_lead_to_the_list_that_the_model_generates(network):
    beams = beams_of(network, [1, 2, 3], 5)
    ranked = network.generate(history_of(network, [[1, 2, 3]]), 5)
    assert beams.item_ids == ranked.item_ids[0].tolist()
    assert beams.scores == pytest.approx(ranked.scores[0].tolist())
    paths = paths_of(beams)
    assert len(beams.levels) == len(network.semantic_ids.digits)
    for item_id in beams.item_ids:
        assert paths[item_id] == network.semantic_ids.codes[item_id].tolist()
    assert [prefix.item_id for prefix in beams.levels[-1] if prefix.leads] == beams.item_ids


def test_a_history_is_read_once(network, monkeypatch):
    read, start = [], network.backbone.start
    monkeypatch.setattr(network.backbone, "start", lambda *history: read.append(history) or start(*history))
    beams_of(network, [1, 2, 3], 5, wanted=1, exclude=[2])
    assert len(read) == 1


def test_a_prefix_is_at_least_as_likely_as_what_extends_it(network):
    beams = beams_of(network, [4], 3)
    for above, level in zip(beams.levels, beams.levels[1:], strict=False):
        share = [0.0] * len(above)
        for prefix in level:
            share[prefix.parent] += math.exp(prefix.log_prob)
        assert all(part <= math.exp(one.log_prob) + 1e-5 for part, one in zip(share, above, strict=True))
    assert all(sum(not prefix.leads for prefix in level) <= KEPT for level in beams.levels)


def test_an_item_that_is_kept_out_leaves_the_beams(network):
    first = beams_of(network, [1, 2], 5).item_ids[0]
    assert beams_of(network, [1, 2], 5, wanted=first).lost == len(network.semantic_ids.digits)
    without = beams_of(network, [1, 2], 5, wanted=first, exclude=[first])
    assert first not in without.item_ids
    assert without.lost <= len(network.semantic_ids.digits) - 1
    assert beams_of(network, [1, 2], 5).lost is None


def test_what_priors_add_along_an_items_path_is_its_log_probability_by_them(popular_run):
    network = read_run(popular_run.folder).network
    counts = network.item_counts[1:]
    log_probs = 0.5 * ((counts + 1) / (counts + 1).sum()).log()  # [N], by the weight of the run
    beams = beams_of(network, [1, 2, 3], 5)
    assert (beams.priors, beams.parts) == (["popularity"], {})
    added = {}
    for prefix in beams.levels[-1]:
        total, place = prefix.added[0], prefix.parent
        for level in reversed(beams.levels[:-1]):
            total += level[place].added[0]
            place = level[place].parent
        added[prefix.item_id] = total
    assert set(beams.item_ids) <= set(added)
    for item_id, total in added.items():
        assert total == pytest.approx(float(log_probs[item_id - 1]), abs=1e-4)
    level = plain_beams(beams, lambda item_id: item_id)["levels"][0]
    assert [entry[5] for entry in level] == [round(prefix.added[0], 2) for prefix in beams.levels[0]]


def test_terms_of_an_item_sum_to_its_score(popular_run):
    network = read_run(popular_run.folder).network
    network.ranking = "union"
    beams = beams_of(network, [1, 2, 3], 5)
    assert list(beams.parts) == ["codes", "popularity"]
    assert torch.tensor(list(beams.parts.values())).sum(dim=0).tolist() == pytest.approx(beams.scores, abs=1e-4)
    assert beams.priors == []
