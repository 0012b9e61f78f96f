"""Reading the run directory of a model that scores every item: its checkpoint, its items, and what its users took."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.config import Config
from recbole.utils import ModelType
from torch import nn

from recbole_mgr.data.arrays import read_arrays
from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import ItemTexts, read_all_item_texts
from recbole_mgr.integration.checkpoint import load_checkpoint, rebuild_config, take_weights
from recbole_mgr.integration.known_data import known_data
from recbole_mgr.integration.registry import model_class
from recbole_mgr.serving.run_directory import HISTORIES_FILE, TRAINING_FILE, read_histories, require_ids, require_sizes
from recbole_mgr.serving.run_files import (
    ABOUT_FILE,
    CHECKPOINT_FILE,
    ITEMS_FILE,
    check_file,
    mending,
    read_about,
    require_file,
)


class BaselineRun(NamedTuple):
    """A trained run of a model that scores every item, read from its folder; the network is in eval mode."""

    about: dict[str, Any]
    config: Config
    network: nn.Module
    device: torch.device
    item_texts: ItemTexts  # in the order of the item ids from 1
    histories: UserHistories | None


def read_baseline(run_dir: Path, device: torch.device) -> BaselineRun:
    """Read the run directory of a model that scores every item: its checkpoint, items, and the users' histories.

    Args:
        run_dir: of the run.
        device: where the network goes.

    Raises:
        ValueError: Naming the file and the remedy; also for a model that is built from more of its data set than a run
            directory keeps.
    """
    about = read_about(run_dir)
    try:
        model_class(str(about.get("model")))
    except ValueError as error:
        raise ValueError(
            f"{run_dir / ABOUT_FILE}: model {about.get('model')!r} is not one of ours or RecBole's; copy the run "
            "directory whole"
        ) from error
    for name in (CHECKPOINT_FILE, ITEMS_FILE, HISTORIES_FILE, TRAINING_FILE):
        check_file(run_dir, about, name, remedy=mending(run_dir))
    require_file(run_dir / ITEMS_FILE)
    require_file(run_dir / CHECKPOINT_FILE)
    item_texts = read_all_item_texts(run_dir / ITEMS_FILE)
    histories = read_histories(run_dir / HISTORIES_FILE, len(item_texts))
    checkpoint = load_checkpoint(run_dir / CHECKPOINT_FILE, map_location="cpu")
    stored = [checkpoint.get(key) if isinstance(checkpoint, dict) else None for key in ("config", "state_dict")]
    if not all(isinstance(part, dict) for part in stored):
        raise ValueError(f"{run_dir / CHECKPOINT_FILE}: no checkpoint of a run; copy the run directory again")
    if checkpoint["config"].get("model") != about["model"]:
        raise ValueError(
            f"{run_dir / CHECKPOINT_FILE}: of another model than {ABOUT_FILE}; copy the run directory whole"
        )
    config = rebuild_config(checkpoint["config"])
    config["device"] = device
    require_sizes(config.final_config_dict, [tensor.shape for tensor in checkpoint["state_dict"].values()], run_dir)
    knows_users = config["MODEL_TYPE"] != ModelType.SEQUENTIAL
    pairs = np.zeros((0, 2), dtype=np.int64)
    if knows_users and (histories is None or not (run_dir / TRAINING_FILE).is_file()):
        raise ValueError(
            f"{run_dir} keeps no histories of its users (keep_histories: False), and {about['model']} recommends to "
            "none but users that it knows"
        )
    if knows_users:
        arrays = read_arrays(run_dir / TRAINING_FILE, remedy=mending(run_dir))
        try:
            pairs = np.stack([arrays["users"], arrays["items"]], axis=1)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{run_dir / TRAINING_FILE}: this file is damaged ({error}); {mending(run_dir)}"
            ) from error
        require_ids(run_dir / TRAINING_FILE, pairs[:, 0], len(histories))
        require_ids(run_dir / TRAINING_FILE, pairs[:, 1], len(item_texts))
    try:
        network = config.model_class(config, known_data(config, about["users"], len(item_texts), pairs)).to(device)
        take_weights(network, checkpoint)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{run_dir}: {about['model']} cannot be built from its run directory ({' '.join(str(error).split())}); it "
            "reads more of its data set than that keeps, or the files belong to different runs. Recommend with another "
            "model of the table"
        ) from error
    return BaselineRun(about, config, network.eval(), device, item_texts, histories)
