"""Each flaw of RecBole is shown without its repair, which keeps what it replaced as ``__wrapped__``."""

import importlib
import pickle
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_recbole import settings, write_atomic, write_interactions
from torch import nn

from recbole_mgr.integration import repairs

repairs.apply()

from recbole.config import Config, configurator  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.data.dataset import Dataset, SequentialDataset  # noqa: E402
from recbole.evaluator import metrics as recbole_metrics  # noqa: E402
from recbole.evaluator.collector import Collector  # noqa: E402
from recbole.trainer import HyperTuning, Trainer  # noqa: E402
from recbole.trainer import trainer as trainer_module  # noqa: E402
from recbole.utils import utils as utils_module  # noqa: E402


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["test"])


CODE = "__import__('pathlib').Path('executed').touch() or 7"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("[1, 'a']", [1, "a"]),
        ("{'LS': 'valid_and_test'}", {"LS": "valid_and_test"}),
        ("True", True),
        ("false", False),
        ("None", None),
        ("none", None),
        ("SASRec", "SASRec"),
        ("2*512", "2*512"),
        ("{1, 2}", "{1, 2}"),
        ("[" * 9999, "[" * 9999),
        (CODE, CODE),
    ],
)
def test_settings_are_literals(text, value, monkeypatch):
    config = Config.__new__(Config)
    assert config._load_variable_config_dict({"key": text}) == {"key": value}
    if "=" not in text:
        monkeypatch.setattr(sys, "argv", ["test", f"--key={text}"])
        assert config._load_cmd_line() == {"key": value}
    assert not Path("executed").exists()


def test_without_the_repair_settings_are_executed(monkeypatch):
    monkeypatch.delattr(configurator, "eval")
    Config.__new__(Config)._load_variable_config_dict({"key": CODE})
    assert Path("executed").exists()


def test_the_parameter_file_of_hyper_tuning_is_not_executed(monkeypatch):
    hyperopt = ModuleType("hyperopt")
    hyperopt.hp = SimpleNamespace(choice=lambda name, values: values)
    monkeypatch.setitem(sys.modules, "hyperopt", hyperopt)
    Path("good").write_text("hidden_size choice [64, 128]\n")
    assert HyperTuning._build_space_from_file("good") == {"hidden_size": [64, 128]}
    Path("bad").write_text(f"hidden_size choice [{CODE.replace(' ', '')}]\n")
    with pytest.raises(NameError, match="is not a literal"):
        HyperTuning._build_space_from_file("bad")
    assert not Path("executed").exists()


@pytest.mark.parametrize("key", repairs._PICKLE_SETTINGS)
def test_settings_that_ask_for_pickles_are_refused(key, tmp_path):
    with pytest.raises(ValueError, match=f"{key}=True: RecBole keeps data sets as pickles"):
        Config("BPR", "walks", config_dict=settings(tmp_path, **{key: True}))


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("file", ["walks-Dataset.pth", "walks-for-BPR-dataloader.pth"])
def test_pickled_data_is_not_read(file, tmp_path):
    write_interactions(tmp_path / "walks", n_users=5)
    config = Config("BPR", "walks", config_dict=settings(tmp_path))
    Path("saved").mkdir()
    Path("saved", file).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=f"saved/{file} is a pickle"):
        data_preparation(config, create_dataset(config))
    assert not Path("executed").exists()


COUNT_METRICS = {  # of lists [1, 2] and [1, 3] over 4 items, where items 1, 2, 3 were bought 5, 1, 2 times
    "ItemCoverage": 3 / 4,
    "AveragePopularity": (5 + 1 + 5 + 2) / 4,
    "TailPercentage": 1 / 4,  # the rarest tenth, at least one item: item 2
    "GiniIndex": (-1 * 1 + 1 * 1 + 3 * 2) / 4 / 4,
}


def collect(collector: Collector, rows: list[list[int]]):
    collector.data_struct.set("data.num_items", 4)
    collector.data_struct.set("data.count_items", Counter({1: 5, 2: 1, 3: 2}))
    collector.data_struct.update_tensor("rec.items", torch.tensor(rows))
    return collector.get_data_struct()


@pytest.fixture
def counting_config():
    return {
        "metrics": list(COUNT_METRICS),
        "topk": [2],
        "tail_ratio": None,
        "device": "cpu",
        "metric_decimal_place": 9,
        "eval_args": {"mode": {"valid": "full", "test": "full"}},
    }


def test_metrics_of_counts_have_known_values(counting_config):
    collector = Collector(counting_config)
    for _ in range(2):  # an epoch's lists are forgotten, the counts are not
        struct = collect(collector, [[1, 2], [1, 3]])
        for name, expected in COUNT_METRICS.items():
            result = getattr(recbole_metrics, name)(counting_config).calculate_metric(struct)
            assert result[f"{name.lower()}@2"] == pytest.approx(expected), name
        assert "rec.items" not in collector.data_struct
        assert collector.data_struct["data.num_items"] == 4


def test_without_the_repair_counts_crash(counting_config, monkeypatch):
    monkeypatch.setattr(Collector, "get_data_struct", Collector.get_data_struct.__wrapped__)
    with pytest.raises(AttributeError, match="cpu"):
        collect(Collector(counting_config), [[1, 2]])


def weights_after_an_epoch(*, scaled: bool) -> torch.Tensor:
    """One step of gradient descent of length 1 (the clipped norm), in RecBole's own training loop."""
    trainer = Trainer.__new__(Trainer)
    trainer.config = {"clip_grad_norm": {"max_norm": 1.0}, "single_spec": True, "reg_weight": None}
    trainer.clip_grad_norm = trainer.config["clip_grad_norm"]
    trainer.model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(trainer.model.weight)
    trainer.learner, trainer.learning_rate, trainer.weight_decay = "sgd", 1.0, 0.0
    trainer.device, trainer.gpu_available, trainer.enable_amp = torch.device("cpu"), False, False
    trainer.enable_scaler = scaled
    trainer.optimizer = trainer._build_optimizer()
    batch = torch.tensor([[-300.0, -400.0]])
    trainer._train_epoch([batch], 0, loss_func=lambda rows: trainer.model(rows).sum())
    return trainer.model.weight.detach()


@pytest.fixture
def cpu_scaler(monkeypatch):
    def scaler(enabled):
        return torch.amp.GradScaler("cpu", enabled=enabled)

    monkeypatch.setattr(trainer_module, "amp", SimpleNamespace(GradScaler=scaler))


@pytest.mark.parametrize("scaled", [False, True])
def test_gradients_are_clipped_at_their_own_scale(cpu_scaler, scaled):
    torch.testing.assert_close(weights_after_an_epoch(scaled=scaled), torch.tensor([[0.6, 0.8]]))


def test_without_the_repair_scaled_gradients_are_clipped_away(cpu_scaler, monkeypatch):
    monkeypatch.setattr(Trainer, "_build_optimizer", Trainer._build_optimizer.__wrapped__)
    assert weights_after_an_epoch(scaled=True).norm() < 1e-4


def write_shuffled_seconds(folder: Path, n_items: int = 200) -> None:
    """One user takes one item a second; two items share each tenth second and stand in falling order."""
    rows = []
    for item in range(n_items):
        rows.append(("u1", f"i{item}", 1_500_000_000 + item))
        if item % 10 == 0:
            rows.insert(-1, ("u1", f"same{item}", 1_500_000_000 + item))
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [rows[index] for index in order]
    write_atomic(folder, "inter", "user_id:token item_id:token timestamp:float", shuffled)


def history_in_files_order(folder: Path) -> list[str]:
    lines = (folder / f"{folder.name}.inter").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [item for _, item, _ in sorted(rows, key=lambda row: float(row[2]))]  # a stable sort


def history(folder: Path, model: str, dataset_class: type[Dataset], **changes) -> list[str]:
    """The only user's items in the order in which RecBole splits them."""
    changes = {"MAX_ITEM_LIST_LENGTH": 500, "train_neg_sample_args": None, **changes}
    config = Config(model, folder.name, config_dict=settings(folder.parent, **changes))
    dataset = dataset_class(config)
    parts = dataset.build()
    targets = [item for part in parts for item in part.inter_feat["item_id"].tolist()]
    if dataset_class is SequentialDataset:
        targets = [parts[0].inter_feat["item_id_list"][0, 0].item(), *targets]
    return dataset.id2token("item_id", targets).tolist()


@pytest.mark.parametrize(("model", "dataset_class"), [("SASRec", SequentialDataset), ("Pop", Dataset)])
@pytest.mark.parametrize("rm_dup_inter", [None, "first"])
def test_histories_follow_the_exact_time(model, dataset_class, rm_dup_inter, tmp_path, monkeypatch):
    folder = tmp_path / "seconds"
    write_shuffled_seconds(folder)
    expected = history_in_files_order(folder)
    assert history(folder, model, dataset_class, rm_dup_inter=rm_dup_inter) == expected

    monkeypatch.setattr(Dataset, "_remove_duplication", Dataset._remove_duplication.__wrapped__)
    assert history(folder, model, dataset_class, rm_dup_inter=rm_dup_inter) != expected


@pytest.mark.parametrize(("keep", "ratings"), [("first", [1.0, 3.0]), ("last", [4.0, 5.0])])
def test_duplicates_are_removed_in_time_order(keep, ratings, tmp_path):
    rows = [("u", "b", 5, 30), ("u", "a", 1, 10), ("u", "a", 2, 20), ("u", "b", 3, 20), ("u", "a", 4, 20)]
    header = "user_id:token item_id:token rating:float timestamp:float"
    write_atomic(tmp_path / "twice", "inter", header, rows)
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    config_dict = settings(tmp_path, rm_dup_inter=keep, load_col=columns)
    dataset = Dataset(Config("BPR", "twice", config_dict=config_dict))
    assert dataset.inter_feat["rating"].tolist() == ratings


def test_interactions_without_a_time_keep_their_order(tmp_path):
    rows = [("u", item) for item in "cab"]
    write_atomic(tmp_path / "timeless", "inter", "user_id:token item_id:token", rows)
    columns = {"inter": ["user_id", "item_id"]}
    dataset = Dataset(Config("BPR", "timeless", config_dict=settings(tmp_path, load_col=columns)))
    assert dataset.id2token("item_id", dataset.inter_feat["item_id"].to_numpy()).tolist() == list("cab")


def test_rows_without_ids_are_left_out_and_no_others(tmp_path, monkeypatch, caplog):
    rows = [("u1", "a"), (None, "b"), ("u1", "c"), ("u2", None), ("u2", "a"), ("u2", "b"), (None, None)]
    timed = [(*row, time) for time, row in enumerate(rows)]
    write_atomic(tmp_path / "gaps", "inter", "user_id:token item_id:token timestamp:float", timed)

    def pairs():
        dataset = Dataset(Config("BPR", "gaps", config_dict=settings(tmp_path)))
        users, items = (dataset.inter_feat[field].to_numpy() for field in ("user_id", "item_id"))
        return list(zip(dataset.id2token("user_id", users), dataset.id2token("item_id", items), strict=True))

    complete = [row for row in rows if None not in row]
    assert pairs() == complete
    assert "gaps.inter: lines [3, 5, 8] left out, no user or item" in caplog.text

    unrepaired = Dataset._filter_nan_user_or_item.__wrapped__
    monkeypatch.setattr(Dataset, "_filter_nan_user_or_item", unrepaired)
    assert pairs() != complete


def test_a_cpu_has_no_gpu_memory():
    """RecBole asks for it where torch knows a GPU that the settings do not want."""
    for module in (utils_module, trainer_module):
        assert module.get_gpu_usage(torch.device("cpu")) == "0.00 G/0.00 G"


def test_no_model_switches_anomaly_detection_on(monkeypatch):
    sine = "recbole.model.sequential_recommender.sine"
    assert sine in sys.modules
    assert not torch.is_anomaly_enabled()
    monkeypatch.delitem(sys.modules, sine)
    try:
        importlib.import_module(sine)
        assert torch.is_anomaly_enabled()  # which it would have done in the middle of a run
    finally:
        torch.autograd.set_detect_anomaly(False)


def test_pop_counts_interactions(tmp_path):
    from recbole.utils import get_model, get_trainer

    write_interactions(tmp_path / "tiny")
    config = Config(model="Pop", dataset="tiny", config_dict=settings(tmp_path))
    train, _, _ = data_preparation(config, create_dataset(config))
    model = get_model("Pop")(config, train._dataset)
    get_trainer(config["MODEL_TYPE"], "Pop")(config, model).fit(train, saved=False)
    counts = Counter(train._dataset.inter_feat["item_id"].tolist())
    assert max(counts.values()) > 1
    assert model.item_cnt.squeeze(1).tolist() == [counts[item] for item in range(model.n_items)]
    assert model.max_cnt.item() == max(counts.values())
