"""RecBole data sets made from histories that are filtered and numbered once, and kept in a file for all that follows.

RecBole reads, filters and numbers the interactions anew for each model and seed, as Python strings. Where settings ask
for nothing but that, the same is taken from :mod:`recbole_mgr.data.interaction_histories`; where they ask for more
(other columns, features, intervals of values, ...) RecBole does it itself.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from recbole.config import Config
from recbole.data.dataset import Dataset, KnowledgeBasedDataset
from recbole.utils.enum_type import FeatureSource, FeatureType

from recbole_mgr.data.features import items_with_features
from recbole_mgr.data.interaction_histories import InteractionHistories, Kept
from recbole_mgr.data.interactions import Interactions, check_interactions, read_interactions
from recbole_mgr.data.table import AtomicFormat, read_header
from recbole_mgr.files import owned, remembered_digest

_FORMAT = 1  # of the cache; another one is made anew
_FOLDER = "histories"  # of the cache, in ``checkpoint_dir``
# Settings by which RecBole changes interactions in a way that only RecBole knows.
_RECBOLES_OWN = (
    "benchmark_filename additional_feat_suffix alias_of_user_id alias_of_item_id val_interval threshold "
    "normalize_field normalize_all discretization numerical_features preload_weight unload_col unused_col"
).split()


def are_plain(settings: Config) -> bool:
    """Whether settings load users, items and times alone, and change them by filters on their counts at most."""
    wanted = {settings[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")}
    load_col = settings["load_col"]
    loads_these = isinstance(load_col, dict) and set(load_col) == {"inter"} and isinstance(load_col["inter"], list)
    return loads_these and set(load_col["inter"]) == wanted and not any(settings[key] for key in _RECBOLES_OWN)


def plain_histories(
    config: Config, dataset: str, *, dropped: list[str] | None = None, keeps: bool = True
) -> InteractionHistories:
    """The histories of a data set under settings that `are_plain`: from the cache, or made and kept there.

    Args:
        config: the settings.
        dataset: its name.
        dropped: the modalities without which items are dropped; by default those of the settings.
        keeps: whether what is made is kept; a command that only looks leaves nothing behind.

    Raises:
        ValueError: As `read_interactions`; also where the filters leave nothing.
    """
    path, format = Path(config["data_path"]) / f"{dataset}.inter", AtomicFormat.of(config)
    filters = {
        "repeats": config["rm_dup_inter"],
        "user_counts": config["user_inter_num_interval"],
        "item_counts": config["item_inter_num_interval"],
    }
    dropped = config["drop_items_without"] if dropped is None else dropped
    kept = items_with_features(Path(config["data_path"]), dataset, dropped, format) if dropped else None
    if not path.is_file():
        check_interactions(path, format)  # which says so
    told = [_FORMAT, remembered_digest(path), format, filters, None if kept is None else sorted(kept)]
    name = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:20]
    cached = Path(config["checkpoint_dir"]) / _FOLDER / f"{dataset}-{name}.safetensors"
    if not cached.is_file():
        if not keeps:
            return _made(config, dataset, kept, dropped)
        with owned(cached, waits=True):  # of several commands one makes it
            if not cached.is_file():
                _made(config, dataset, kept, dropped).save(cached)
    return InteractionHistories.load(cached)


def _made(config: Config, dataset: str, kept: set[str] | None, dropped: list[str] | None) -> InteractionHistories:
    """The histories of a data set's file, with ``kept`` items alone where some are dropped."""
    interactions = read_interactions(Path(config["data_path"]) / f"{dataset}.inter", AtomicFormat.of(config))
    if kept is not None:
        interactions = _of_items(interactions, kept, dataset, dropped)
    counts = {name: _allowed(config[f"{name}_inter_num_interval"]) for name in ("user", "item")}
    made = InteractionHistories.of(
        interactions, repeats=config["rm_dup_inter"], user_counts=counts["user"], item_counts=counts["item"]
    )
    if not len(made):
        raise ValueError(
            f"{dataset}: the filters leave no interaction; loosen user_inter_num_interval, item_inter_num_interval "
            "or val_interval"
        )
    return made


def take_histories(data: Dataset, histories: InteractionHistories) -> None:
    """Make a RecBole data set of histories: what its ``_from_scratch`` leaves, but for the interactions themselves."""
    data._get_preset()
    data._get_field_from_config()
    data.histories = histories
    user, item, time = data.uid_field, data.iid_field, data.time_field
    path = Path(data.dataset_path) / f"{data.dataset_name}.inter"
    header = read_header(path, AtomicFormat.of(data.config))
    data.columns_of = {  # in the order of the file
        name: {user: "users", item: "items", time: "times"}[name] for name in header if name in (user, item, time)
    }
    sources = {user: FeatureSource.USER_ID, item: FeatureSource.ITEM_ID, time: FeatureSource.INTERACTION}
    for name in data.columns_of:
        type_ = FeatureType.FLOAT if name == time else FeatureType.TOKEN
        data.set_field_property(name, type_, sources[name], 1)
    data.field2bucketnum[time] = 2
    data.user_feat = data.item_feat = None
    data.feat_name_list = ["inter_feat"]
    data._init_alias()
    for field, tokens in ((user, histories.user_tokens), (item, histories.item_tokens)):
        data.field2id_token[field] = np.array(["[PAD]", *tokens])
    data.field2token_id = _NumbersOfTokens(data.field2id_token)


def interactions_frame(data: Dataset) -> pd.DataFrame:
    """The interactions of a data set made by `take_histories`, as RecBole holds them before it splits them."""
    users, items, times = data.histories.in_time_order()
    columns = {"users": users.astype(np.int64), "items": items.astype(np.int64), "times": times}
    return pd.DataFrame({name: columns[kind] for name, kind in data.columns_of.items()})


def histories_of(data: Dataset) -> InteractionHistories:
    """The interactions of a data set that is not split yet, made in whatever way; where RecBole has made the times into
    something else they are not known (NaN)."""
    if data.histories is not None:
        return data.histories
    frame = data.inter_feat
    times = frame[data.time_field] if data.time_field in frame else pd.Series(dtype=object)
    return InteractionHistories.arranged(
        *(data.field2id_token[field][1:].tolist() for field in (data.uid_field, data.iid_field)),
        *(frame[field].to_numpy(np.int32) for field in (data.uid_field, data.iid_field)),
        times.to_numpy() if times.dtype == np.float64 else np.full(len(frame), np.nan),
    )


def install_shared_histories() -> None:
    """Let RecBole's own data sets of a comparison take the histories that our models take."""
    if hasattr(Dataset, "_takes_histories"):
        return
    Dataset._takes_histories = True
    Dataset.histories = None
    original = Dataset._from_scratch

    @functools.wraps(original)
    def from_scratch(self: Dataset) -> None:
        is_checked = getattr(self.config, "is_checked", False)  # a comparison's, and not of RecBole used by itself
        if not is_checked or isinstance(self, KnowledgeBasedDataset) or not are_plain(self.config):
            return original(self)
        take_histories(self, plain_histories(self.config, self.dataset_name))
        self.inter_feat = interactions_frame(self)
        return None

    Dataset._from_scratch = from_scratch


class _NumbersOfTokens(dict):
    """RecBole's ``field2token_id``: field -> token -> id, made for a field that is asked for."""

    def __init__(self, tokens_of: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.tokens_of = tokens_of

    def __missing__(self, field: str) -> dict[str, int]:
        self[field] = {token: number for number, token in enumerate(self.tokens_of[field].tolist())}
        return self[field]


def tell_dropped(dropped: np.ndarray, dataset: str, modalities: list[str]) -> None:
    """Log how many interactions are dropped, bool [n], whose items lack features; raises ValueError if all are."""
    getLogger().info(f"missing_modality: drop removes {int(dropped.sum())} of {len(dropped)} interactions")
    if dropped.all():
        raise ValueError(
            f"missing_modality: drop leaves no interaction of {dataset}: no item has a vector in every one of "
            f"{modalities}; check the ids of the feature files"
        )


def _of_items(interactions: Interactions, kept: set[str], dataset: str, modalities: list[str]) -> Interactions:
    """Those with items of a set."""
    stays = np.array([token in kept for token in interactions.item_tokens])[interactions.items]
    tell_dropped(~stays, dataset, modalities)
    rows = {name: getattr(interactions, name)[stays] for name in ("users", "items", "times")}
    return interactions._replace(**rows)


def _allowed(interval: str | None) -> Kept | None:
    """The test of numbers of interactions that RecBole's intervals mean; None where there are none."""
    if interval is None:
        return None
    parser = SimpleNamespace(logger=getLogger())
    intervals = Dataset._parse_intervals_str(parser, interval)
    return lambda counts: np.broadcast_to(Dataset._within_intervals(parser, counts, intervals), counts.shape)
