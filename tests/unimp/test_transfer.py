"""Going on from a trained run with another data set: what is taken over, what is not, and what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.utils import init_seed
from tiny_shop import shop_settings, write_shop

from recbole_mgr.integration.config import make_config
from recbole_mgr.integration.dataset import read_dataset
from recbole_mgr.run.identity import RunIdentity, shared_data
from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.serving.run_directory import read_run
from recbole_mgr.unimp.new_tokens import JoinedEmbedding
from recbole_mgr.unimp.transfer import InitialRun


def write_other_shop(folder, write_dataset):
    """The shop with its vectors in another order, two items of the same ones, and the ratings 3 and 5 for 2 and 5."""
    path = write_shop(folder, write_dataset)
    for modality in ("text", "image"):
        vectors = np.load(path / f"tiny.{modality}.npy")[::-1].copy()
        vectors[1] = vectors[0]
        np.save(path / f"tiny.{modality}.npy", vectors)
    rows = (path / "tiny.inter").read_text().splitlines()
    (path / "tiny.inter").write_text("\n".join(row[:-1] + "3" if row.endswith("\t2") else row for row in rows) + "\n")


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("here"))  # RecBole's trainers leave log files where they run
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory, write_dataset, tiny_settings):
    """Settings of both shops, and the run directory of the first one's."""
    folder = tmp_path_factory.mktemp("shops")
    write_shop(folder / "first", write_dataset)
    write_other_shop(folder / "second", write_dataset)
    small = {"tasks": "rec,preference", "num_threads": 1}
    first = shop_settings(tiny_settings, folder / "first", **small)
    run_comparison([ModelRequest("UniMP", {})], "tiny", settings=first)
    (run_dir,) = (folder / "first" / "saved").glob("tiny*/UniMP-*/seed-*")
    return shop_settings(tiny_settings, folder / "second", initial_run=str(run_dir), **small), run_dir


class ForDataAlone(InitialRun):
    """Gives the data set its quantisers and words, and no model its weights."""

    def give_to(self, model):
        pass


def initial(run_dir):
    return InitialRun.of(run_dir, read_run(run_dir))


def built(settings, run):
    config = make_config("UniMP", "tiny", [], settings)
    dataset = read_dataset(config)
    dataset.initial_run = run
    parts = dataset.build()
    init_seed(1, True)
    return config.model_class(config, parts[0])


def rows_of_ratings(model, values):
    vocabulary, new = model.personal.vocabulary, model.backbone.lm.get_input_embeddings().new
    places = [model.personal.rating_values.tolist().index(value) for value in values]
    return new[vocabulary.rating_ids[places] - vocabulary.base_size]


def test_the_network_is_that_of_the_run_but_for_what_only_the_new_shop_has(world):
    settings, run_dir = world
    run = initial(run_dir)
    model, untouched = (built({**settings, "memory": True}, given) for given in (run, ForDataAlone(*run)))
    ours, theirs, before = (network.state_dict() for network in (model, run.network, untouched))
    new = [name for name in ours if name.endswith(".new")]
    whole = [name for name in ours if name.startswith("backbone.") and name not in new]
    assert len(new) == 2 and len(whole) > 20
    assert all(torch.equal(ours[name], theirs[name]) for name in whole)
    assert any(not torch.equal(ours[name], before[name]) for name in whole)
    assert all(torch.equal(ours[name], before[name]) for name in ours if not name.startswith("backbone."))

    assert torch.equal(rows_of_ratings(model, [5]), rows_of_ratings(run.network, [5]))
    assert torch.equal(rows_of_ratings(model, [3]), rows_of_ratings(untouched, [3]))
    for depth in range(2):  # of two levels; the collision digit comes after them
        digits, there = (m.personal.vocabulary.digit_ids(depth) for m in (model, run.network))
        base, base_there = (m.personal.vocabulary.base_size for m in (model, run.network))
        for name in new:
            learned = theirs[name][there.start - base_there : there.stop - base_there]
            assert torch.equal(ours[name][digits.start - base : digits.stop - base], learned)


def test_codes_mean_what_they_meant_in_the_first_shop(world):
    settings, run_dir = world
    run = initial(run_dir)
    model = built(settings, run)
    here, there = model.personal.table, run.network.personal.table
    assert [digit.name for digit in here.digits[:2]] == [digit.name for digit in there.digits[:2]]
    tokens = Path(settings["data_path"], "tiny", "tiny.text.ids").read_text().split()
    same_vectors = list(zip(tokens[2:], tokens[::-1][2:], strict=True))  # here in the other order
    assert len(same_vectors) > 20
    for item, other in same_vectors:
        codes = [table.codes[1 + table.item_tokens.index(token), :2] for table, token in ((here, item), (there, other))]
        assert codes[0].tolist() == codes[1].tolist()
    assert model.personal.tokenizer.get_vocab() == run.network.personal.tokenizer.get_vocab()


def test_a_run_goes_on_and_stands_alone(world, tmp_path):
    settings, run_dir = world
    comparison = run_comparison([ModelRequest("UniMP", {})], "tiny", settings=settings)
    assert "started from a network trained on tiny" in comparison.results[0].notes
    away = run_dir.rename(tmp_path / "away")
    try:
        assert read_run(comparison.folders[0]).tokenizer.quantizers.keys() == {"fused"}
    finally:
        away.rename(run_dir)


def test_another_initial_run_is_another_training_wherever_it_lies(world, tmp_path):
    settings, run_dir = world
    of = RunIdentity.of(make_config("UniMP", "tiny", [], settings))
    assert "initial_run" in of.files and "initial_run" not in of.settings
    copied = shutil.copytree(run_dir, tmp_path / "copied")
    again = {**settings, "initial_run": str(copied)}
    assert RunIdentity.of(make_config("UniMP", "tiny", [], again)).training_digest == of.training_digest
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert RunIdentity.of(make_config("UniMP", "tiny", [], again)).training_digest != of.training_digest


def test_atomic_ids_are_not_taken_for_those_of_other_items(world, tmp_path):
    settings, _ = world
    first = {**settings, "initial_run": None, "item_ids": "atomic", "checkpoint_dir": str(tmp_path)}
    folder = run_comparison([ModelRequest("UniMP", {})], "tiny", settings=first).folders[0]
    run, second = initial(folder), {**first, "initial_run": str(folder)}
    model, untouched = (built(second, given) for given in (run, ForDataAlone(*run)))
    (embedding, before), own = (
        [next(m for m in network.modules() if isinstance(m, JoinedEmbedding)).new for network in (model, untouched)],
        model.personal.vocabulary,
    )
    digit = slice(own.digit_ids(0).start - own.base_size, None)
    assert torch.equal(embedding[digit], before[digit])
    assert not torch.equal(embedding[: digit.start], before[: digit.start])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"hidden_size": 32}, "hidden_size: 32, but the initial_run .* was trained with 16; set hidden_size to that"),
        ({"n_layers": 2}, "n_layers: 2, but the initial_run"),
        ({"codebook_levels": 3}, "codebook_levels: 3, but the initial_run .* with 2"),
        ({"modalities": ["text"]}, "modalities: .*'text'.*, but the initial_run"),
        ({"bpe_vocabulary": 400}, "bpe_vocabulary: 400, but the initial_run"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(world, changes, error):
    settings, run_dir = world
    with pytest.raises(ValueError, match=error):
        built({**settings, **changes}, initial(run_dir))


@pytest.mark.parametrize(
    ("changes", "removed", "error"),
    [
        ({"hidden_size": 32}, (), "second: hidden_size: 32, but the initial_run"),
        ({}, ("run.yaml",), "second: .*run.yaml does not exist; name the folder of a finished run"),
        ({}, ("model.safetensors",), "second: .*model.safetensors does not exist; name the folder of a finished run"),
    ],
)
def test_a_table_is_refused_before_its_first_row_where_a_run_does_not_fit(world, tmp_path, changes, removed, error):
    settings, run_dir = world
    copied = shutil.copytree(run_dir, tmp_path / "copied")
    for name in removed:
        (copied / name).unlink()
    rows = {
        "first": make_config("UniMP", "tiny", [], settings),
        "second": make_config("UniMP", "tiny", [], {**settings, **changes, "initial_run": str(copied)}),
    }
    with pytest.raises(ValueError, match=error):
        shared_data(rows, "tiny")


def test_a_network_that_sees_no_pictures_does_not_fit_one_that_does(world):
    settings, run_dir = world
    with pytest.raises(ValueError, match="initial_run: .* only one of the two runs sees pictures; .*image_attention"):
        built({**settings, "image_attention": "none"}, initial(run_dir))


def test_user_supplied_ids_and_runs_of_other_models_are_refused(world):
    settings, run_dir = world
    run = initial(run_dir)
    with pytest.raises(ValueError, match="its semantic IDs were user-supplied; name a run that made its own"):
        built(settings, run._replace(settings={**run.settings, "semantic_ids": "own.tsv"}))
    with pytest.raises(ValueError, match="is a run of MGRLF; name one of UniMP"):
        built(settings, run._replace(settings={**run.settings, "model": "MGRLF"}))


def test_vectors_of_another_encoder_are_refused(world, tmp_path):
    settings, run_dir = world
    copied = shutil.copytree(run_dir, tmp_path / "copied")
    (copied / "encoders").mkdir()
    (copied / "encoders" / "text.yaml").write_text("fingerprint: abc\n")
    with pytest.raises(ValueError, match="vectors were made nobody knows how.*encode tiny .*--like"):
        built(settings, initial(copied))


def test_where_nothing_says_how_vectors_were_made_that_is_told(world, caplog):
    settings, run_dir = world
    with caplog.at_level("WARNING"):
        built(settings, initial(run_dir))
    assert "nothing says how the 'text' vectors" in caplog.text


def test_ids_of_ones_own_and_those_by_the_run_contradict_each_other(world):
    settings, run_dir = world
    own = str(run_dir / "best.semantic_ids.tsv")
    with pytest.raises(ValueError, match="semantic_ids: with initial_run its quantisers give the items their IDs"):
        make_config("UniMP", "tiny", [], {**settings, "semantic_ids": own})
