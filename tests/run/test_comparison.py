"""Results: compared in one table, tested per user, labelled with their data."""

import csv
import json

import numpy as np
import pytest
from made_results import USERS, make_result
from scipy.stats import wilcoxon

from recbole_mgr.data.provenance import Provenance
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.table_page import markdown, save

PROVENANCE = Provenance("Beauty (synthetic sample)", "0123456789ab", {"source": "made up", "synthetic": True})


def gains(ranks, k=10):
    return np.array([1 / np.log2(rank + 1) if 0 < rank <= k else 0.0 for rank in ranks])


def test_paired_tests_against_a_plain_computation():
    ours = [make_result("MGRLF", seed) for seed in (1, 2)]
    theirs = [make_result("TIGER", seed) for seed in (3, 4)]
    for run in theirs:  # another order of users must not matter
        order = np.random.default_rng(0).permutation(USERS)
        for name in ("users", "targets", "ranks"):
            setattr(run, name, getattr(run, name)[order])
    tests = Comparison(PROVENANCE, [*theirs, *ours]).paired_tests()
    assert list(tests) == ["TIGER"]
    back = np.argsort(order)
    difference = np.mean([gains(run.ranks) for run in ours], axis=0)
    difference -= np.mean([gains(run.ranks[back]) for run in theirs], axis=0)
    assert tests["TIGER"].difference == pytest.approx(difference.mean())
    assert tests["TIGER"].p_value == pytest.approx(wilcoxon(difference.round(12)).pvalue)
    drawn = np.random.default_rng(1).choice(difference, size=(20_000, USERS)).mean(axis=1)
    assert [tests["TIGER"].low, tests["TIGER"].high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)


def test_equal_rows_do_not_differ():
    seeds = [make_result("A", seed) for seed in (1, 2, 3)]
    same = [make_result("B", seed) for seed in (3, 1, 2)]  # summed in another order, the last digits differ
    test = Comparison(PROVENANCE, [*seeds, *same]).paired_tests()["A"]
    assert test == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_winner_is_one():
    worse, better = make_result("worse", ranks=[0, 9] * 20), make_result("better", ranks=[1, 2] * 20)
    test = Comparison(PROVENANCE, [worse, better]).paired_tests()["worse"]
    assert 0 < test.low < test.difference < test.high
    assert test.p_value < 0.001


def test_tests_go_no_deeper_than_the_lists():
    shallow = make_result("TIGER", topk=(3,), ranks=[3, 0] * 20, settings={"valid_metric": "NDCG@3"})
    comparison = Comparison(PROVENANCE, [shallow, make_result("SASRec", ranks=[4, 3] * 20)])
    assert comparison.cut == 3
    assert comparison.paired_tests()["TIGER"].difference == 0  # 4 counts as a miss
    page = markdown(comparison)
    assert "NDCG@3" in page and "recall@3" in page.splitlines()[2]


def test_rows_tested_on_other_targets_are_refused():
    one, other = make_result("TIGER"), make_result("BPR")
    Comparison(PROVENANCE, [one, other]).check_same_targets()
    other.targets = other.targets.copy()
    other.targets[[3, 9]] = "xx"
    with pytest.raises(ValueError, match=r"TIGER and BPR .*: 2 users differ, e.g. user u3: i3 and xx"):
        Comparison(PROVENANCE, [one, other]).check_same_targets()
    fewer = make_result("Pop", ranks=[1] * (USERS - 1))
    with pytest.raises(ValueError, match=r"1 users differ, e.g. user u39: i4 and None.*user_inter_num_interval"):
        Comparison(PROVENANCE, [one, fewer]).check_same_targets()


def test_means_and_standard_deviations_over_seeds():
    comparison = Comparison(PROVENANCE, [make_result(seed=seed) for seed in (1, 2, 6)])
    row, costs = comparison.accuracy_table()[0], comparison.cost_table()[0]
    assert row["recall@10"] == f"{0.3:.4f} ± {np.std([0.1, 0.2, 0.6], ddof=1):.4f}"
    assert row["ndcg@10 masked"] == f"{0.6:.4f} ± {2 * np.std([0.1, 0.2, 0.6], ddof=1):.4f}"
    assert costs["Epochs"] == "3/3/3"
    assert costs["ms/user"] == "65.0/65.0/65.0"  # 2.6 s, 40 users
    assert Comparison(PROVENANCE, [make_result(seed=2)]).accuracy_table()[0]["recall@10"] == "0.2000"


def test_one_seed_has_an_interval_over_users():
    run = make_result(ranks=[1] * 10 + [0] * 30)
    half = 1.96 * np.std([1.0] * 10 + [0.0] * 30, ddof=1) / np.sqrt(40)
    assert Comparison(PROVENANCE, [run]).accuracy_table()[0]["± 95 %"] == f"{half:.4f}"


def test_the_table_shows_headlines_and_the_files_everything():
    comparison = Comparison(PROVENANCE, [make_result()])
    shown = ["Model", "recall@10", "ndcg@10", "± 95 %", "recall@10 masked", "ndcg@10 masked", "valid ndcg@10"]
    assert list(comparison.accuracy_table()[0]) == shown
    assert list(comparison.cost_table()[0]) == ["Model", "id@10", "Weights", "Epochs", "Train s", "ms/user"]
    assert {"mrr@10", "recall@5 masked", "id@5", "ms/user"} < set(comparison.full_table()[0])


def test_the_validation_that_rows_are_chosen_by_stands_last():
    runs = [make_result(seed=seed, valid={"ndcg@10": value}) for seed, value in ((1, 0.1), (2, 0.3))]
    (row,) = Comparison(PROVENANCE, runs).accuracy_table()
    assert list(row)[-1] == "valid ndcg@10" and row["valid ndcg@10"] == "0.2000 ± 0.1414"
    assert Comparison(PROVENANCE, runs).full_table()[0]["valid ndcg@10"] == "0.2000 ± 0.1414"
    assert "valid ndcg@10" not in Comparison(PROVENANCE, [make_result(valid={})]).accuracy_table()[0]


def test_what_some_seeds_say_names_them():
    notes = {1: ["memory 3"], 2: ["memory 5"], 3: ["memory 3", "a copy"]}
    page = markdown(Comparison(PROVENANCE, [make_result(seed=seed, notes=of) for seed, of in notes.items()]))
    assert "- TIGER, seeds 1, 3: memory 3.\n- TIGER, seed 2: memory 5.\n- TIGER, seed 3: a copy.\n" in page
    assert "- TIGER: memory 3." in markdown(Comparison(PROVENANCE, [make_result(notes=["memory 3"])]))


def test_tables_can_be_read_at_a_hundred_columns():
    semantic_ids = {"colliding": 0.0312, "used": 0.875, "user_supplied": False}
    id_level = {f"{part}@10": 0.5 for part in ("id", "text", "image")}
    runs = [make_result(label, id_level=id_level, semantic_ids=semantic_ids) for label in ("MGRLFpp", "TIGER, text")]
    for run in runs:
        run.repeated = np.arange(USERS) < 4
    tables = [line for line in markdown(Comparison(PROVENANCE, runs)).splitlines() if line.startswith("|")]
    assert len(tables) == 12 and max(map(len, tables)) <= 100
    assert "| 3.1% | 88% |" in tables[-1]


def test_targets_that_repeat_the_history_are_told_apart():
    ranks = [1] * 8 + [0] * 2 + [2] * 6 + [0] * 24
    run = make_result(ranks=ranks, repeated=np.arange(USERS) < 10)
    (row,) = Comparison(PROVENANCE, [run]).target_table()
    assert row == {
        "Model": "TIGER",
        "recall@10 repeated": "0.8000",
        "ndcg@10 repeated": "0.8000",
        "recall@10 new": "0.2000",
        "ndcg@10 new": f"{0.2 / np.log2(3):.4f}",
    }
    page = markdown(Comparison(PROVENANCE, [run]))
    assert "10 of 40 targets (25.0%) repeat an item of their user's history" in page
    assert "those columns count the users with a new target alone" in page
    for repeated in (None, np.zeros(USERS, dtype=bool)):
        run.repeated = repeated
        assert Comparison(PROVENANCE, [run]).target_table() == []
        assert "repeat" not in markdown(Comparison(PROVENANCE, [run]))


def test_the_page_says_how_each_checkpoint_was_chosen():
    validated = make_result("TIGER", settings={"valid_users": 500})
    never = make_result("SASRec", valid={}, settings={"valid_users": None})
    masked = make_result("BPR", settings={"mask_history": True})
    page = markdown(Comparison(PROVENANCE, [validated, never, masked]))
    assert "TIGER: chosen on validation only, by NDCG@10 of a fixed sample of 500 users." in page
    assert "SASRec: not chosen by validation, for there was none; the last epoch was tested." in page
    assert "BPR: chosen on validation only, by NDCG@10, seen items masked." in page
    assert "Checkpoints: chosen on validation only, by NDCG@10." in markdown(Comparison(PROVENANCE, [make_result()]))


def test_the_page_names_user_supplied_semantic_ids():
    supplied = {"colliding": 0.0, "used": 1.0, "user_supplied": True}
    runs = [
        make_result("TIGER", semantic_ids=supplied),
        make_result("MGRLF", semantic_ids={**supplied, "user_supplied": False}),
    ]
    assert "User-supplied semantic IDs: TIGER." in markdown(Comparison(PROVENANCE, runs))


def test_the_page_states_the_protocol():
    general = {"MODEL_TYPE": "ModelType.GENERAL"}
    baseline = make_result("BPR", 1, id_level={}, settings=general)
    aligned = make_result("MGRLFpp", 1, alignment={"before": 0.125, "after": 0.75})
    page = markdown(Comparison(PROVENANCE, [baseline, make_result("TIGER", 1), aligned]))
    lines = page.splitlines()
    assert lines[0] == "### Beauty (synthetic sample)"
    assert [line.count("|") for line in lines[2:7]] == [lines[2].count("|")] * 5
    assert lines[4].startswith("| BPR | 0.1000 |")
    assert "40 users, one target each, ranked among all 1,234 items, split {'LS': 'valid_and_test'}" in page
    assert "MGRLFpp against BPR: NDCG@10" in page
    assert "MGRLFpp against TIGER: NDCG@10" in page
    assert "MGRLFpp: cross-modal retrieval accuracy 0.1250 before alignment, 0.7500 after" in page
    assert "Data: made up (fingerprint 0123456789ab)" in page
    assert "Seeds: 1." in page
    sampled = markdown(Comparison(PROVENANCE, [make_result(mode="uni100")]))
    assert "ranked among it and sampled items (uni100)" in sampled
    assert "all 1,234 items" not in sampled


def test_every_written_file_carries_the_datas_label(tmp_path):
    results = [make_result(label, seed) for label in ("SASRec", "TIGER") for seed in (1, 2)]
    comparison = Comparison(PROVENANCE, results)
    save(comparison, tmp_path / "table")
    assert (tmp_path / "table" / "table.md").read_text(encoding="utf-8") == markdown(comparison)
    rows = list(csv.DictReader((tmp_path / "table" / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["Data"], row["Model"]) for row in rows] == [
        ("Beauty (synthetic sample)", "SASRec"),
        ("Beauty (synthetic sample)", "TIGER"),
    ]
    assert rows[0]["mrr@5"] == "0.1500 ± 0.0707"
    content = json.loads((tmp_path / "table" / "table.json").read_text(encoding="utf-8"))
    assert content["data"] == {"label": PROVENANCE.label, "fingerprint": "0123456789ab", "details": PROVENANCE.details}
    assert content["paired_tests_of_last_row"]["SASRec"] == comparison.paired_tests()["SASRec"]._asdict()
    assert [(run["label"], run["seed"]) for run in content["runs"]] == [(r.label, r.seed) for r in results]


def test_a_table_has_one_protocol():
    one = make_result("A", ranks=[1] * USERS)
    with pytest.raises(ValueError, match="A ranked 1234 items, B 999"):
        Comparison(PROVENANCE, [one, make_result("B", ranks=[1] * USERS, num_items=999)]).check_same_targets()
    with pytest.raises(ValueError, match="A and B differ in eval_args"):
        Comparison(PROVENANCE, [one, make_result("B", ranks=[1] * USERS, mode="uni100")]).check_same_targets()
    with pytest.raises(ValueError, match="A and B differ in topk"):
        Comparison(PROVENANCE, [one, make_result("B", ranks=[1] * USERS, topk=(10,))]).check_same_targets()
