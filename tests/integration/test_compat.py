"""Every break of RecBole 1.2.1 is shown without its patch and mended with it.

A patched function keeps what it replaced as ``__wrapped__``; patches that must be in place before something
is imported are tested in a process of their own, where ``recbole_mgr/__init__.py`` does not run.
"""

import json
import os
import subprocess
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import dok_matrix
from tiny_recbole import settings, write_atomic, write_interactions

from recbole_mgr import import_hooks
from recbole_mgr.integration import compat

compat.apply()

from recbole.config import Config  # noqa: E402
from recbole.data.dataset import Dataset, SequentialDataset  # noqa: E402
from recbole.data.dataset import dataset as dataset_module  # noqa: E402
from recbole.model.general_recommender import LightGCN  # noqa: E402

ALIASES = ("float_", "complex_", "unicode_", "bool8")
numpy_2 = pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="NumPy 1 has the names itself")
pandas_3 = pytest.mark.skipif(int(pd.__version__.split(".")[0]) < 3, reason="pandas 2 fills in place")

ITEMS = {  # item: title, colour, price, vector
    "i1": ("red wool scarf", "red", 10.0, "1 2"),
    "i2": (None, None, None, None),
    "i3": ("scarf", "blue", 40.0, "3"),
}


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["test"])


@numpy_2
def test_config_needs_the_numpy_aliases(monkeypatch):
    for name in ALIASES:
        monkeypatch.delattr(np, name)
    config = Config.__new__(Config)
    with pytest.raises(AttributeError):
        config.compatibility_settings()
    compat.numpy_aliases()
    config.compatibility_settings()
    assert np.zeros(1, dtype=np.float).dtype == np.float64
    assert np.bool8 is np.bool_


def test_numpy_aliases_that_exist_are_kept(monkeypatch):
    monkeypatch.setattr(np, "float_", "its own", raising=False)
    compat.numpy_aliases()
    assert np.float_ == "its own"


@pytest.fixture
def incomplete(tmp_path):
    """A folder of files with missing tokens, numbers and sequences."""
    folder = tmp_path / "incomplete"
    interactions = [("u1", "i1", 5, 1), ("u1", "i2", None, 2), ("u2", "i3", 1, 3), ("u2", "i1", 3, 4)]
    write_atomic(folder, "inter", "user_id:token item_id:token rating:float timestamp:float", interactions)
    header = "item_id:token title:token_seq colour:token price:float vector:float_seq"
    write_atomic(folder, "item", header, [(item, *cells) for item, cells in ITEMS.items()])
    return folder


def load(folder: Path, **changes) -> Dataset:
    columns = {
        "inter": ["user_id", "item_id", "rating", "timestamp"],
        "item": ["item_id", "title", "colour", "price", "vector"],
    }
    changes = {"load_col": columns, **changes}
    return Dataset(Config("BPR", folder.name, config_dict=settings(folder.parent, **changes)))


def filled_as_documented(dataset: Dataset) -> bool:
    """Missing tokens are [PAD], missing floats their column's mean; the rest is what the files say."""
    dataset._change_feat_format()
    items, mean_price = dataset.item_feat, np.mean([10.0, 40.0])
    if not torch.equal(dataset.inter_feat["rating"], torch.tensor([5.0, 3.0, 1.0, 3.0])):
        return False
    for item, (title, colour, price, vector) in ITEMS.items():
        row = items[dataset.token2id("item_id", item)]
        numbers = [float(number) for number in (vector or "").split()]
        words = dataset.id2token("title", row["title"][row["title"] > 0].numpy()).tolist()
        if (
            dataset.id2token("colour", int(row["colour"])) != (colour or "[PAD]")
            or row["price"] != (price or mean_price)
            or words != (title or "").split()
            or row["vector"].tolist() != numbers + [0.0] * (2 - len(numbers))
        ):
            return False
    return bool(items["colour"][0] == 0 and items["price"][0] == mean_price)


def test_missing_values_are_filled(incomplete):
    assert filled_as_documented(load(incomplete))


@pandas_3
def test_without_the_patch_missing_values_stay(incomplete, monkeypatch):
    monkeypatch.setattr(Dataset, "_fill_nan", Dataset._fill_nan.__wrapped__)
    assert not filled_as_documented(load(incomplete))


@pandas_3
def test_without_our_reader_missing_sequences_crash(incomplete, monkeypatch):
    monkeypatch.setattr(dataset_module, "pd", pd)
    with pytest.raises(AttributeError, match="split"):
        load(incomplete)


@pandas_3
def test_without_the_patch_sequences_have_no_lengths(incomplete, monkeypatch):
    monkeypatch.delattr(dataset_module, "len")
    with pytest.raises(ValueError):
        load(incomplete)


def test_float_sequences_are_normalised_element_by_element(incomplete):
    vectors = load(incomplete, normalize_field=["vector"]).item_feat["vector"]
    assert [list(vector) for vector in vectors] == [[], [0.0, 0.5], [], [1.0]]


def test_benchmark_files_count_each_history(tmp_path):
    folder = tmp_path / "split"
    header = "user_id:token item_id:token item_id_list:token_seq"
    for part in ("train", "valid", "test"):
        write_atomic(folder, f"{part}.inter", header, [("u1", "i1", "i2 i3"), ("u2", "i2", "i3")])
    config_dict = settings(
        tmp_path,
        benchmark_filename=["train", "valid", "test"],
        alias_of_item_id=["item_id_list"],
        load_col={"inter": ["user_id", "item_id", "item_id_list"]},
        train_neg_sample_args=None,
    )
    dataset = SequentialDataset(Config("SASRec", "split", config_dict=config_dict))
    train, *_ = dataset.build()
    assert train.inter_feat["item_length"].tolist() == [2, 1]


def test_dok_matrix_takes_a_dictionary():
    matrix = dok_matrix((2, 3), dtype=np.float32)
    matrix._update({(0, 2): 1.0, (1, 0): 3.0})
    assert matrix.toarray().tolist() == [[0, 0, 1], [3, 0, 0]]


def test_lightgcn_normalises_its_graph(tmp_path, monkeypatch):
    write_interactions(tmp_path / "walks", n_users=6, n_items=9)
    config = Config("LightGCN", "walks", config_dict=settings(tmp_path))
    train, *_ = Dataset(config).build()
    links = train.inter_matrix().toarray() > 0  # [users + 1, items + 1]
    graph = np.block([[np.zeros((len(links),) * 2), links], [links.T, np.zeros((links.shape[1],) * 2)]])
    scale = (graph.sum(axis=1) + 1e-7) ** -0.5
    expected = scale[:, None] * graph * scale
    np.testing.assert_allclose(LightGCN(config, train).norm_adj_matrix.to_dense(), expected, rtol=1e-5)

    owner = next(part for part in dok_matrix.__mro__ if "_update" in vars(part))  # SciPy's own before 1.12
    monkeypatch.delattr(owner, "_update")
    with pytest.raises(AttributeError, match="_update"):
        LightGCN(config, train)


IMPORTS = """
import importlib, json, sys
from types import ModuleType

package = ModuleType("recbole_mgr")  # stands in for __init__.py, which would apply every patch
package.__path__ = [sys.argv.pop()]
sys.modules["recbole_mgr"] = package
from recbole_mgr.integration import compat

for name in ("ray", "distutils", "distutils.version"):
    sys.modules[name] = None


def can_import(name):
    try:
        importlib.import_module(name)
    except Exception:
        return False
    return True


fragile = ["torchvision", "thop.profile", "recbole.quick_start"]
patches = {"torchvision_schemas", "distutils_for_thop", "ray_only_in_ray_sessions"}
compat.apply(skip=patches | {"missing_values_filled", "sequence_lengths"})
before = {name: can_import(name) for name in fragile}
compat.apply()
after = {name: can_import(name) for name in fragile}
reported = sys.modules["recbole.quick_start.quick_start"].tune.report(recall=0.5)
stand_ins = [name for name in ("ray", "ray.tune", "distutils") if sys.modules.get(name)]
print(json.dumps({"before": before, "after": after, "reported": reported, "stand_ins": stand_ins}))
"""


@pytest.fixture(scope="module")
def imports(tmp_path_factory):
    """What can be imported without ray, distutils and torchvision's operators, before and after patching."""
    site = tmp_path_factory.mktemp("site")
    write_broken_torchvision(site)
    package = Path(compat.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(package)], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def write_broken_torchvision(site: Path, library: str = "_C") -> Path:
    """A torchvision whose operators do not load; like the real one it registers a kernel for one of them."""
    package = site / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import torch\n@torch.library.register_fake('torchvision::nms')\ndef fake(*_): pass\n"
    )
    (package / f"{library}{EXTENSION_SUFFIXES[-1]}").write_text("no library")
    return package


@pytest.mark.parametrize("order", [("recbole", "torchvision"), ("torchvision", "recbole")])
def test_recbole_and_a_torchvision_without_operators_come_in_any_order(order, tmp_path):
    write_broken_torchvision(tmp_path)
    root = Path(compat.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    code = "import recbole_mgr, " + ", ".join(order)
    process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("module", ["recbole.quick_start", "thop.profile", "torchvision"])
def test_modules_that_could_not_be_imported_start(imports, module):
    assert not imports["before"][module]
    assert imports["after"][module]


def test_without_ray_nothing_is_reported_and_nothing_pretends_to_be_installed(imports):
    assert imports["reported"] is None
    assert imports["stand_ins"] == []


def test_a_ray_session_gets_the_report(monkeypatch):
    from recbole.quick_start import quick_start

    reports = []
    ray = ModuleType("ray")
    ray.tune = SimpleNamespace(report=lambda **metrics: reports.append(metrics))
    monkeypatch.setitem(sys.modules, "ray", ray)
    quick_start.tune.report(recall=0.5)
    assert reports == [{"recall": 0.5}]


@pytest.mark.parametrize("name", ["_C", "_C_stable"])
def test_operators_that_load_are_not_declared_again(tmp_path, monkeypatch, name):
    library = next(write_broken_torchvision(tmp_path, name).glob("_C*"))
    loaded = []
    monkeypatch.setattr(import_hooks, "_torchvision_operators", [])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torch.ops, "load_library", loaded.append)
    import_hooks.torchvision_schemas()
    assert loaded == [str(library)]
    assert import_hooks._torchvision_operators == []


def test_warnings_of_mended_breaks_are_silent_in_recbole_only():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        compat.mended_breaks_unreported()
        for module in ("recbole.data.dataset.dataset", "somebody.else"):
            warnings.warn_explicit("chained", pd.errors.ChainedAssignmentError, "file.py", 1, module=module)
        warnings.warn_explicit("another", FutureWarning, "file.py", 1, module="recbole.trainer.trainer")
    assert [str(warning.message) for warning in shown] == ["chained", "another"]


def test_a_second_apply_changes_nothing():
    before = Dataset._fill_nan, dataset_module.pd, np.float_
    compat.apply()
    assert (Dataset._fill_nan, dataset_module.pd, np.float_) == before
