import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from recbole_mgr.cli.main import main
from recbole_mgr.serving import exporting, load
from recbole_mgr.serving.exported_runtime import ExportedRun

# Answers requests with exported folders alone: neither we nor RecBole can be imported.
ALONE = """
import json, sys
sys.modules["recbole"] = sys.modules["recbole_mgr"] = None
asked = json.loads(sys.stdin.read())
sys.path.insert(0, asked["folders"][0])
from runtime import ExportedRun
runs = map(ExportedRun, asked["folders"])
print(json.dumps([[run.recommend(**options) for options in asked["requests"]] for run in runs]))
"""
PRIORS = {"item_softmax": True, "memory": True, "popularity": True}
WEIGHTS = {"codes": 0.75, "item_softmax": 0.25, "memory": 1.5, "popularity": -0.2}
SETTINGS = {
    "all together": PRIORS | {"branch_size": 4, "learn_repeats": True, "prior_weights": WEIGHTS, "prior_candidates": 3},
    "t5": {"backbone": "t5", "code_softmax": "full", "memory": True, "prior_weights": {"codes": 1.0, "memory": 0.5}},
    "pushed down": PRIORS | {"ranking": "beams", "prior_weights": WEIGHTS},
    "without codes": {"code_weight": 0.0, "item_softmax": True},
}


@pytest.fixture(scope="module")
def runs(make_run):
    return [make_run("TIGER", modalities=["text"], **settings) for settings in SETTINGS.values()]


def requests_of(run):
    histories = [run.histories[user] for user in sorted(run.histories)][:9]
    some = sorted({item for history in histories for item in history})[:8]
    return [
        {"histories": [*histories, ["i1", "i2", "i1"]]},
        {"histories": histories[:1], "k": 3, "mask_history": True},
        {"histories": histories[:4] + [["i1"] * 60], "only": some, "mask_history": True, "beam_size": 20},
    ]


def require_equal(run, requests, answers):
    recommender = load(run.folder, device="cpu")
    for request, lists in zip(requests, answers, strict=True):
        expected = recommender.recommend(**request)
        for found, items, scores in zip(lists, expected.item_ids, expected.scores, strict=True):
            assert [score for _, score in found] == pytest.approx(scores, abs=1e-4)
            # items whose scores differ by rounding alone may change places from one release of torch to another
            assert dict(found) == pytest.approx(dict(zip(items, scores, strict=True)), abs=1e-4)


@pytest.fixture(scope="module")
def folders(runs, tmp_path_factory):
    """What each run was exported to, the first one as ONNX, too, where that is installed."""
    if not hasattr(torch.export.Dim, "AUTO"):
        pytest.skip("this torch is older than 2.6")
    folders = [tmp_path_factory.mktemp("exports") / "export" for _ in runs]
    onnx = ["--onnx"] if all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))) else []
    for run, folder, options in zip(runs, folders, [onnx] + [[]] * len(runs), strict=False):
        assert main(["export", str(run.folder), str(folder), *options]) == 0
    return folders


def test_lists_are_those_of_the_run(runs, folders):
    requests = requests_of(runs[0])
    asked = json.dumps({"folders": list(map(str, folders)), "requests": requests})
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for run, answers in zip(runs, json.loads(done.stdout), strict=True):
        require_equal(run, requests, answers)


def test_onnx_gives_the_lists_of_the_run(runs, folders):
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    requests = requests_of(runs[0])
    exported = ExportedRun(folders[0], onnx=True)
    require_equal(runs[0], requests, [exported.recommend(**request) for request in requests])


def test_what_cannot_be_exported_is_said(runs, tmp_path, capsys, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main(["export", str(runs[0].folder), str(tmp_path / "full")]) == 2
    assert "name a new folder" in capsys.readouterr().err
    monkeypatch.setattr(exporting, "DENSE_ITEMS", 10)
    assert main(["export", str(runs[list(SETTINGS).index("pushed down")].folder), str(tmp_path / "new")]) == 2
    assert "item softmax of more than 10 items" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", str(runs[0].folder), str(tmp_path / "new"), "--onnx"]) == 2
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
