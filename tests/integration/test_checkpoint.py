import os
import pickle
import sys
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch
from tiny_recbole import settings, write_interactions
from torch import nn

from recbole_mgr.integration import checkpoint, repairs
from recbole_mgr.integration.checkpoint import load_checkpoint, plain_config, rebuild_config, save_checkpoint

repairs.apply()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.model.sequential_recommender import SASRec  # noqa: E402
from recbole.quick_start import load_data_and_model  # noqa: E402
from recbole.trainer import Trainer  # noqa: E402
from recbole.utils import EvaluatorType, InputType, ModelType, init_seed  # noqa: E402


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path, monkeypatch):
    write_interactions(tmp_path / "walks")
    small = {"learning_rate": 0.01, "hidden_size": 8, "n_heads": 1, "train_neg_sample_args": None}
    monkeypatch.setattr(sys, "argv", ["test"])
    config = Config("SASRec", "walks", config_dict=settings(tmp_path, **small))
    monkeypatch.setattr(sys, "argv", ["test", "--learning_rate=9"])  # a rebuilt Config must not read it
    return config


def round_trip(value):
    save_checkpoint({"value": value}, "file.pth")
    return load_checkpoint("file.pth")["value"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**70,
        1.5,
        float("inf"),
        "text",
        [1, [2.0, None]],
        (1, (2, "3")),
        {"a": {1: [2]}, 3: ()},
        {},
    ],
)
def test_plain_values_come_back(value):
    back = round_trip(value)
    assert back == value
    assert type(back) is type(value)


def test_numpy_and_path_values_become_plain():
    value = [np.float64(0.25), np.int64(3), np.str_("a"), Path("a/b"), torch.device("cpu")]
    assert round_trip(value) == [0.25, 3, "a", "a/b", "cpu"]
    assert type(round_trip(np.float64(0.25))) is float
    assert round_trip(defaultdict(list, {4: [1]})) == {4: [1]}


@pytest.mark.parametrize("array", [np.ones((2, 3)), np.array([], dtype=np.int32), np.array(True)])
def test_arrays_come_back_as_arrays(array):
    back = round_trip([array])[0]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("form", ["csr", "lil", "coo"])
def test_sparse_matrices_come_back_in_their_form(form):
    matrix = scipy.sparse.coo_matrix(([1.5, 2.5], ([0, 2], [1, 0])), shape=(3, 4)).asformat(form)
    back = round_trip(matrix)
    assert (back.format, back.shape, back.dtype) == (form, (3, 4), matrix.dtype)
    assert (back != matrix).nnz == 0


def test_a_model_and_its_optimizer_come_back():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    save_checkpoint({"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, "file.pth")
    back = load_checkpoint("file.pth")
    assert isinstance(back["state_dict"], OrderedDict)
    assert back["state_dict"]._metadata == model.state_dict()._metadata

    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    twin.load_state_dict(back["state_dict"])
    twin_optimizer = torch.optim.AdamW(twin.parameters())
    twin_optimizer.load_state_dict(back["optimizer"])
    torch.testing.assert_close(twin_optimizer.state_dict(), optimizer.state_dict(), rtol=0, atol=0)


def test_sub_modules_are_left_to_the_state_dict():
    assert round_trip({"layer": nn.Linear(1, 1), "scale": 2}) == {"scale": 2}


def test_what_is_not_plain_is_named():
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a SimpleNamespace, which a checkpoint"):
        save_checkpoint({"a": [0, SimpleNamespace()]}, "file.pth")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_file_that_holds_code_is_refused():
    for protocol in (2, 4):
        state = {"state_dict": OrderedDict(weight=torch.ones(1)), "config": Bomb()}
        torch.save(state, "bomb.pth", pickle_protocol=protocol)
        with pytest.raises(ValueError, match=f"bomb.pth is refused: it names {os.name}.mkdir.* Train the"):
            load_checkpoint("bomb.pth")
    assert not Path("executed").exists()


def test_a_checkpoint_of_plain_recbole_is_refused_by_name(config):
    torch.save({"config": config}, "pickled.pth", pickle_protocol=4)
    with pytest.raises(ValueError, match="names recbole.config.configurator.Config"):
        load_checkpoint("pickled.pth")


def test_a_pickle_that_is_no_archive_is_refused():
    Path("legacy.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=f"legacy.pth is refused: it names {os.name}.mkdir"):
        load_checkpoint("legacy.pth")
    assert not Path("executed").exists()


def test_a_file_of_another_kind_is_refused():
    Path("notes.pth").write_text("no checkpoint")
    with pytest.raises(ValueError, match="notes.pth is refused"):
        load_checkpoint("notes.pth")


@pytest.mark.parametrize("value", [0, 1, 0xFF])
def test_whatever_byte_of_its_directory_is_damaged_the_file_is_named(value):
    save_checkpoint({"weights": torch.zeros(3)}, "whole.pth")
    whole = Path("whole.pth").read_bytes()
    for place in range(whole.rindex(b"PK\1\2"), len(whole)):
        Path("bad.pth").write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            assert load_checkpoint("bad.pth")["weights"].tolist() == [0, 0, 0]
        except ValueError as error:
            assert "checkpoint bad.pth" in str(error)


def test_a_reader_that_fails_as_the_system_does_names_the_file(monkeypatch):
    save_checkpoint({"weights": torch.zeros(3)}, "whole.pth")

    def load(*_, **__):  # seen where the directory of a damaged file points before its beginning
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(ValueError, match="whole.pth cannot be read; .*Invalid argument"):
        load_checkpoint("whole.pth")


def test_a_missing_or_cut_file_is_named():
    with pytest.raises(FileNotFoundError, match="checkpoint absent.pth does not exist"):
        load_checkpoint("absent.pth")
    save_checkpoint({"weights": torch.zeros(100)}, "whole.pth")
    for length in (0, 500):
        Path("cut.pth").write_bytes(Path("whole.pth").read_bytes()[:length])
        with pytest.raises(ValueError, match="cut.pth cannot be read"):
            load_checkpoint("cut.pth")


def test_an_interrupted_save_leaves_the_previous_checkpoint(monkeypatch):
    save_checkpoint({"epoch": 1}, "file.pth")

    def half_written(state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", half_written)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint({"epoch": 2}, "file.pth")
    assert load_checkpoint("file.pth") == {"epoch": 1}
    assert [path.name for path in Path().glob("*file*")] == ["file.pth"]


def test_a_config_survives(config):
    back = rebuild_config(round_trip(config))
    assert back.final_config_dict == config.final_config_dict
    assert (back["MODEL_TYPE"], back["MODEL_INPUT_TYPE"]) == (ModelType.SEQUENTIAL, InputType.POINTWISE)
    assert back["eval_type"] is EvaluatorType.RANKING
    assert (back.model, back.dataset, back.model_class) == ("SASRec", "walks", SASRec)
    assert isinstance(back["device"], torch.device)
    assert back["learning_rate"] == 0.01
    assert sorted(str(back).splitlines()) == sorted(str(config).splitlines())
    assert plain_config(back) == plain_config(config)


def test_nothing_that_a_checkpoint_says_is_written(trained, tmp_path):
    trainer, _ = trained
    content = load_checkpoint(trainer.saved_model_file)
    content["config"] |= {
        "save_dataset": True,
        "save_dataloaders": True,
        "dataset_save_path": str(tmp_path / "data.pth"),
        "dataloaders_save_path": str(tmp_path / "loaders.pth"),
        "log_wandb": True,
    }
    save_checkpoint(content, "hostile.pth")
    before = {path for path in tmp_path.rglob("*") if "log" not in path.parts}
    config = load_data_and_model("hostile.pth")[0]
    assert {path for path in tmp_path.rglob("*") if "log" not in path.parts} == before
    assert not config["save_dataset"] and not config["save_dataloaders"] and not config["log_wandb"]
    for name in ("../../elsewhere", "/tmp/x", "", None):
        save_checkpoint({**content, "config": {**content["config"], "dataset": name}}, "named.pth")
        with pytest.raises(ValueError, match="the checkpoint's data set is called"):
            load_data_and_model("named.pth")
    for key in ("MODEL_TYPE", "dataset"):
        save_checkpoint({**content, "config": {k: v for k, v in content["config"].items() if k != key}}, "lacks.pth")
        with pytest.raises(ValueError, match=f"the checkpoint's settings lack '{key}'"):
            load_data_and_model("lacks.pth")


def test_a_checkpoint_that_unpacks_to_more_than_it_has_is_refused():
    save_checkpoint({"weights": torch.zeros(2**20)}, "whole.pth")
    with zipfile.ZipFile("whole.pth") as whole, zipfile.ZipFile("bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for part in whole.infolist():
            bomb.writestr(part.filename, whole.read(part))
    with pytest.raises(ValueError, match=r"checkpoint bomb.pth is refused: it would unpack to 4,\d\d\d,\d\d\d bytes"):
        load_checkpoint("bomb.pth")


def test_the_device_is_chosen_on_this_machine(config):
    config["device"] = torch.device("cuda:3")
    config["local_rank"], config["single_spec"], config["world_size"] = 2, False, 4
    assert plain_config(config)["device"] == "cuda:3"
    back = rebuild_config(plain_config(config))
    assert back["device"] == torch.device("cpu")
    assert (back["local_rank"], back["single_spec"], back["world_size"]) == (0, True, None)


def test_a_setting_that_is_not_plain_is_named(config):
    config["callback"] = print
    with pytest.raises(TypeError, match=r"config\['callback'\]"):
        plain_config(config)


@pytest.fixture
def trained(config):
    init_seed(config["seed"], True)
    train, valid, test = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, SASRec(config, train._dataset))
    trainer.fit(train, valid, verbose=False)
    return trainer, test


def test_trainers_save_and_load_plain_checkpoints(trained, config):
    trainer, test = trained
    saved = torch.load(trainer.saved_model_file, weights_only=True)
    assert saved["config"]["MODEL_TYPE"] == "SEQUENTIAL"
    expected = trainer.evaluate(test, load_best_model=False)
    nn.init.zeros_(trainer.model.item_embedding.weight)
    assert trainer.evaluate(test, load_best_model=True) == expected


def test_training_resumes_from_a_plain_checkpoint(trained, config):
    trainer, test = trained
    fresh = Trainer(config, SASRec(config, test._dataset))
    fresh.resume_checkpoint(trainer.saved_model_file)
    assert fresh.start_epoch == 1
    assert fresh.best_valid_score == trainer.best_valid_score
    torch.testing.assert_close(fresh.optimizer.state_dict(), trainer.optimizer.state_dict(), rtol=0, atol=0)


def test_semantic_ids_beside_a_checkpoint_are_found(trained):
    trainer, _ = trained
    assert load_data_and_model(trainer.saved_model_file)[0]["semantic_ids"] is None
    table = Path(trainer.saved_model_file).with_suffix(".semantic_ids.tsv")
    table.touch()
    assert load_data_and_model(trainer.saved_model_file)[0]["semantic_ids"] == str(table)


def test_loading_a_run_leaves_torch_as_it_was(trained, monkeypatch):
    trainer, _ = trained
    torch_load = torch.load
    load_data_and_model(trainer.saved_model_file)
    assert torch.load is torch_load
    torch.save({"config": Bomb()}, "bomb.pth")
    with pytest.raises(ValueError, match="refused"):
        load_data_and_model("bomb.pth")
    assert torch.load is torch_load
