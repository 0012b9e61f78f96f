"""Run directories as they stand: found, labelled, and refused when they do not belong together."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.reporting.analysis.cross_modal import cross_modal_accuracies
from recbole_mgr.reporting.analysis.report import analyse
from recbole_mgr.reporting.analysis.runs import read_runs
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.serving.run_directory import read_run


@pytest.fixture(scope="module")
def saved(tmp_path_factory, write_dataset, tiny_settings) -> Path:
    """LF with either backbone, and TIGER."""
    folder = tmp_path_factory.mktemp("runs")
    write_dataset(folder)
    settings = tiny_settings(folder, n_layers=1, t5_head_size=8, num_threads=1)
    requests = [ModelRequest("TIGER", {}), *(ModelRequest("MGRLF", {"backbone": b}) for b in ("hierarchical", "t5"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_comparison(requests, "tiny", settings=settings)
    return folder / "saved"


def test_runs_are_found_below_and_by_name(saved):
    comparison, runs = read_runs([saved])
    assert {run.result.model for run in runs} == {"TIGER", "MGRLF"} and len(runs) == 3
    assert all(set(run.semantic_ids.item_tokens) == {f"i{n}" for n in range(24)} for run in runs)
    assert read_runs([run.folder for run in runs])[0].rows.keys() == comparison.rows.keys()


def test_runs_that_were_trained_otherwise_are_no_seeds_of_one_row(saved, tmp_path):
    """As experiments leave them, which name results by their models alone."""
    folders = [
        shutil.copytree(run.folder, tmp_path / f"run {place}") for place, run in enumerate(read_runs([saved])[1])
    ]
    for folder in folders:
        result = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps({**result, "label": result["model"]}))
        (folder / "run.yaml").unlink()  # it has the files' digests
    comparison, runs = read_runs([tmp_path])
    assert len(comparison.rows) == 3 and "TIGER" in comparison.rows
    digests = {run.result.label.removeprefix("MGRLF-") for run in runs} - {"TIGER"}
    assert {path.parent.name.removeprefix("MGRLF-") for path in saved.glob("*/MGRLF-*/seed-*")} == digests


def test_a_table_names_its_runs(saved, tmp_path):
    folders = [run.folder for run in read_runs([saved])[1]]
    lines = [f"row {number}\t1\t{folder}" for number, folder in enumerate(folders)]
    (tmp_path / "runs.tsv").write_text("\n".join(["label\tseed\trun_dir", *lines]) + "\n")
    assert list(read_runs([tmp_path])[0].rows) == ["row 0", "row 1", "row 2"]
    (tmp_path / "runs.tsv").write_text("label\tseed\trun_dir\ngone\t1\tnowhere\n")
    with pytest.raises(ValueError, match="nowhere is gone; run the experiment again"):
        read_runs([tmp_path])


def test_runs_of_other_data_or_none_are_refused(saved, tmp_path, write_dataset, tiny_settings, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path, num_users=9)
    run_comparison([ModelRequest("TIGER", {})], "tiny", settings=tiny_settings(tmp_path, n_layers=1))
    with pytest.raises(ValueError, match="not tested on the same targets"):
        read_runs([saved, tmp_path / "saved"])
    with pytest.raises(ValueError, match="no finished run is here or below"):
        read_runs([tmp_path / "tiny"])


@pytest.mark.parametrize("backbone", ["hierarchical", "t5"])
def test_cross_modal_accuracy_reads_histories_and_weights_of_the_run(saved, tmp_path, backbone):
    folders = saved.glob("*/MGRLF-*/seed-*")
    (folder,) = [path for path in folders if f"backbone: {backbone}\n" in (path / "settings.yaml").read_text()]
    users = np.array([f"u{n}" for n in range(30)])
    (found,) = cross_modal_accuracies(folder, users, num_users=1000)
    run = read_run(folder)
    sequences = [run.histories.of_user(f"u{n}").astype(np.int64) for n in range(30)]
    assert found.first_free == pytest.approx(share_of_first_codes(run.network, sequences))
    (fewer,) = cross_modal_accuracies(folder, users, num_users=1)
    assert fewer.first_free in (0, 1)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "histories.npz").unlink()
    with pytest.raises(ValueError, match="histories.npz does not exist, so the users' histories are not known"):
        cross_modal_accuracies(copy, users, num_users=10)


@torch.no_grad()
def share_of_first_codes(network: GenerativeRecommender, sequences: list[np.ndarray]) -> float:
    """How often the likeliest first image code is the target's, one user at a time and without padding."""
    table, backbone, right = network.semantic_ids, network.backbone, []
    backbone.code_softmax = "full"
    for *history, target in (sequence.tolist() for sequence in sequences):
        state = backbone.start(torch.tensor([history]), torch.tensor([len(history)]))
        first, codes, parents = table.block("image").start, None, None
        for depth in range(first + 1):
            nodes = network.trie.path(torch.tensor([[target]]))[..., depth]
            logits, state = backbone.step(depth, nodes, codes, parents, state)
            codes, parents = table.codes[target, depth].view(1, 1), torch.zeros(1, 1, dtype=torch.long)
        right.append(logits.argmax() == codes)
    return float(np.mean(right))


def test_each_analysis_has_its_rows(saved):
    comparison, runs = read_runs([saved])
    analyses = {analysis.name: analysis for analysis in analyse(comparison, runs, num_users=5)}
    assert {row["IDs"] for row in analyses["modality_dominance"].rows} == {"text against image"}
    correspondence = analyses["modality_correspondence"].rows
    assert [row["Model"] for row in correspondence] == [label for label in comparison.rows if "MGRLF" in label]
    for row in correspondence:
        (result,) = comparison.rows[row["Model"]]
        assert row["image codes only"] == f"{result.id_level['image@10']:.4f}"
        assert row["full ID"] == f"{result.id_level['id@10']:.4f}"
    assert len(analyses["cross_modal"].rows) == 2
    assert len(analyses["overlap_pairs"].rows) == 3
