"""After ``import recbole_mgr``, RecBole's own entrances serve our models."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from recbole_mgr.integration import registry
from recbole_mgr.integration.dataset import GenerativeDataset
from recbole_mgr.integration.registry import MODELS, is_generative, model_class
from recbole_mgr.integration.trainer import GenerativeTrainer
from recbole_mgr.model.generative import GenerativeRecommender

registry.install()  # done by the import; RecBole's quick start can be imported only after it

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset  # noqa: E402
from recbole.quick_start import load_data_and_model, objective_function, run_recbole  # noqa: E402
from recbole.trainer import HyperTuning, Trainer  # noqa: E402
from recbole.utils import ModelType, get_model, get_trainer  # noqa: E402


@pytest.fixture
def settings(tmp_path, write_dataset, tiny_settings, monkeypatch):
    """Settings of a data set in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["host_program", "--workers=8", "report.txt"])
    write_dataset(tmp_path, modalities=("text", "image"))
    return tiny_settings(tmp_path, n_layers=1, checkpoint_dir="saved")


@pytest.mark.parametrize("name", MODELS)
def test_recboles_look_ups_find_our_classes(name, settings):
    assert issubclass(get_model(name), GenerativeRecommender)
    assert get_model(name).__name__ == name
    assert model_class(name) is get_model(name)
    trainer_class = get_trainer(ModelType.SEQUENTIAL, name)
    assert trainer_class.__name__ == "UniMPTrainer" if name == "UniMP" else trainer_class is GenerativeTrainer
    layers = {"n_layers": 2}  # the second of UniMP's sees pictures
    config = Config(model=name, dataset="tiny", config_dict=settings | layers)
    assert config["code_softmax"] == "legal" and config["MODEL_TYPE"] is ModelType.SEQUENTIAL
    dataset = create_dataset(config)
    assert isinstance(dataset, GenerativeDataset)
    assert type(dataset).__name__ == ("UniMPDataset" if name == "UniMP" else "GenerativeDataset")
    assert is_generative(name) and not is_generative("SASRec")


def test_recboles_own_models_are_found_as_before():
    assert get_model("SASRec").__module__ == "recbole.model.sequential_recommender.sasrec"
    assert get_trainer(ModelType.SEQUENTIAL, "SASRec") is Trainer
    assert model_class("BPR") is get_model("BPR")


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("MGRLF++", "MGRLF"),
        ("mgrlfpp", "MGRLFpp"),
        ("sasrec", "SASRec"),
        ("Tigger", "TIGER"),
        ("xyzzy", "TIGER or MGREF"),
    ],
)
def test_an_unknown_model_is_answered_with_its_neighbours(name, suggestion):
    with pytest.raises(ValueError, match=f"--model .*no such model. Did you mean .*{suggestion}"):
        model_class(name)


def test_installing_twice_changes_nothing():
    finders, hook = list(sys.meta_path), Config._load_internal_config_dict
    registry.install()
    assert sys.meta_path == finders
    assert Config._load_internal_config_dict is hook


@pytest.fixture
def trained(settings):
    result = run_recbole(model="MGRLFpp", dataset="tiny", config_dict={**settings, "codebook_levels": 3})
    (file,) = Path("saved").glob("MGRLFpp-*.pth")
    return file, result


def test_a_run_of_recboles_quick_start_is_loaded_with_its_own_semantic_ids(trained):
    file, result = trained
    assert set(result["test_result"]) == {f"{metric}@{k}" for metric in ("recall", "ndcg", "mrr") for k in (5, 10)}
    for features in Path("tiny").glob("tiny.[ti][em]*"):
        features.unlink()
    shutil.rmtree("saved/semantic_ids")
    config, model, dataset, train, valid, test = load_data_and_model(str(file))
    assert Path(config["semantic_ids"]).name == file.stem + ".semantic_ids.tsv"
    # none was built; what was read is kept
    assert all(file.name.startswith("supplied-") for file in Path("saved/semantic_ids").iterdir())
    saved = torch.load(file, weights_only=True)
    assert model.semantic_ids.fingerprint == saved["other_parameter"]["semantic_id_fingerprint"]
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train)
    assert trainer.evaluate(test, load_best_model=False) == result["test_result"]
    assert trainer._valid_epoch(valid)[0] == result["best_valid_score"]


def test_a_run_is_not_loaded_with_semantic_ids_of_another(trained):
    file, _ = trained
    table = file.with_suffix(".semantic_ids.tsv")
    lines = table.read_text().splitlines()
    first, second = (line.split("\t") for line in lines[-2:])
    lines[-2:] = ["\t".join([first[0], *second[1:]]), "\t".join([second[0], *first[1:]])]  # two items exchange codes
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match="restore the file or"):
        load_data_and_model(str(file))
    for description in file.parent.glob("*.yaml"):
        description.unlink()
    with pytest.raises((ValueError, RuntimeError), match="trained on semantic IDs|size mismatch"):
        load_data_and_model(str(file))


def test_hyper_tuning_tries_our_settings(settings, tmp_path):
    pytest.importorskip("hyperopt")
    fixed = tmp_path / "fixed.yaml"
    fixed.write_text(yaml.safe_dump({**settings, "model": "MGRLFpp", "dataset": "tiny"}))
    tuning = HyperTuning(
        objective_function,
        params_dict={"choice": {"codebook_levels": [1, 2]}},
        fixed_config_file_list=[str(fixed)],
        algo="exhaustive",
        max_evals=2,
    )
    tuning.run()
    assert len(tuning.score_list) == 2
    assert max(tuning.score_list) == tuning.best_score > 0
    for file in Path("saved").glob("MGRLFpp-*.pth"):  # trials of one second share a name
        load_data_and_model(str(file))


def test_unknown_settings_are_refused_where_they_are_given(settings, tmp_path):
    with pytest.raises(ValueError, match="unknown setting 'beam_sise' for model TIGER; did you mean 'beam_size'"):
        Config(model="TIGER", dataset="tiny", config_dict={**settings, "beam_sise": 20})
    file = tmp_path / "settings.yaml"
    file.write_text("alignment_epochs: 1")
    with pytest.raises(ValueError, match="unknown setting 'alignment_epochs' for model TIGER"):
        Config(model="TIGER", dataset="tiny", config_dict=settings, config_file_list=[str(file)])
    assert (
        Config(model="MGRLFpp", dataset="tiny", config_dict=settings, config_file_list=[str(file)])["alignment_epochs"]
        == 1
    )
    with pytest.raises(ValueError, match="workers"):
        Config(model="TIGER", dataset="tiny", config_dict={**settings, "workers": 8})


def test_the_host_programs_options_are_no_settings(settings):
    assert "--workers=8" in sys.argv
    assert Config(model="TIGER", dataset="tiny", config_dict=settings)["modalities"] == ["text"]
