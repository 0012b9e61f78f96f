"""Run directories of tiny models, moved away from their data, which is deleted."""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from recbole_mgr.run.pipeline import ModelRequest, run_comparison
from recbole_mgr.run.results import RunResult


class TinyRun(NamedTuple):
    folder: Path
    result: RunResult
    histories: dict[str, list[str]]  # user -> items in time order, the test target last
    features: dict[str, dict[str, np.ndarray]]  # modality -> item -> vector


@pytest.fixture(scope="session")
def make_run(tmp_path_factory, write_dataset, tiny_settings):
    """(model, dataset={}, **settings) -> TinyRun."""

    def make_run(name: str, *, dataset: dict | None = None, **changes) -> TinyRun:
        folder = tmp_path_factory.mktemp("run")
        data = write_dataset(folder, **(dataset or {}))
        items = [f"item_id:token\ttitle:token_seq\n{''}"] + [f'i{n}\tTitle "{n}" of i{n}\n' for n in range(20)]
        (data / "tiny.item").write_text("".join(items))
        settings = tiny_settings(folder, n_layers=1, t5_head_size=8, num_threads=1, **changes)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            (result,) = run_comparison([ModelRequest(name, {})], "tiny", settings=settings).results
        histories: dict[str, list[str]] = {}
        for line in (data / "tiny.inter").read_text().splitlines()[1:]:
            user, item, _ = line.split("\t")
            histories.setdefault(user, []).append(item)
        features = {
            file.name.split(".")[1]: dict(zip(file.read_text().split(), np.load(file.with_suffix(".npy")), strict=True))
            for file in data.glob("tiny.*.ids")
        }
        (trained,) = folder.glob("saved/*/*/seed-*")
        moved = tmp_path_factory.mktemp("moved") / "copy"
        shutil.copytree(trained, moved, ignore=shutil.ignore_patterns("*.pth"))
        shutil.rmtree(folder)
        return TinyRun(moved, result, histories, features)

    return make_run


@pytest.fixture(scope="session")
def popular_run(make_run):
    """A run whose prior, popularity, is pushed down the trie."""
    weights = {"codes": 1.0, "popularity": 0.5}
    return make_run("TIGER", modalities=["text"], popularity=True, ranking="beams", prior_weights=weights)


@pytest.fixture(scope="session")
def run(make_run):
    """An LF++ run, to be left as it is."""
    return make_run("MGRLFpp")
