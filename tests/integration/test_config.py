"""Settings: precedence, unknown keys, contradictions, literals, and the protocol that baselines share."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import recbole
import torch
import yaml
from recbole.config import Config
from recbole.utils import InputType

import recbole_mgr
from recbole_mgr.integration import config as config_module
from recbole_mgr.integration.config import (
    PROPERTIES,
    known_keys,
    make_config,
    model_properties,
    parse_value,
    plain_settings,
)
from recbole_mgr.integration.registry import CLOSED_FORM, OURS, model_class

SOURCES = sorted(Path(recbole_mgr.__file__).parent.rglob("*.py"))


def tiger(**settings):
    return make_config("TIGER", "tiny", [], settings)


# -- values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1e-3", -1e-3),
        ("True", True),
        ("false", False),
        ("None", None),
        ("~", None),
        ("[5, 10]", [5, 10]),
        ("{'LS': 'valid_and_test'}", {"LS": "valid_and_test"}),
        ("text", "text"),
        ("'3'", "3"),
        ("[4,inf)", "[4,inf)"),
        ("text+image", ["text", "image"]),
        ("5+10", [5, 10]),
        ("[Recall, NDCG,ItemCoverage]", ["Recall", "NDCG", "ItemCoverage"]),
        ("[text]", ["text"]),
        ("[4,inf]", "[4,inf]"),
        ("/tmp/c++/data", "/tmp/c++/data"),
        ("NDCG@10", "NDCG@10"),
        ("2*512", "2*512"),
        ("{[]: 1}", "{[]: 1}"),
        ("(" * 10_000, "(" * 10_000),
        ("-" * 10_000 + "1", "-" * 10_000 + "1"),
    ],
)
def test_values_are_literals(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_code_is_a_string_to_every_reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "__import__('os').system('touch pwned')"
    assert parse_value(code) == code
    with pytest.raises(ValueError, match="epochs: .*system.* must be a whole number"):
        tiger(epochs=code)
    (tmp_path / "evil.yaml").write_text(f'wandb_project: "{code}"\n')
    for model in ("TIGER", "BPR"):
        assert make_config(model, "tiny", ["evil.yaml"], {})["wandb_project"] == code
    (tmp_path / "object.yaml").write_text("epochs: !!python/object/apply:os.system ['touch pwned']\n")
    with pytest.raises(ValueError, match="object.yaml: not valid YAML"):
        make_config("BPR", "tiny", ["object.yaml"], {})
    assert not (tmp_path / "pwned").exists()


def test_files_read_numbers_as_recbole_does(tmp_path):
    (tmp_path / "a.yaml").write_text("learning_rate: 1e-3\nweight_decay: 2.5E-1\nwandb_project: 1e\n")
    config = make_config("TIGER", "tiny", [str(tmp_path / "a.yaml")], {})
    assert config["learning_rate"] == 1e-3
    assert config["weight_decay"] == 0.25
    assert config["wandb_project"] == "1e"


# -- precedence ---------------------------------------------------------------------------------------------------


@pytest.fixture
def properties(tmp_path, monkeypatch):
    """A copy of the property files that a test may change."""
    copy = tmp_path / "properties"
    shutil.copytree(PROPERTIES, copy)
    monkeypatch.setattr(config_module, "PROPERTIES", copy)
    return copy


def append(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    with open(file, "a") as opened:
        opened.write(f"\n{text}\n")


def test_each_level_wins_over_the_one_before(properties, tmp_path):
    files = [str(tmp_path / "first.yaml"), str(tmp_path / "second.yaml")]
    levels = [
        properties / "overall.yaml",
        properties / "model" / "GenerativeRecommender.yaml",
        properties / "model" / "TIGER.yaml",
        properties / "dataset" / "tiny.yaml",
        *map(Path, files),
    ]
    Path(files[0]).touch()
    Path(files[1]).touch()
    assert make_config("TIGER", "tiny", files, {})["seed"] == 2020  # RecBole's default
    for value, level in enumerate(levels):
        append(level, f"seed: {value}")
        assert make_config("TIGER", "tiny", files, {})["seed"] == value, level
    assert make_config("TIGER", "tiny", files, {"seed": 99})["seed"] == 99
    assert make_config("MGRLF", "tiny", [], {})["seed"] == 3  # TIGER's own file is not its parents'
    assert make_config("MGRLF", "other", [], {})["seed"] == 1


def test_baselines_read_our_protocol_over_recboles_files(properties, tmp_path):
    assert make_config("SASRec", "tiny", [], {})["n_layers"] == 2  # RecBole's SASRec.yaml
    append(properties / "overall.yaml", "n_layers: 5")
    assert make_config("SASRec", "tiny", [], {})["n_layers"] == 5
    append(properties / "dataset" / "tiny.yaml", "n_layers: 6")
    assert make_config("SASRec", "tiny", [], {})["n_layers"] == 6
    append(tmp_path / "a.yaml", "n_layers: 7")
    assert make_config("SASRec", "tiny", [str(tmp_path / "a.yaml")], {})["n_layers"] == 7
    assert make_config("SASRec", "tiny", [str(tmp_path / "a.yaml")], {"n_layers": 8})["n_layers"] == 8


def test_the_host_programs_arguments_are_not_ours(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pytest", "--epochs=77", "--seed=5", "--unknown=1"])
    assert tiger()["epochs"] != 77
    assert make_config("BPR", "tiny", [], {})["seed"] == 2020


# -- unknown and contradictory settings ---------------------------------------------------------------------------


def test_unknown_keys_name_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"unknown setting 'beam_sise' for model TIGER; did you mean 'beam_size'\?"):
        tiger(beam_sise=50)
    (tmp_path / "a.yaml").write_text("learning_rat: 0.1\n")
    with pytest.raises(ValueError, match=r"unknown setting 'learning_rat' .* 'learning_rate'"):
        make_config("BPR", "tiny", [str(tmp_path / "a.yaml")], {})
    with pytest.raises(ValueError, match="unknown setting 'beam_size' for model SASRec"):
        make_config("SASRec", "tiny", [], {"beam_size": 50})
    with pytest.raises(ValueError, match="unknown setting 'device'"):  # RecBole would overwrite it
        tiger(device="cuda:1")


def test_recboles_own_entry_refuses_unknown_keys_of_our_models(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--host_option=1"])
    with pytest.raises(ValueError, match="unknown setting 'beam_sise'"):
        Config(model="TIGER", dataset="tiny", config_dict={"beam_sise": 50})
    assert Config(model="TIGER", dataset="tiny", config_dict={"beam_size": 70})["beam_size"] == 70
    Config(model="BPR", dataset="tiny", config_dict={"anything": 1})  # RecBole's models stay RecBole's


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "bad.yaml: not valid YAML"), ("- 1\n- 2", "bad.yaml: expected 'key: value' lines, found a list")],
)
def test_bad_files_are_named(tmp_path, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        make_config("TIGER", "tiny", [str(tmp_path / "bad.yaml")], {})
    with pytest.raises(ValueError, match="--config_files: nowhere.yaml does not exist"):
        make_config("TIGER", "tiny", ["nowhere.yaml"], {})


CONTRADICTIONS = {
    "no such model": ("TIGRE", {}, "--model TIGRE: no such model. Did you mean TIGER"),
    "model in the settings": ("TIGER", {"model": "BPR"}, "model: BPR contradicts --model TIGER"),
    "data set in the settings": ("BPR", {"dataset": "Sports"}, "dataset: Sports contradicts --dataset tiny"),
    "cut-off not measured": (
        "TIGER",
        {"topk": [5]},
        r"valid_metric: NDCG@10 must be .* k in topk: \[5\]; add 10 to topk",
    ),
    "no cut-off": ("BPR", {"valid_metric": "NDCG"}, "valid_metric: NDCG must be written NDCG@k"),
    "cut-off in words": ("BPR", {"valid_metric": "NDCG@ten"}, "valid_metric: NDCG@ten must be written"),
    "metric not measured": (
        "TIGER",
        {"valid_metric": "Hit@10"},
        "valid_metric: Hit@10 needs Hit in metrics, .*; add it there",
    ),
    "unknown metric": ("BPR", {"metrics": ["Foo"]}, r"metrics: \['Foo'\] must be a list of RecBole's metrics: Recall"),
    "no metric": ("BPR", {"metrics": []}, "settings of BPR"),
    "score metric": ("TIGER", {"metrics": ["NDCG", "GAUC"]}, "metrics: GAUC needs a score for every item"),
    "mixed metrics": ("BPR", {"metrics": ["NDCG", "AUC"]}, "settings of BPR: Ranking metrics and value metrics"),
    "topk in words": ("TIGER", {"topk": "ten"}, "topk: 'ten' must be a list of whole numbers >= 1"),
    "topk zero": ("TIGER", {"topk": [0, 10]}, r"topk: \[0, 10\] must be a list of whole numbers >= 1"),
    "topk empty": ("TIGER", {"topk": []}, r"topk: \[\] must be a list of whole numbers"),
    "topk half": ("TIGER", {"topk": [2.5, 10]}, "topk: .* must be a list of whole numbers"),
    "random split": ("BPR", {"eval_args": {"split": {"RS": [8, 1, 1]}}}, "eval_args: split .*RS.*use split"),
    "random order": ("BPR", {"eval_args": {"order": "RO"}}, "eval_args: .* order RO"),
    "test only": ("TIGER", {"eval_args": {"split": {"LS": "test_only"}}}, "eval_args: split .*test_only"),
    "labeled": ("BPR", {"eval_args": {"mode": "labeled"}}, "eval_args: .* mode labeled"),
    "no such mode": (
        "BPR",
        {"eval_args": {"mode": "all"}},
        "eval_args: mode: 'all' must be full, labeled, or uniN or popN",
    ),
    "eval_args in words": (
        "TIGER",
        {"eval_args": "full"},
        "eval_args: 'full' must be a dictionary of split, group_by, order, mode",
    ),
    "no modality": ("TIGER", {"modalities": []}, r"modalities: \[\] must be a list of at least one"),
    "modality twice": ("MGRLF", {"modalities": ["text", "text"]}, "modalities: .* each once"),
    "two for TIGER": ("TIGER", {"modalities": ["text", "image"]}, "modalities: .*TIGER takes one"),
    "beam too narrow": ("TIGER", {"beam_size": 10}, "beam_size: 10 must be at least the largest topk: 20"),
    "validation beam too narrow": ("TIGER", {"valid_beam_size": 5}, "valid_beam_size: 5 must be at least"),
    "heads": ("TIGER", {"hidden_size": 30, "n_heads": 4}, "hidden_size: 30 must be a multiple of n_heads: 4"),
    "dropout": ("TIGER", {"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob: 1.0 must be a number in \[0, 1\)"),
    "attention dropout": ("TIGER", {"attn_dropout_prob": -0.1}, "attn_dropout_prob: -0.1 must be"),
    "no epoch": ("TIGER", {"epochs": 0}, "epochs: 0 must be a whole number >= 1"),
    "epochs in words": ("BPR", {"epochs": "ten"}, "epochs: 'ten' must be a whole number >= 1"),
    "true epochs": ("BPR", {"epochs": True}, "epochs: True must be a whole number >= 1"),
    "batch": ("TIGER", {"train_batch_size": 0}, "train_batch_size: 0 must be"),
    "threads": ("BPR", {"num_threads": 0}, "num_threads: 0 must be None or a whole number >= 1"),
    "history": ("BPR", {"MAX_ITEM_LIST_LENGTH": 0}, "MAX_ITEM_LIST_LENGTH: 0 must be"),
    "levels": ("TIGER", {"codebook_levels": 0}, "codebook_levels: 0 must be"),
    "learning rate": ("TIGER", {"learning_rate": 0}, "learning_rate: 0 must be a number > 0"),
    "learning rate in words": ("TIGER", {"learning_rate": "fast"}, "learning_rate: 'fast' must be a number > 0"),
    "weight decay": ("TIGER", {"weight_decay": -1}, "weight_decay: -1 must be a number >= 0"),
    "backbone": ("TIGER", {"backbone": "t6"}, "backbone: 't6' must be one of hierarchical, t5"),
    "softmax": ("TIGER", {"code_softmax": "half"}, "code_softmax: 'half' must be one of"),
    "quantiser": ("TIGER", {"quantizer": "pq"}, "quantizer: 'pq' must be one of rkmeans, rqvae"),
    "fusion": ("MGREF", {"early_fusion": "max"}, "early_fusion: 'max' must be one of"),
    "missing": ("TIGER", {"missing_modality": "skip"}, "missing_modality: 'skip' must be one of mean, zero, drop"),
    "schedule": ("TIGER", {"lr_scheduler": "step"}, "lr_scheduler: 'step' must be one of"),
    "optimiser RecBole replaces": ("TIGER", {"learner": "lion"}, "learner: 'lion' must be one of"),
    "loss": ("TIGER", {"loss_type": "BPR"}, "loss_type: 'BPR' must be CE"),
    "negatives": (
        "TIGER",
        {"train_neg_sample_args": {"distribution": "uniform"}},
        "train_neg_sample_args: .* must be None",
    ),
    "stride of zero": ("TIGER", {"window_stride": 0}, "window_stride: 0 must be None or a whole number >= 1"),
    "stride too wide": ("TIGER", {"window_stride": 51}, "window_stride: 51 .* MAX_ITEM_LIST_LENGTH: 50"),
    "branches of t5": ("TIGER", {"branch_size": 8, "backbone": "t5"}, "branch_size: 8 needs backbone: hierarchical"),
    "branches of full": ("TIGER", {"branch_size": 8, "code_softmax": "full"}, "branch_size: 8 needs .* legal"),
    "repeats of full": ("TIGER", {"learn_repeats": True, "code_softmax": "full"}, "learn_repeats: True needs .* legal"),
    "repeats of three": ("TIGER", {"learn_repeats": 3}, "learn_repeats: 3 must be True or False"),
    "stride of t5": ("TIGER", {"window_stride": 5, "backbone": "t5"}, "window_stride: 5 means nothing to backbone: t5"),
    "no semantic IDs": ("TIGER", {"semantic_ids": "no.tsv"}, "semantic_ids: 'no.tsv' must be the path of a file"),
    "losses": ("MGRLFpp", {"alignment_losses": ["mse"]}, r"alignment_losses: \['mse'\]"),
    "no repeats": ("TIGER", {"repeatable": False}, "repeatable"),
    "pickled data": ("TIGER", {"save_dataset": True}, "save_dataset=True"),
}


@pytest.mark.parametrize(("model", "settings", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_are_refused(model, settings, message):
    with pytest.raises(ValueError, match=message):
        make_config(model, "tiny", [], settings)


def test_single_names_become_lists():
    assert tiger(modalities="image")["modalities"] == ["image"]
    assert make_config("BPR", "tiny", [], {"drop_items_without": "text"})["drop_items_without"] == ["text"]
    assert make_config("MGRLF", "tiny", [], {"missing_modality": "drop"})["drop_items_without"] == ["text", "image"]
    assert tiger()["drop_items_without"] is None


# -- what all models of a table share -----------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["TIGER", "SASRec", "BPR", "LightGCN", "GRU4Rec", "Pop"])
def test_every_model_has_the_same_protocol(model):
    config = make_config(model, "tiny", [], {})
    assert config["eval_args"] == {
        "split": {"LS": "valid_and_test"},
        "group_by": "user",
        "order": "TO",
        "mode": {"valid": "full", "test": "full"},
    }
    assert config["metrics"] == ["Recall", "NDCG", "MRR"]
    assert config["topk"] == [5, 10, 20]
    assert config["valid_metric"] == "NDCG@10"
    assert config["load_col"] == {"inter": ["user_id", "item_id", "timestamp"]}
    assert config["MAX_ITEM_LIST_LENGTH"] == 50
    assert config["data_path"] == "dataset_atomic/tiny"


def test_losses_over_the_catalogue_get_no_negatives():
    for model in ("TIGER", "SASRec", "GRU4Rec", "BERT4Rec"):
        config = make_config(model, "tiny", [], {})
        assert config["train_neg_sample_args"]["distribution"] == "none", model
        assert config["MODEL_INPUT_TYPE"] == InputType.POINTWISE, model
    for model, settings in (("BPR", {}), ("SASRec", {"loss_type": "BPR"})):
        config = make_config(model, "tiny", [], settings)
        assert config["train_neg_sample_args"]["distribution"] == "uniform", model
        assert config["MODEL_INPUT_TYPE"] == InputType.PAIRWISE, model
    with pytest.raises(ValueError, match="train_neg_sample_args"):
        make_config("SASRec", "tiny", [], {"train_neg_sample_args": {"distribution": "uniform"}})


@pytest.mark.parametrize("model", ["TIGER", "BPR"])
def test_eval_args_given_in_part_keep_the_rest(model):
    config = make_config(model, "tiny", [], {"eval_args": {"mode": "uni100"}})
    assert config["eval_args"]["mode"] == {"valid": "uni100", "test": "uni100"}
    assert config["eval_args"]["split"] == {"LS": "valid_and_test"}
    assert config["eval_args"]["order"] == "TO"


def test_ml_100k_is_read_from_data_path():
    for model in ("TIGER", "BPR"):
        assert make_config(model, "ml-100k", [], {"data_path": "mine"})["data_path"] == "mine/ml-100k"
        assert make_config(model, "ml-100k", [], {})["data_path"] == "dataset_atomic/ml-100k"
    assert Config(model="TIGER", dataset="ml-100k")["data_path"] == "dataset_atomic/ml-100k"
    assert Config(model="BPR", dataset="ml-100k")["data_path"].endswith("dataset_example/ml-100k")  # RecBole's bundle


def test_plain_settings_are_yaml_able():
    settings = plain_settings(make_config("BPR", "tiny", [], {"gpu_id": ""}))
    assert yaml.safe_load(yaml.safe_dump(settings)) == settings
    assert settings["device"] == "cpu"
    assert settings["MODEL_TYPE"] == "ModelType.GENERAL"


def test_a_search_takes_more_users_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for settings, users in (({}, 1024), ({"gpu_id": ""}, 256), ({"eval_batch_size": 7}, 7)):
        assert make_config("TIGER", "tiny", [], settings)["eval_batch_size"] == users


@pytest.mark.parametrize("visible", ["0,1", None])
def test_gpus_that_a_process_has_found_are_not_hidden(visible, monkeypatch):
    """torch's count of them would be 0 from then on; where none was found yet, RecBole hides them."""
    before = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    for has_found, expected in ((True, visible), (False, "")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_found=has_found: has_found)
        monkeypatch.setattr(os, "environ", {**os.environ, **before})
        if visible is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        assert make_config("BPR", "tiny", [], {"gpu_id": ""})["device"].type == "cpu"
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == expected


# -- property files -----------------------------------------------------------------------------------------------

READ = re.compile(r"""(?:config|settings|values)(?:\[|\.get\()["'](\w+)["']""")
DERIVED = {"MODEL_TYPE", "device", "dataset", "model", "local_rank"}  # of RecBole's, set by no property file


def keys_read_by(files) -> set[str]:
    return set(READ.findall("".join(file.read_text(encoding="utf-8") for file in files)))


def test_every_documented_key_is_read_and_every_key_read_is_documented():
    documented = set().union(*(model_properties(model_class(name)) for name in OURS))
    documented -= set().union(*(model_class(name).choices for name in CLOSED_FORM))  # read in a loop
    documented -= {"preset"}  # read before there is a Config
    recboles = keys_read_by(Path(recbole.__file__).parent.rglob("*.py"))
    assert documented <= recboles | keys_read_by(file for file in SOURCES if file.name != "validation.py")
    known = set().union(*(known_keys(name) for name in OURS))
    assert keys_read_by(SOURCES) - known <= DERIVED


def test_the_defaults_of_every_model_are_valid():
    for model in OURS:
        make_config(model, "tiny", [], {})
