"""Collaborative vectors: what teaches them, what is written, and that the guard knows them."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from recbole_mgr.cli.main import main
from recbole_mgr.integration.checkpoint import load_checkpoint
from recbole_mgr.run.pipeline import ModelRequest, run_comparison

QUIET = ("--topk=[5,10]", "--gpu_id=", "--show_progress=False", "--state=ERROR")


def collaborative(*arguments: str, model: str = "BPR") -> int:
    return main(["collaborative", "tiny", "--data_path=.", "--model", model, "--epochs=2", *QUIET, *arguments])


def vectors(walkers: Path) -> dict[str, np.ndarray]:
    items = (walkers / "tiny.collaborative.ids").read_text().split()
    return dict(zip(items, np.load(walkers / "tiny.collaborative.npy"), strict=True))


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "SASRec"])
def test_items_have_the_directions_of_the_baselines_vectors_and_held_out_ones_none(walkers, capsys, model):
    assert collaborative(model=model) == 0
    assert "2 items occur in no training interaction" in capsys.readouterr().out
    written = vectors(walkers)
    assert set(written) == {f"i{n}" for n in range(12)}
    (checkpoint,) = Path("saved").rglob("best.pth")
    state = load_checkpoint(checkpoint)
    weights = state["state_dict"]["item_embedding.weight"].numpy()
    if model == "LightGCN":  # scores by what its graph made of the embeddings
        assert not np.isin(np.float16(weights[1]), np.stack(list(written.values()))).all()
        weights = state["other_parameter"]["restore_item_e"].numpy()
    tokens = list(dict.fromkeys(line.split("\t")[1] for line in Path("tiny/tiny.inter").read_text().splitlines()[1:]))
    for item_id, token in enumerate(tokens, start=1):
        if token in written:
            direction = weights[item_id] / np.linalg.norm(weights[item_id])
            np.testing.assert_allclose(written[token], direction, rtol=2e-3, atol=1e-6)  # float16


def test_the_description_says_what_made_them(walkers):
    assert collaborative("--embedding_size=8") == 0
    about = yaml.safe_load((walkers / "tiny.collaborative.yaml").read_text())
    assert about["trained_on"] == "interactions"
    assert (about["model"], about["settings"]["embedding_size"], about["epochs"]) == ("BPR", 8, 2)
    assert not {"data_path", "checkpoint_dir"} & set(about["settings"])
    assert next(iter(vectors(walkers).values())).shape == (8,)


def test_the_same_again_trains_nothing_and_writes_the_same(walkers):
    assert collaborative() == 0
    before = vectors(walkers)
    trained = {file: file.stat().st_mtime_ns for file in Path("saved").rglob("*.pth")}
    assert collaborative() == 0  # although the vectors are files of the data set by now
    assert {file: file.stat().st_mtime_ns for file in Path("saved").rglob("*.pth")} == trained
    for token, vector in vectors(walkers).items():
        np.testing.assert_array_equal(vector, before[token])


def test_a_run_takes_them_as_a_modality(walkers, tiny_settings):
    assert collaborative() == 0
    settings = tiny_settings(Path("."), checkpoint_dir="saved", n_layers=1, modalities=["text", "collaborative"])
    (result,) = run_comparison([ModelRequest("MGRLF", {})], "tiny", settings=settings).results
    assert "collaborative@10" in result.id_level
    with open("tiny/tiny.inter", "a", encoding="utf-8") as file:
        file.write("u1\tlast\t12\n")
    with pytest.raises(ValueError, match="trained on interactions, and this run differs"):
        run_comparison([ModelRequest("MGRLF", {})], "tiny", settings=settings)


def test_another_folder_gets_the_files(walkers, tmp_path):
    assert collaborative("--output", str(tmp_path / "other"), "--modality", "taste") == 0
    assert sorted(file.name for file in (tmp_path / "other").iterdir()) == [
        "tiny.taste.ids",
        "tiny.taste.npy",
        "tiny.taste.yaml",
    ]
    assert not list(walkers.glob("tiny.taste*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--modality", "text"), "tiny.text.npy: exists and was not made from interactions"),
        (("--modality", "a b"), "modality 'a b' is no name"),
        (("--embeding_size=8",), "did you mean 'embedding_size'?"),
        (("--eval_args={'split': {'RS': [0.8, 0.1, 0.1]}}",), "use split {'LS': 'valid_and_test'}"),
    ],
)
def test_wrong_arguments_are_named(walkers, capsys, arguments, message):
    assert collaborative(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(walkers.glob("tiny.collaborative*"))


@pytest.mark.parametrize(
    ("model", "message"), [("MultiVAE", "keeps no item_embedding"), ("TIGER", "has no vectors of items")]
)
def test_models_without_item_vectors_are_refused(walkers, capsys, model, message):
    assert collaborative(model=model) == 2
    assert message in capsys.readouterr().err
    assert not list(walkers.glob("tiny.collaborative*"))
