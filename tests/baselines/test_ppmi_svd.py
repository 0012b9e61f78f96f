"""PPMI by its formula, vectors by their inner products, and the command."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_mgr.baselines.ppmi_svd import PpmiSettings, ppmi, ppmi_svd_vectors
from recbole_mgr.cli.main import main
from recbole_mgr.generation.item_memory import Sequences
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

N = 8


@pytest.fixture
def sequences():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, size=20)
    return Sequences.of(np.repeat(np.arange(20), lengths), rng.integers(1, N, size=lengths.sum()))  # item 8: nobody


def naive(sequences, window: int, power: float) -> np.ndarray:
    counts = np.zeros((N + 1, N + 1))
    for start, end in zip(sequences.starts[:-1], sequences.starts[1:], strict=True):
        items = sequences.item_ids[start:end]
        for i, a in enumerate(items):
            for j, b in enumerate(items):
                if a != b and 0 < abs(i - j) <= window:
                    counts[a, b] += 1 / abs(i - j)
    p_row, p_column = counts.sum(1) / counts.sum(), counts.sum(0) ** power / (counts.sum(0) ** power).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(counts / counts.sum() / np.outer(p_row, p_column)), 0))


@pytest.mark.parametrize(("window", "power"), [(1, 1.0), (3, 0.75), (20, 0.5)])
def test_ppmi_is_the_formula(sequences, window, power):
    np.testing.assert_allclose(
        ppmi(sequences, N, window=window, context_power=power).toarray(), naive(sequences, window, power), atol=1e-12
    )


def test_vectors_are_the_left_side_of_the_svd_with_length_one_and_the_same_each_time(sequences):
    vectors = ppmi_svd_vectors(sequences, N, PpmiSettings(dim=3))
    left, values, _ = np.linalg.svd(naive(sequences, 5, 0.75))
    expected = left[:, :3] * np.sqrt(values[:3])
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose((vectors @ vectors.T)[1:N, 1:N], (expected @ expected.T)[1:N, 1:N], atol=1e-6)
    assert not vectors[[0, N]].any()
    np.testing.assert_array_equal(vectors, ppmi_svd_vectors(sequences, N, PpmiSettings(dim=3)))


@pytest.mark.parametrize(("key", "value"), [("dim", N), ("dim", 0), ("window", 0), ("context_power", 0.0)])
def test_settings_out_of_range_are_refused_by_name(sequences, key, value):
    with pytest.raises(ValueError, match=key):
        ppmi_svd_vectors(sequences, N, PpmiSettings()._replace(**{"dim": 3, key: value}))


def test_the_command_writes_vectors_of_training_alone_that_the_guard_knows(walkers, tiny_settings, capsys):
    command = ["collaborative", "tiny", "--data_path=.", "--method", "ppmi_svd", "--dim=4", "--state=ERROR"]
    assert main(command) == 0
    assert "2 items occur in no training interaction" in capsys.readouterr().out
    assert set(Path("tiny/tiny.collaborative.ids").read_text().split()) == {f"i{n}" for n in range(12)}
    assert np.load("tiny/tiny.collaborative.npy").shape == (12, 4)
    about = yaml.safe_load((walkers / "tiny.collaborative.yaml").read_text())
    assert (about["trained_on"], about["model"], about["settings"]["dim"]) == ("interactions", "PPMI-SVD", 4)

    settings = tiny_settings(Path("."), checkpoint_dir="saved", n_layers=1, modalities=["text", "collaborative"])
    requests = [ModelRequest("MGRLF", {}), ModelRequest("ItemMemory", {})]
    assert len(run_comparison(requests, "tiny", settings=settings).results) == 2
    assert main(command) == 0  # its own files may be written again
    with open("tiny/tiny.inter", "a", encoding="utf-8") as file:
        file.write("u1\tlast\t12\n")
    own = {key: settings[key] for key in ("data_path", "checkpoint_dir", "topk", "gpu_id", "state", "modalities")}
    for request, known in ((requests[0], settings), (requests[1], own)):
        with pytest.raises(ValueError, match="trained on interactions, and this run differs"):
            run_comparison([request], "tiny", settings=known)


@pytest.mark.parametrize("wrong", [["--method", "ppmi_svd", "--model", "BPR"], ["--model", "BPR", "--dim", "4"]])
def test_options_of_the_other_method_are_refused(walkers, wrong, capsys):
    assert main(["collaborative", "tiny", "--data_path=.", *wrong]) != 0
    assert "belongs to --method" in capsys.readouterr().err
