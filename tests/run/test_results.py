"""The result of a run: stored and read back."""

from dataclasses import fields
from importlib import metadata

import numpy as np
import pytest
import torch
from made_results import USERS, make_result

from recbole_mgr.integration.environment import HEADLINE, environment
from recbole_mgr.run.results import RunResult


def test_a_result_is_read_back_as_it_was(tmp_path):
    result = make_result(alignment={"before": 0.1, "after": 0.9}, users=np.array([f"ü{i}" for i in range(USERS)]))
    assert not RunResult.exists(tmp_path)
    result.save(tmp_path)
    assert RunResult.exists(tmp_path)
    loaded = RunResult.load(tmp_path)
    for field in fields(RunResult):
        stored, read = getattr(result, field.name), getattr(loaded, field.name)
        assert np.array_equal(stored, read) if isinstance(stored, np.ndarray) else stored == read, field.name


def test_a_run_counts_as_finished_only_when_all_is_written(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        make_result().save(tmp_path)
    assert not RunResult.exists(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_machine_and_versions():
    found = environment(torch.device("cpu"))
    assert "CPU cores" in found["hardware"]
    assert set(HEADLINE) < set(found)
    assert found["numpy"] == np.__version__ and found["transformers"] == metadata.version("transformers")
