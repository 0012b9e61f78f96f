import math

import pytest

from recbole_mgr.serving.beams import KEPT, beams_of, history_of
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
