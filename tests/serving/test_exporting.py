import json
import subprocess
import sys

import pytest
import torch

from recbole_mgr.cli.main import main
from recbole_mgr.serving import load

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
SETTINGS = (
    {"backbone": "hierarchical", "branch_size": 4, "learn_repeats": True},
    {"backbone": "t5", "code_softmax": "full"},
)


@pytest.mark.skipif(not hasattr(torch.export.Dim, "AUTO"), reason="this torch is older than 2.6")
def test_lists_are_those_of_the_run(make_run, tmp_path):
    runs = [make_run("TIGER", modalities=["text"], **settings) for settings in SETTINGS]
    folders = [tmp_path / settings["backbone"] for settings in SETTINGS]
    for run, folder in zip(runs, folders, strict=True):
        assert main(["export", str(run.folder), str(folder)]) == 0
    histories = [runs[0].histories[user] for user in sorted(runs[0].histories)][:9]
    some = sorted({item for history in histories for item in history})[:8]
    requests = [
        {"histories": [*histories, ["i1", "i2", "i1"]]},
        {"histories": histories[:1], "k": 3, "mask_history": True},
        {"histories": histories[:4] + [["i1"] * 60], "only": some, "mask_history": True, "beam_size": 20},
    ]
    asked = json.dumps({"folders": list(map(str, folders)), "requests": requests})
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], input=asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for run, answers in zip(runs, json.loads(done.stdout), strict=True):
        recommender = load(run.folder, device="cpu")
        for request, lists in zip(requests, answers, strict=True):
            expected = recommender.recommend(**request)
            for found, items, scores in zip(lists, expected.item_ids, expected.scores, strict=True):
                assert [score for _, score in found] == pytest.approx(scores, abs=1e-4)
                # items whose scores differ by rounding alone may change places from one release of torch to another
                assert dict(found) == pytest.approx(dict(zip(items, scores, strict=True)), abs=1e-4)


@pytest.mark.skipif(not hasattr(torch.export.Dim, "AUTO"), reason="this torch is older than 2.6")
def test_what_cannot_be_exported_is_said(run, popular_run, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main(["export", str(run.folder), str(tmp_path / "full")]) == 2
    assert "name a new folder" in capsys.readouterr().err
    assert main(["export", str(popular_run.folder), str(tmp_path / "new")]) == 2
    assert "ranks by codes, popularity together" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
