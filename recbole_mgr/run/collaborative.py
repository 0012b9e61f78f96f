"""Item vectors learned from the training interactions, by a RecBole baseline or by PPMI-SVD, as a feature file.

Source: collaborative vectors as one more modality are this project's extension of arXiv 2503.23333. Only the training
part teaches them; validation chooses a baseline's epoch, as for every model, and the test part is not seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from recbole.config import Config
from recbole.data.dataset import Dataset

from recbole_mgr.baselines.ppmi_svd import PpmiSettings, ppmi_svd_vectors
from recbole_mgr.data.feature_file import check_modality, write_features
from recbole_mgr.data.features import feature_path
from recbole_mgr.data.leak_guard import TRAINED_ON, describe_split, read_description
from recbole_mgr.data.provenance import Provenance
from recbole_mgr.files import write_text
from recbole_mgr.integration.checkpoint import load_checkpoint
from recbole_mgr.integration.config import make_config, plain_settings
from recbole_mgr.integration.dataset import read_dataset
from recbole_mgr.integration.registry import is_generative
from recbole_mgr.run.identity import checked_provenance, run_directory
from recbole_mgr.run.one_run import run_one
from recbole_mgr.run.results import RunResult
from recbole_mgr.serving.run_files import CHECKPOINT_FILE
from recbole_mgr.version import __version__

_NO_VECTORS = (
    "--model {model}: it keeps no item_embedding; use a model that does, e.g. SASRec, GRU4Rec, BPR or LightGCN"
)
_FOLDERS = ("data_path", "checkpoint_dir")  # of the machine, not of the vectors


class CollaborativeVectors(NamedTuple):
    """What was written.

    Attributes:
        path: the ``.npy`` file.
        shape: (items, dim).
        untrained: items of the data set without a vector, because no training interaction has them.
        result: of the baseline; None for PPMI-SVD.
    """

    path: Path
    shape: tuple[int, int]
    untrained: int
    result: RunResult | None


def write_collaborative_vectors(
    dataset: str, *, model: str, modality: str, settings: dict[str, Any], output: Path | None
) -> CollaborativeVectors:
    """Train a baseline, or read back what was trained before, and write its item vectors.

    Args:
        dataset: data set name.
        model: RecBole model that learns a vector for each item, e.g. ``SASRec``, ``BPR``, ``LightGCN``.
        modality: name of the feature file.
        settings: parsed settings of the model, data and training.
        output: folder of the files; None: the data set's.

    Raises:
        ValueError: For bad settings or data, a model without item vectors, or a feature file of that name that was
            made by other means.
    """
    if is_generative(model):
        raise ValueError(
            f"--model {model}: it has no vectors of items; use a baseline of RecBole's, e.g. SASRec or BPR"
        )
    target = _Target.checked(make_config(model, dataset, [], settings), modality, output)
    config, split = target.config, target.split
    network = config.model_class(config, split.train)
    if not hasattr(network, "item_embedding") and not hasattr(network, "restore_item_e"):
        raise ValueError(_NO_VECTORS.format(model=model))
    result = run_one(config, model, target.provenance)
    vectors = _item_vectors(run_directory(config, target.provenance) / CHECKPOINT_FILE, model)  # [N + 1, dim] at least
    about = {
        "model": model,
        "settings": {key: result.settings[key] for key in sorted(settings) if key not in _FOLDERS},
        "seed": config["seed"],
        "eval_args": result.settings["eval_args"],
        "validation": {key: float(value) for key, value in result.valid.items()},
        "epochs": result.epochs,
    }
    return target.write(vectors, _items_of(split.train), about)._replace(result=result)


def write_ppmi_svd_vectors(
    dataset: str, *, options: PpmiSettings, modality: str, settings: dict[str, Any], output: Path | None
) -> CollaborativeVectors:
    """Make item vectors of the training sequences alone, without a model: see `recbole_mgr.baselines.ppmi_svd`.

    Args:
        dataset: data set name.
        options: of the method.
        modality: name of the feature file.
        settings: parsed settings of data and split; those of the run that will read the vectors.
        output: folder of the files; None: the data set's.

    Raises:
        ValueError: For bad settings or data, or a feature file of that name that was made by other means.
    """
    config = make_config("HistoryAgain", dataset, [], settings)  # any sequential model splits as the generating ones do
    target = _Target.checked(config, modality, output)
    vectors = ppmi_svd_vectors(target.split.train.training_sequences, target.split.whole.item_num - 1, options)
    about = {
        "model": "PPMI-SVD",
        "settings": {**options._asdict(), **{key: settings[key] for key in sorted(settings) if key not in _FOLDERS}},
        "eval_args": plain_settings(config)["eval_args"],
    }
    return target.write(vectors, np.flatnonzero(vectors.any(axis=1)), about)


class _Split(NamedTuple):
    whole: Dataset
    train: Dataset
    about: dict[str, str]  # what tells the split from others


class _Target(NamedTuple):
    """Where vectors go and which interactions make them."""

    config: Config
    modality: str
    folder: Path
    provenance: Provenance
    split: _Split

    @classmethod
    def checked(cls, config: Config, modality: str, output: Path | None) -> _Target:
        """Split the data; raises ValueError where the modality's files stand there and were made by other means."""
        check_modality(modality)
        dataset = config["dataset"]
        folder = Path(config["data_path"]) if output is None else output
        made_before = feature_path(folder, dataset, modality)
        if made_before and read_description(folder / f"{dataset}.{modality}.yaml").get("trained_on") != TRAINED_ON:
            raise ValueError(
                f"{made_before}: exists and was not made from interactions; choose another --modality or remove the "
                "file"
            )
        provenance = checked_provenance(config, dataset)
        whole = read_dataset(config)
        train, valid, test = whole.build()
        return cls(config, modality, folder, provenance, _Split(whole, train, describe_split(whole, valid, test)))

    def write(self, vectors: np.ndarray, item_ids: np.ndarray, about: dict[str, Any]) -> CollaborativeVectors:
        """Write the vectors [N + 1, dim] of some items, and how they were made."""
        dataset, whole = self.config["dataset"], self.split.whole
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"{dataset}.{self.modality}"
        # at no moment do vectors stand beside the description of others
        (self.folder / f"{name}.ids").unlink(missing_ok=True)
        about = {"trained_on": TRAINED_ON, **about, **self.split.about, "recbole_mgr": __version__}
        write_text(self.folder / f"{name}.yaml", yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
        tokens = whole.field2id_token[whole.iid_field]
        item_tokens = [str(tokens[item_id]) for item_id in item_ids]
        write_features(self.folder, dataset, self.modality, item_tokens, vectors[item_ids])
        return CollaborativeVectors(
            path=self.folder / f"{name}.npy",
            shape=(len(item_ids), vectors.shape[1]),
            untrained=whole.item_num - 1 - len(item_ids),
            result=None,
        )


def _items_of(train: Dataset) -> np.ndarray:
    """Sorted internal ids of all items of the training part, histories of sequential data sets included."""
    columns = [train.inter_feat[train.iid_field]]
    if (history := f"{train.iid_field}{train.config['LIST_SUFFIX']}") in train.inter_feat:
        columns.append(train.inter_feat[history].flatten())
    item_ids = np.unique(np.concatenate([column.numpy() for column in columns]))
    return item_ids[item_ids > 0]


def _item_vectors(checkpoint: Path, model: str) -> np.ndarray:
    """Directions of the vectors that a model scores items by: those of its graph where it has one, else its embeddings.

    Length 1: how long a vector is says mostly how popular its item is, and quantisers would spend their codes on that.
    """
    state = load_checkpoint(checkpoint, map_location="cpu")
    vectors = (state["other_parameter"] or {}).get("restore_item_e")
    if vectors is None:
        vectors = state["state_dict"].get("item_embedding.weight")
    if vectors is None:
        raise ValueError(_NO_VECTORS.format(model=model))
    return torch.nn.functional.normalize(vectors.to(torch.float32), dim=1).numpy()
