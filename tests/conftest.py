"""A tiny data set in the file contract of ``dataset_atomic/README.md``, and settings that train on it in a second."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_shop
import torch
from browser import _chromium, open_page  # noqa: F401 (fixtures)

import recbole_mgr  # noqa: F401  (a test may import RecBole first, which only then works on today's libraries)

START = 1_400_000_000  # unix seconds, which float32 rounds to multiples of 128


def _write_dataset(
    folder: Path,
    name: str = "tiny",
    *,
    num_users: int = 30,
    num_items: int = 24,
    modalities: Iterable[str] = ("text", "image"),
    without_vector: Iterable[str] = (),
    interactions: list[tuple[str, str, float]] | None = None,
    synthetic: bool = False,
) -> Path:
    """Write ``<folder>/<name>/<name>.inter``, a feature file per modality and a provenance file.

    By default each user walks upwards through the items from a random start, one item a second, 5 to 11 of them.

    Args:
        folder: what ``data_path`` names.
        name: of the data set.
        num_users, num_items: users u0.. and items i0.. (walks around the circle of items reach them all).
        modalities: names of the feature files, binary, with 6 random values per item.
        without_vector: items that get none.
        interactions: rows (user, item, time) instead of the walks, written in this order.
        synthetic: what the provenance file says.

    Returns:
        The data set's folder.
    """
    folder = folder / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    if interactions is None:
        starts, lengths = rng.integers(num_items, size=num_users), rng.integers(5, 12, size=num_users)
        interactions = [
            (f"u{user}", f"i{(starts[user] + step) % num_items}", START + step)
            for user in range(num_users)
            for step in range(lengths[user])
        ]
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += ["\t".join(map(str, row)) for row in interactions]
    (folder / f"{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    items = [item for item in dict.fromkeys(row[1] for row in interactions) if item not in set(without_vector)]
    for modality in modalities:
        np.save(folder / f"{name}.{modality}.npy", rng.normal(size=(len(items), 6)).astype(np.float32))
        (folder / f"{name}.{modality}.ids").write_text("\n".join(items) + "\n", encoding="utf-8")
    provenance = f"source: made up for tests\nlicence: none\nsynthetic: {str(synthetic).lower()}\n"
    (folder / f"{name}.provenance.yaml").write_text(provenance, encoding="utf-8")
    return folder


def _tiny_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of one quiet epoch of a small network on the CPU, for models that generate semantic IDs.

    Args:
        folder: holds the data set's folder, and gets ``saved/``.
        changes: what else is set.
    """
    return {
        "preset": None,  # the models themselves, and nothing beside them that a test does not ask for
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "epochs": 1,
        "train_batch_size": 64,
        "hidden_size": 16,
        "inner_size": 32,
        "codebook_size": 4,
        "codebook_levels": 2,
        "topk": [5, 10],
        "beam_size": 10,
        "gpu_id": "",
        "show_progress": False,
        "state": "ERROR",
        "floors": False,
        **changes,
    }


@pytest.fixture(scope="session")
def write_dataset():
    """The function above."""
    return _write_dataset


@pytest.fixture
def walkers(tmp_path, monkeypatch):
    """A data set below the working folder whose users walk; ``last`` is only ever the last item of a user and ``late``
    the one before the last."""
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{u}", f"i{(u + step) % 12}", step) for u in range(12) for step in range(5)]
    rows += [("u0", "late", 10), ("u0", "last", 11)]
    return _write_dataset(tmp_path, interactions=rows)


@pytest.fixture(scope="session")
def tiny_settings():
    """The function above."""
    return _tiny_settings


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # networks this small lose time to more


@pytest.fixture(autouse=True)
def _log_level_of_a_new_process():
    logging.getLogger().setLevel(logging.WARNING)  # a run before left its own


@pytest.fixture(scope="session")
def write_shop():
    """See `small_shop.write_shop`."""
    return small_shop.write_shop


@pytest.fixture
def shop(tmp_path):
    """The shop's folder."""
    return small_shop.write_shop(tmp_path)
