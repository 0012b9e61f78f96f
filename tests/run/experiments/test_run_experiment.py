"""Running an experiment, with a stand-in for training that leaves results with known ranks."""

import numpy as np
import pytest
import yaml

import recbole_mgr.run.experiments.plan as plan_module
from recbole_mgr.files import write_text
from recbole_mgr.integration.config import plain_settings
from recbole_mgr.integration.trackers import TENSORBOARD_FOLDER
from recbole_mgr.run.experiments.definition import Experiment, Row
from recbole_mgr.run.experiments.plan import make_plan
from recbole_mgr.run.experiments.run import run_experiment
from recbole_mgr.run.identity import (
    RunIdentity,
    about_run,
    is_trained,
    result_directory,
    run_directory,
    run_of_result,
)
from recbole_mgr.run.results import RunResult

USERS = 40
LABELS = ["best", "good", "plain"]


@pytest.fixture
def trained(monkeypatch):
    """[(model, beam size, seed, quantiser's seed)] of what was trained; a row's rank is told by its beam size."""
    trained = []

    def run_one(config, label, provenance, tracker):
        tracker.begin()
        beam, seed = config["beam_size"], config["seed"]
        trained.append((label, beam, seed, config["semantic_id_seed"]))
        ranks = np.full(USERS, beam - 9)
        ranks[: seed * (config["semantic_id_seed"] < 10)] = 0  # quantisers of their own miss more
        recall, ndcg = (ranks > 0).mean(), ((ranks > 0) / np.log2(ranks + 1.0 + (ranks == 0))).mean()
        metrics = {"recall@10": recall, "ndcg@10": ndcg}
        result = RunResult(
            data=provenance.label,
            label=label,
            model=label,
            seed=seed,
            valid=metrics,
            test=metrics,
            test_masked=metrics,
            id_level={},
            ranks=ranks,
            ranks_masked=ranks,
            users=np.array([f"u{n}" for n in range(USERS)]),
            targets=np.array(["i1"] * USERS),
            num_items=24,
            epochs=1,
            train_seconds=1.0,
            test_seconds=1.0,
            parameters=1,
            alignment={},
            settings=plain_settings(config),
            environment={},
        )
        identity = RunIdentity.of(config)
        run_dir = run_directory(config, provenance, identity)
        folder = result_directory(run_dir, identity)
        assert run_of_result(folder) == run_dir  # rows that differ in their beams alone share a run
        if not is_trained(run_dir):
            write_text(run_dir / "settings.yaml", yaml.safe_dump(about_run(config, provenance, identity, "1")))
        result.save(folder, run_dir)
        tracker.finish(metrics, [])

    monkeypatch.setattr(plan_module, "run_one", run_one)
    return trained


@pytest.fixture
def make(tmp_path, write_dataset, tiny_settings):
    """(**changes) -> plan of three rows with ranks 1, 2 and 3; the reference stands first in the file."""
    write_dataset(tmp_path)
    settings = {**tiny_settings(tmp_path), "topk": [10], "valid_beam_size": 10}
    rows = [Row(label, "TIGER", {"beam_size": 10 + place}) for place, label in enumerate(LABELS)]

    def make(**changes):
        return make_plan(
            Experiment("mine", "Mine", "tiny", settings, [1, 2], "once", "best", rows)._replace(**changes), {}
        )

    return make


def run(plan, tmp_path, labels=LABELS, seeds=(1, 2)) -> str:
    return (run_experiment(plan, tmp_path / "results", labels=labels, seeds=seeds) / "table.md").read_text()


def rows_of(page: str, corner: str = "Model") -> dict[str, list[str]]:
    """Label -> cells of the table with this word in its first cell."""
    first = page[page.index(f"| {corner}") :].split("\n\n")[0]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in first.splitlines()]
    return {cells[0]: cells[1:] for cells in lines}


def test_rows_run_in_order_and_the_reference_is_tested_against_each(trained, make, tmp_path):
    table = run(make(), tmp_path)
    assert [(beam, seed) for _, beam, seed, _ in trained] == [(10 + row, seed) for seed in (1, 2) for row in range(3)]
    header, rows = rows_of(table)["Model"], rows_of(table)
    ndcg = header.index("ndcg@10")
    expected = {"best": "1.0000 ± 0.0000", "good": "0.6309 ± 0.0000", "plain": "0.5000 ± 0.0000"}
    assert {label: rows[label][ndcg] for label in LABELS} == expected
    assert "best against good: NDCG@10 +0.3691" in table and "best against plain: NDCG@10 +0.5000" in table
    assert "plain against" not in table
    assert "6 of 6 runs are done" in table
    assert "one table of semantic IDs serves all seeds" in table


def test_what_is_done_is_not_done_again(trained, make, tmp_path):
    plan = make()
    first = run(plan, tmp_path)
    trained.clear()
    assert run(plan, tmp_path) == first
    assert not trained


def test_a_choice_of_rows_and_seeds_leaves_the_rest_marked(trained, make, tmp_path):
    plan = make()
    table = run(plan, tmp_path, labels=["good", "best"], seeds=[2])
    assert [(beam, seed) for _, beam, seed, _ in trained] == [(10, 2), (11, 2)]
    assert {"best (1 of 2 seeds)", "good (1 of 2 seeds)"} <= set(rows_of(table))
    assert "2 of 6 runs are done" in table
    assert "Not finished, seeds 1, 2: plain." in table and "Not finished, seeds 1: best; good." in table
    complete = run(plan, tmp_path)
    assert len(trained) == 6 and "Not finished" not in complete and "of 2 seeds" not in complete


def test_the_table_is_there_after_each_run_and_survives_a_stop(trained, make, tmp_path, monkeypatch):
    plan, seen = make(), []
    instead = plan_module.run_one

    def stopping(config, label, provenance, tracker):
        table = tmp_path / "results" / plan.folder_name / "table.md"
        seen.append(table.read_text().count("of 2 seeds"))
        if len(seen) == 3:
            raise KeyboardInterrupt
        instead(config, label, provenance, tracker)

    monkeypatch.setattr(plan_module, "run_one", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path)
    table = (tmp_path / "results" / plan.folder_name / "table.md").read_text()
    assert "2 of 6 runs are done" in table
    assert (tmp_path / "results" / plan.folder_name / "runs.tsv").read_text().count("\n") == 3


def test_both_variances_stand_side_by_side(trained, make, tmp_path):
    table = run(make(retrain_quantizer="both"), tmp_path)
    assert len(trained) == 12
    assert {quantizer for *_, quantizer in trained[:6]} == {2020}
    assert [quantizer for *_, quantizer in trained[6:]] == [1, 1, 1, 2, 2, 2]
    spreads = rows_of(table, "Mean ± SD over seeds")
    shown = dict(zip(spreads["Mean ± SD over seeds"], spreads["best"], strict=True))
    assert shown["recall@10, quantiser kept"] == "1.0000 ± 0.0000 (2 seeds)"
    hits = [1 - seed / USERS for seed in (1, 2)]
    assert shown["recall@10, quantiser retrained"] == f"{np.mean(hits):.4f} ± {np.std(hits, ddof=1):.4f} (2 seeds)"


def test_rows_and_seeds_that_are_none_are_refused(trained, make, tmp_path):
    plan = make()
    with pytest.raises(ValueError, match="--rows worst: the experiment has best, good, plain"):
        run(plan, tmp_path, labels=["worst"])
    with pytest.raises(ValueError, match="--seeds 3: the experiment has 1, 2"):
        run(plan, tmp_path, seeds=[3])
    assert not trained


def test_each_run_that_was_followed_keeps_the_table(trained, make, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    plan = make(settings={**make().experiment.settings, "tracker": "tensorboard"})
    table = run(plan, tmp_path)
    for planned in plan.runs:
        place = planned.result_dir.parts[len(planned.run_dir.parts) - 3 :]
        events = EventAccumulator(str(TENSORBOARD_FOLDER.joinpath(*place))).Reload()
        assert [event.value for event in events.Scalars("recall@10")] == [
            pytest.approx(planned.result().test["recall@10"])
        ]
        (kept,) = events.Tensors("table.md/text_summary")
        assert kept.tensor_proto.string_val[0].decode() == table
