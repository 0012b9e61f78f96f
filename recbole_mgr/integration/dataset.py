"""``GenerativeDataset``: RecBole's sequential data set that also holds the items' semantic IDs.

Overrides of RecBole are the narrowest that serve: what is checked before loading, which items are dropped, and
which of RecBole's own training rows are kept.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.utils import FeatureType

from recbole_mgr.data.features import items_with_features, load_features
from recbole_mgr.data.interactions import check_interactions
from recbole_mgr.data.leak_guard import refuse_leaking_vectors
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.data.vectors import Rows
from recbole_mgr.distributed import processes
from recbole_mgr.generation.item_memory import Sequences
from recbole_mgr.integration.histories import (
    are_plain,
    histories_of,
    interactions_frame,
    plain_histories,
    take_histories,
    tell_dropped,
)
from recbole_mgr.integration.history_rows import HistoryRows
from recbole_mgr.integration.seen_items import SeenItems, mark_seen_items
from recbole_mgr.integration.windows import windows
from recbole_mgr.semantic_id.build import FUSED, SemanticIdSettings, build_semantic_ids, quantize_modalities
from recbole_mgr.semantic_id.report import format_report, table_report
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.tokenizer import ItemTokenizer
from recbole_mgr.semantic_id.user_supplied import complete_table, read_supplied, supplied_modalities

_FILTERS = ("val_interval", "user_inter_num_interval", "item_inter_num_interval", "filter_inter_by_user_or_item")


def read_dataset(config: Config) -> Dataset:
    """RecBole's data set of a configuration; where its filters leave nothing, they are named."""
    try:
        return create_dataset(config)
    except ValueError as error:
        if "feat is empty" not in str(error):  # RecBole's words for it
            raise
        filters = ", ".join(f"{key}: {config[key]}" for key in _FILTERS if config[key])
        raise ValueError(
            f"nothing is left of {config['dataset']} after its filters ({filters}); loosen them"
        ) from error


def install_feature_filter() -> None:
    """Let every RecBole data set drop the items without features, so that a table's baselines rank what our models
    rank. The setting ``drop_items_without`` names the modalities; ``missing_modality: drop`` sets it."""
    if hasattr(Dataset, "_drops_items_without"):
        return
    Dataset._drops_items_without = True
    original = Dataset._filter_by_field_value

    @functools.wraps(original)
    def filter_by_field_value(self):
        if self.config["drop_items_without"]:
            _drop_items_without(self, self.config["drop_items_without"])
        original(self)

    Dataset._filter_by_field_value = filter_by_field_value


def _drop_items_without(dataset: Dataset, modalities: list[str]) -> None:
    folder, format = Path(dataset.config["data_path"]), AtomicFormat.of(dataset.config)
    keep = items_with_features(folder, dataset.dataset_name, modalities, format)
    dropped = ~dataset.inter_feat[dataset.iid_field].isin(keep)
    tell_dropped(dropped.to_numpy(), dataset.dataset_name, modalities)
    dataset.inter_feat = dataset.inter_feat.drop(index=dataset.inter_feat.index[dropped])


def tokens_of(dataset: Dataset, field: str) -> list[str]:
    """Tokens of users (``uid_field``) or items (``iid_field``) in the order of RecBole's internal ids, PAD left out."""
    if dataset.histories is not None:
        return dataset.histories.user_tokens if field == dataset.uid_field else dataset.histories.item_tokens
    return dataset.field2id_token[field][1:].tolist()


class CheckedDataset(SequentialDataset):
    """Sequential data set of all our models: its files are checked, and it knows who has seen what.

    Attributes (after :meth:`build`):
        seen_items (SeenItems): on the validation and test parts, what each user has already.
        rows_of_one_target (HistoryRows): on the training part, its rows before they are merged into windows.
        training_sequences (Sequences): on the training part, the training items of every internal user id.
    """

    seen_items: SeenItems
    rows_of_one_target: HistoryRows

    @functools.cached_property
    def training_sequences(self) -> Sequences:
        """Made where a model asks for them."""
        return training_sequences(self.copy(self.rows_of_one_target))

    @functools.cached_property
    def inter_feat(self) -> pd.DataFrame:
        """The interactions where they came as histories and nothing else was put here yet."""
        return interactions_frame(self)

    def _from_scratch(self) -> None:
        if are_plain(self.config):
            take_histories(self, plain_histories(self.config, self.dataset_name))
        else:
            super()._from_scratch()

    def _change_feat_format(self) -> None:
        if self.histories is None:
            return super()._change_feat_format()
        self.inter_feat = HistoryRows.of(self.histories, self.columns_of)
        self.data_augmentation()
        return None

    def _load_data(self, token: str, dataset_path: str) -> None:
        if self.benchmark_filename_list:
            raise ValueError(
                "benchmark_filename: the generating models split by time themselves; give one .inter file and eval_args"
            )
        check_interactions(Path(dataset_path) / f"{token}.inter", AtomicFormat.of(self.config))
        super()._load_data(token, dataset_path)

    def _filter_by_inter_num(self) -> None:
        super()._filter_by_inter_num()  # the last of RecBole's filters
        if self.inter_feat.empty:
            raise ValueError(
                f"{self.dataset_name}: the filters leave no interaction; loosen user_inter_num_interval, "
                "item_inter_num_interval or val_interval"
            )

    def counter(self, field: str) -> Counter:
        """RecBole's count of a token column's values, without a loop over the rows: of the training part those that it
        had before they were merged into windows."""
        if self.field2type.get(field) != FeatureType.TOKEN:
            return super().counter(field)  # which says what is wrong
        rows = getattr(self, "rows_of_one_target", self.inter_feat)[:]  # a copy, which does not keep the column
        counts = np.bincount(np.asarray(rows[field]))
        values = np.flatnonzero(counts)
        return Counter(dict(zip(values.tolist(), counts[values].tolist(), strict=True)))

    @property
    def item_tokens(self) -> list[str]:
        """N strings, see `tokens_of`."""
        return tokens_of(self, self.iid_field)

    def build(self) -> list[CheckedDataset]:
        """Split as RecBole does.

        Returns:
            Training, validation and test part.
        """
        histories = histories_of(self)
        if int(histories.lengths.max()) < 4:
            raise ValueError(
                f"{self.dataset_name}: no user has 4 interactions left after filtering, the fewest that give a row to "
                "training, validation and test each; loosen the filters or bring more data"
            )
        train, valid, test = super().build()
        if self.config["modalities"]:
            refuse_leaking_vectors(self, valid, test)
        mark_seen_items(histories, valid, test)
        train.rows_of_one_target = train.inter_feat[:]
        return [train, valid, test]


class WindowDataset(CheckedDataset):
    """Sequential data set whose training part has one row per user and window; every (user, target) pair counts
    exactly once per epoch."""

    def build(self) -> list[WindowDataset]:
        """Split as RecBole does, then arrange the training rows.

        Returns:
            Training, validation and test part.
        """
        train, valid, test = super().build()
        if self._has_windows:
            stride = self.config["window_stride"] or self.max_item_list_len
            train.inter_feat = windows(train.inter_feat, self.uid_field, stride)
        return [train, valid, test]

    @property
    def _has_windows(self) -> bool:
        return True


class GenerativeDataset(WindowDataset):
    """Sequential data set of the generating models.

    Attributes (after :meth:`build`, on the data set and its three parts):
        semantic_ids (SemanticIdTable): codes of every item, in the order of RecBole's internal item ids.
        semantic_id_report (dict): utilisation, collisions, reconstruction error, agreement of modalities; of several
            processes the owner has it.
        item_tokenizer (ItemTokenizer or None): on the data set alone, gives items to come their codes; None where the
            semantic IDs are user-supplied.
        item_vectors (dict or None): on the data set alone, modality -> [N, dim], what the tokenizer was fitted to.
    """

    semantic_ids: SemanticIdTable
    semantic_id_report: dict[str, Any]
    item_tokenizer: ItemTokenizer | None = None
    item_vectors: Mapping[str, Rows] | None = None

    def read_initial_run(self, read_run: Callable[[Path], Any]) -> None:
        """Hook before :meth:`build`: read the trained run that a training on this data set goes on from; by default
        there is none.

        Args:
            read_run: gives a :class:`recbole_mgr.serving.run_directory.Run` for a folder.
        """

    def build(self) -> list[GenerativeDataset]:
        """Split as RecBole does, then arrange the training rows and build or load the semantic IDs.

        Returns:
            Training, validation and test part. The training part has one row per prefix (``backbone: t5``) or one
            per user and window (``hierarchical``).
        """
        train, valid, test = super().build()
        table, report = self._semantic_id_table()
        if report:
            self.logger.info("semantic IDs: " + format_report(report))
        for part in (self, train, valid, test):
            part.semantic_ids, part.semantic_id_report = table, report
        return [train, valid, test]

    @property
    def _has_windows(self) -> bool:
        return self.config["backbone"] == "hierarchical"

    def _semantic_id_table(self) -> tuple[SemanticIdTable, dict[str, Any]]:
        """The table and its report: loaded where ``semantic_ids`` names a file, built from the features otherwise, and
        put together of both where the file lacks a modality."""
        layout = self.config.model_class
        modalities = [FUSED] if layout.fusion == "early" else self.config["modalities"]
        cache_dir = Path(self.config["checkpoint_dir"]) / "semantic_ids"
        supplied = self.config["semantic_ids"] and supplied_modalities(Path(self.config["semantic_ids"]), modalities)
        if supplied == modalities:
            return read_supplied(
                Path(self.config["semantic_ids"]),
                item_tokens=self.item_tokens,
                modalities=modalities,
                cache_dir=cache_dir,
                transitions=layout.has_transitions(self.config),
                item2id=Path(self.config["item2id"]) if self.config["item2id"] else None,
            )
        folder, policy = Path(self.config["data_path"]), self.config["missing_modality"]
        format = AtomicFormat.of(self.config)
        features = {
            modality: load_features(folder, self.dataset_name, modality, self.item_tokens, policy, format)
            for modality in self.config["modalities"]
            if modality not in (supplied or [])
        }
        vectors = {modality: part.vectors for modality, part in features.items()}
        settings = semantic_id_settings(self.config, layout)
        if supplied:
            quantized = quantize_modalities(vectors, self.item_tokens, settings, cache_dir=cache_dir)
            table = complete_table(
                Path(self.config["semantic_ids"]),
                {modality: part.codes for modality, part in quantized.items()},
                item_tokens=self.item_tokens,
                modalities=modalities,
                size=settings.codes_per_level(len(self.item_tokens)),
                transitions=settings.transitions,
            )
            return table, _report_of_owner(table)
        table, quantized = build_semantic_ids(vectors, self.item_tokens, settings, cache_dir=cache_dir)
        self.item_tokenizer = ItemTokenizer(
            settings=settings,
            quantizers={modality: part.quantizer for modality, part in quantized.items()},
            fill_vectors={modality: part.fill_vector for modality, part in features.items()},
        )
        self.item_vectors = {modality: part.vectors for modality, part in quantized.items()}
        report = _report_of_owner(
            table,
            self.item_vectors,
            {modality: part.quantizer for modality, part in quantized.items()},
        )
        return table, report


def _report_of_owner(*of: Any) -> dict[str, Any]:
    """The report by the process that writes it; nothing in others, which would read all vectors for it."""
    return table_report(*of) if processes.is_owner() else {}


def training_sequences(*parts: SequentialDataset) -> Sequences:
    """Every user's items, oldest first, from RecBole's rows of one target each.

    Args:
        parts: the training part of a sequential data set, before its rows are merged into windows; parts that follow
            it in time add their targets.

    Returns:
        A sequence for each internal user id, empty where a user has no row.
    """
    train = parts[0]
    list_field = train.iid_field + train.config["LIST_SUFFIX"]
    rows = [part.inter_feat for part in parts]
    users = torch.cat([part[train.uid_field] for part in rows]).numpy()
    targets = torch.cat([part[train.iid_field] for part in rows]).numpy()
    first = np.full(train.user_num, len(users))
    first[users[::-1]] = np.arange(len(users) - 1, -1, -1)
    first = np.sort(first[first < len(users)])  # the item before a user's first row is no target itself
    oldest, start = [], 0
    for part in rows:
        inside = first[(first >= start) & (first < start + len(part))]
        oldest.append(part[inside - start][list_field][:, 0].numpy())
        start += len(part)
    items = np.concatenate([*oldest, targets])
    return Sequences.of(np.concatenate([users[first], users]), items, train.user_num)


def semantic_id_settings(config: Any, layout: type) -> SemanticIdSettings:
    """How a model of class ``layout`` turns items into semantic IDs; ``config`` is a Config or a plain dictionary."""
    return SemanticIdSettings(
        quantizer=config["quantizer"],
        quantizer_options=config["quantizer_options"],
        codebook_size=config["codebook_size"],
        codebook_levels=config["codebook_levels"],
        fusion=layout.fusion,
        early_fusion=config["early_fusion"],
        transitions=layout.has_transitions(config),
        seed=config["semantic_id_seed"],
    )
