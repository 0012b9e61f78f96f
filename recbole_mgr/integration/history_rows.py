"""RecBole's sequential rows, cut from flat histories when they are asked for.

RecBole makes one padded row for each interaction that has another before it (``sequential_dataset.py:77``): some
hundred times the memory of the interactions themselves, in two Python loops. Here such a row is a place and a length,
and its values are made for the batch that it is in.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.data.interaction_histories import InteractionHistories
from recbole_mgr.data.ordering import stable_order


class FlatHistories(NamedTuple):
    """What rows are cut from: one value a column for each of n interactions, by user, oldest first.

    Attributes:
        columns: name -> [n] or [n, ...], possibly of a narrower type than rows have.
        types: name -> type of a row's values.
        lists: name of a column of histories -> the column that it lists, and the longest list.
        length: name of the column of the histories' lengths; None where there are no histories.
    """

    columns: dict[str, Tensor]
    types: dict[str, torch.dtype]
    lists: dict[str, tuple[str, int]]
    length: str | None


class HistoryRows(Interaction):
    """A RecBole ``Interaction`` of which only the columns that are read are made.

    Args:
        flat: what the rows are cut from.
        places: int32 [m], the target's place in ``flat``.
        lengths: int32 [m], how many interactions before it are its history.
    """

    def __init__(self, flat: FlatHistories, places: Tensor, lengths: Tensor) -> None:  # not the base's: it wants values
        self.interaction = _Columns(flat, places, lengths)
        self.length = len(places)

    @classmethod
    def of(cls, histories: InteractionHistories, kinds: Mapping[str, str]) -> HistoryRows:
        """The interactions themselves, by user, oldest first.

        Args:
            histories: where they stand.
            kinds: name of each column -> ``users``, ``items`` or ``times``.
        """
        columns = {name: getattr(histories, kind) for name, kind in kinds.items()}
        types = {name: torch.float32 if kind == "times" else torch.int64 for name, kind in kinds.items()}
        places = torch.arange(len(histories), dtype=torch.int32)
        return cls(FlatHistories(columns, types, {}, None), places, torch.zeros_like(places))

    def __getitem__(self, index: Any) -> Any:
        """A column by its name; rows by numbers, a mask or a slice; one row, without its dimension, by its number."""
        if isinstance(index, str):
            return self.interaction[index]
        if isinstance(index, int | np.integer):
            return Interaction({name: column[0] for name, column in self[[int(index)]].interaction.items()})
        if not isinstance(index, slice):
            index = torch.as_tensor(np.asarray(index))
            index = index if index.dtype == torch.bool else index.long()  # an empty list is one of floats
        columns = self.interaction
        chosen = HistoryRows(columns.flat, columns.places[index], columns.lengths[index])
        chosen.interaction.names = list(columns.names)
        chosen.interaction.others = {name: column[index] for name, column in columns.others.items()}
        return chosen

    def sort(self, by: Any, ascending: Any = True) -> None:
        if isinstance(by, str) and by in self.interaction and self[by].dim() == 1 and ascending is True:
            self._reindex(stable_order(self[by].numpy()))  # the order that RecBole computes, in a third of the time
        else:
            super().sort(by, ascending)

    def _reindex(self, index: Any) -> None:
        self.interaction = self[index].interaction


class _Columns(MutableMapping[str, Tensor]):
    """The columns of rows by ``names``, each made when it is first read and kept; one of the ``others``, which were put
    there, takes the place of it."""

    def __init__(self, flat: FlatHistories, places: Tensor, lengths: Tensor) -> None:
        self.flat, self.places, self.lengths = flat, places, lengths
        self.names = [*flat.columns, *([flat.length] if flat.length else ()), *flat.lists]
        self.made: dict[str, Tensor] = {}
        self.others: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name in self.others:
            return self.others[name]
        if name not in self.names:
            raise KeyError(name)
        if name not in self.made:
            self.made[name] = self._make(name)
        return self.made[name]

    def _make(self, name: str) -> Tensor:
        if name == self.flat.length:
            return self.lengths.long()
        if name in self.flat.columns:
            return self.flat.columns[name][self.places.long()].to(self.flat.types[name])
        field, longest = self.flat.lists[name]
        column = self.flat.columns[field]
        offset = torch.arange(longest)  # [L]
        is_inside = offset < self.lengths.unsqueeze(1)  # [m, L]
        index = torch.where(is_inside, (self.places - self.lengths).long().unsqueeze(1) + offset, 0)
        values = column[index].to(self.flat.types[field])  # [m, L, ...]
        return values.masked_fill_(~is_inside.view(*is_inside.shape, *[1] * (values.dim() - 2)), 0)

    def __setitem__(self, name: str, column: Tensor) -> None:
        if name not in self.names:
            self.names.append(name)
        self.others[name] = column

    def __delitem__(self, name: str) -> None:
        self.names.remove(name)
        self.others.pop(name, None)
        self.made.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def install_history_rows() -> None:
    """Let RecBole's sequential data sets make their rows lazily, and split them without loops; see the module."""
    from recbole.data.dataset import Dataset, SequentialDataset
    from recbole.sampler import RepeatableSampler

    if hasattr(SequentialDataset, "_cuts_rows_lazily"):
        return
    SequentialDataset._cuts_rows_lazily = True
    padded_rows, leave_one_out = SequentialDataset.data_augmentation, Dataset.leave_one_out

    @functools.wraps(padded_rows)
    def data_augmentation(self: SequentialDataset) -> None:
        self.logger.debug("data_augmentation")
        self._aug_presets()
        self._check_field("uid_field", "time_field")
        self.inter_feat = _with_histories(self)

    @functools.wraps(leave_one_out)
    def leave_one_out_at_once(self: Dataset, group_by: str, leave_one_mode: str) -> list[Dataset]:
        if group_by is None or leave_one_mode not in _HELD_OUT:
            return leave_one_out(self, group_by, leave_one_mode)  # which says what is wrong
        parts = _leave_one_out(self.inter_feat[:][group_by].numpy(), leave_one_mode)  # a copy does not keep the column
        self._drop_unused_col()
        return [self.copy(self.inter_feat[rows]) for rows in parts]

    empty_sets = RepeatableSampler.get_used_ids

    @functools.wraps(empty_sets)
    def no_sets(self: RepeatableSampler) -> np.ndarray:  # a set for each user, which are replaced before they are read
        return np.empty(0, dtype=object) if isinstance(self.dataset, SequentialDataset) else empty_sets(self)

    _number_rows_without_a_list()
    SequentialDataset.data_augmentation = data_augmentation
    Dataset.leave_one_out = leave_one_out_at_once
    RepeatableSampler.get_used_ids = no_sets


def _number_rows_without_a_list() -> None:
    """Let RecBole's loaders take the numbers of their rows as a range: a list of them takes 40 bytes a row.

    The name ``list`` is replaced in the module of ``AbstractDataLoader``, because nothing narrower gets between: its
    constructor writes ``super().__init__(dataset=list(range(self.sample_size)))``, so the list is made whatever the
    data set is and whoever overrides the constructor, and torch forbids to exchange it afterwards. Nothing else in that
    module asks for a list.
    """
    from recbole.data.dataloader import abstract_dataloader

    def list_but_of_numbers(values: Iterable[Any]) -> Sequence[Any]:
        return values if isinstance(values, range) else list(values)

    abstract_dataloader.list = list_but_of_numbers


def _with_histories(dataset: Any) -> HistoryRows:
    """The rows of a sequential data set whose ``inter_feat`` holds interactions: one for each that has another of its
    user before it."""
    interactions = dataset.inter_feat
    if isinstance(interactions, HistoryRows):
        flat = interactions.interaction.flat
    else:
        interactions.sort(by=[dataset.uid_field, dataset.time_field])
        columns = dict(interactions.interaction)
        flat = FlatHistories(columns, {name: column.dtype for name, column in columns.items()}, {}, None)
    others = [field for field in flat.columns if field != dataset.uid_field]
    list_names = {getattr(dataset, f"{field}_list_field"): field for field in others}
    lists = {}
    for name, field in list_names.items():
        longest = dataset.field2seqlen[name]  # of a column of sequences, with the longest of these
        lists[name] = (field, longest if isinstance(longest, int) else longest[0])
    users = flat.columns[dataset.uid_field].numpy()
    before = places_in_runs(users)  # interactions of the user before each, [n]
    targets = np.flatnonzero(before).astype(np.int32)
    lengths = np.minimum(before[targets], np.int32(dataset.config["MAX_ITEM_LIST_LENGTH"]))
    flat = flat._replace(lists=lists, length=dataset.item_list_length_field)
    return HistoryRows(flat, torch.from_numpy(targets), torch.from_numpy(lengths))


def places_in_runs(values: np.ndarray) -> np.ndarray:
    """How many values before each one of [n], without a gap, are the same: int32 [n]."""
    place = np.arange(len(values), dtype=np.int32)
    first = place.copy()
    first[1:][values[1:] == values[:-1]] = 0
    return place - np.maximum.accumulate(first)


_HELD_OUT = {"valid_and_test": 2, "valid_only": 1, "test_only": 1}


def _leave_one_out(users: np.ndarray, mode: str) -> list[np.ndarray]:
    """Row numbers of training, validation and test part: a user's last rows are held out, but never the first.

    The rows of a user stand together, in their order, and users follow each other as they first appear
    (``dataset.py:1681``).
    """
    first = np.full(int(users.max(initial=0)) + 1, len(users), dtype=np.int32)
    first[users[::-1]] = np.arange(len(users) - 1, -1, -1, dtype=np.int32)
    order = stable_order(first[users])
    users = users[order]
    count = np.bincount(users, minlength=len(first)).astype(np.int32)[users]  # rows of the user of each, [m]
    left = count - 1 - places_in_runs(users)  # rows of the user that follow each
    held_out = np.minimum(count - 1, _HELD_OUT[mode])
    last = order[(left == 0) & (held_out >= 1)]
    if mode == "valid_and_test":
        return [order[left >= held_out], order[(left == 1) & (held_out == 2)], last]
    nobody = order[:0]
    parts = {"valid_only": [last, nobody], "test_only": [nobody, last]}
    return [order[left >= held_out], *parts[mode]]
