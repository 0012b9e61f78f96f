"""``ItemMemory``: the closed-form item-to-item model, as a RecBole model.

Source and mathematics: `recbole_mgr.generation.item_memory`. Here: where its content comes from (feature files or
user-supplied semantic IDs), what is told before the solve, and what a checkpoint keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import psutil
import torch
from scipy import sparse
from torch import Tensor

from recbole_mgr.baselines.closed_form import ClosedFormRecommender
from recbole_mgr.data.features import load_features
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.generation.item_memory import Counts, FittedMemory, MemorySettings, Sequences
from recbole_mgr.generation.likeness import by_codes, by_vectors, nearest_items
from recbole_mgr.generation.ridge import dense_bytes
from recbole_mgr.integration.dataset import CheckedDataset, tokens_of
from recbole_mgr.semantic_id.user_supplied import read_supplied, supplied_modalities

_PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


class ItemMemory(ClosedFormRecommender):
    """A history's decayed last items times a matrix of item-to-item weights."""

    choices: ClassVar[tuple[str, ...]] = ("content_weight", "history_decay", "future_decay", "ridge")

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        super().check_settings(settings)
        if settings["semantic_ids"] and not Path(settings["semantic_ids"]).is_file():
            raise ValueError(f"semantic_ids: {settings['semantic_ids']!r} must be the path of a file that exists")

    @classmethod
    def modalities_read(cls, settings: Mapping[str, Any]) -> list[str]:
        modalities, codes = settings["modalities"], settings["semantic_ids"]
        supplied = supplied_modalities(Path(codes), modalities) if codes and modalities else []
        return [modality for modality in modalities if modality not in supplied]

    @classmethod
    def files_read(cls, settings: Mapping[str, Any]) -> dict[str, Path]:
        codes = settings["semantic_ids"]
        return super().files_read(settings) | ({"semantic_ids": Path(codes)} if codes else {})

    def __init__(self, config, dataset: CheckedDataset) -> None:
        super().__init__(config, dataset)
        self.config = config
        if not config["modalities"]:
            self.grid["content_weight"] = [0.0]  # nothing to weigh
        self.memory: FittedMemory | None = None
        self.likeness = None
        if self.training_sequences and any(self.grid["content_weight"]):
            self.likeness = self._likeness(dataset)

    def _likeness(self, dataset: CheckedDataset) -> sparse.csr_matrix:
        """Which items are alike, over all modalities: by codes where the user supplied them, else by vectors."""
        tokens = tokens_of(dataset, dataset.iid_field)
        with_vectors = self.modalities_read(self.config.final_config_dict)
        with_codes = [modality for modality in self.config["modalities"] if modality not in with_vectors]
        parts = []
        if with_codes:
            path, cache_dir = Path(self.config["semantic_ids"]), Path(self.config["checkpoint_dir"]) / "semantic_ids"
            table, _ = read_supplied(path, item_tokens=tokens, modalities=with_codes, cache_dir=cache_dir)
            parts += [by_codes(table.codes[1:, table.block(modality)].numpy()) for modality in with_codes]
        for modality in with_vectors:
            folder, format = Path(self.config["data_path"]), AtomicFormat.of(self.config)
            features = load_features(folder, dataset.dataset_name, modality, tokens, "zero", format)
            parts.append(by_vectors(features.vectors, present=features.present))
        return nearest_items(parts, len(tokens), self.config["neighbours"])

    def fit(self, sequences: Sequences, chosen: dict[str, float]) -> None:
        settings = MemorySettings(
            **chosen,
            history_length=self.config["history_length"],
            future_length=self.config["future_length"],
            max_entries=self.config["max_entries"],
            dense_items=self.config["dense_items"],
            support=self.config["support"],
        )
        dtype = _PRECISIONS[self.config["precision"]]
        self.memory = None  # two of them need not stand in memory at once
        told = _plan(self.n_items, len(sequences.item_ids), settings, dtype, self.device)
        self.logger.info(f"{told}; {_told(chosen)}")
        counts = Counts.of(sequences, self.n_items - 1, settings)
        self.memory = FittedMemory.fit(
            counts, settings, self.likeness, device=self.device, dtype=dtype, progress=self._tell
        )

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        return self.memory.scores(history, lengths)

    def state(self) -> dict[str, Any]:
        return {"weights": self.memory.weights, "targets": self.memory.targets, "settings": vars(self.memory.settings)}

    def load_state(self, state: dict[str, Any]) -> None:
        memory = FittedMemory(MemorySettings(**state["settings"]), state["weights"], state["targets"])
        self.memory = memory.to(self.device)

    @property
    def _is_fitted(self) -> bool:
        return self.memory is not None

    def _tell(self, done: int, total: int) -> None:
        """A line in the log at each tenth of the solve."""
        if done * 10 // total > (done - 1) * 10 // total:
            self.logger.info(f"item memory: {done / total:.0%} of the columns solved")


def _plan(
    num_rows: int, num_interactions: int, settings: MemorySettings, dtype: torch.dtype, device: torch.device
) -> str:
    """How the solve will go and what it needs; raises ValueError where it cannot fit into memory."""
    num_items = num_rows - 1
    if num_items > settings.dense_items:
        entries = settings.max_entries or settings.support
        weights = 12 * num_rows * (settings.support + entries) / 2**30
        # at most one entry of the counts, of 12 bytes, for each two items that stand so near in a sequence
        near = 3 * settings.history_length + settings.future_length - 2
        counts = 12 * num_interactions * near / 2**30
        return (
            f"item memory: {num_items} items, more than dense_items: {settings.dense_items}; each column is solved on "
            f"{settings.support} items; at most {weights:.2f} GiB for the weights and {counts:.2f} GiB for the counts"
        )
    need = dense_bytes(num_items, dtype)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    told = f"{num_items} items in one dense solve, about {need / 2**30:.1f} GiB of the {free / 2**30:.1f} GiB free"
    if need > free:
        raise ValueError(
            f"dense_items: {settings.dense_items} puts {told}; set it below {num_items}, and each column is solved on "
            f"the {settings.support} items of `support`, or take precision: float32"
        )
    return f"item memory: {told}"


def _told(chosen: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in chosen.items())
