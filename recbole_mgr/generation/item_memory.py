"""Item-to-item memory: which items follow which, learned in closed form, as a score of every item for a history.

``B = (X'X + ridge I)^-1 (X'Y + content_weight S)``, with one row of X and Y for each training position: X holds the
last items before it, ``history_decay ** k`` for the k-th newest, Y the next items from it on, ``future_decay ** k``. S,
if there is one, says which items are alike by content (`recbole_mgr.generation.likeness`). A history's scores are its
decayed last items times B.

Source: SLIST (arXiv 2103.16104) for the regression of the future on the past with decays, L3AE (arXiv 2508.13500) for
content as the target that the ridge pulls to. Ours: both in one formula, sums of several targets a position, and the
solve on a support of candidates for catalogues whose [N, N] matrix does not fit (`recbole_mgr.generation.ridge`).

Shapes: B users of a batch, L history items, N items (ids 1..N, 0 is padding), R entries kept of a row, M best items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.generation.ridge import solve_dense, solve_on_support

Progress = Callable[[int, int], None]  # parts done, parts in all


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What a memory is made with; the model ``ItemMemory`` has a setting for each.

    Args:
        history_decay, history_length: weight of the next older item of the history, in (0, 1]; items that count.
        future_decay, future_length: the same for the items to come.
        ridge: > 0, pulls B to zero.
        content_weight: >= 0, how strongly B is pulled to items that are alike by content.
        max_entries: R, entries of each row that are kept, the largest by absolute value; None keeps all.
        dense_items: up to so many items the solve is exact; beyond, each column of B rests on ``support`` items.
        support: items that a column of B may rest on beyond ``dense_items``.
    """

    history_decay: float = 0.8
    history_length: int = 10
    future_decay: float = 0.3
    future_length: int = 5
    ridge: float = 40.0
    content_weight: float = 0.0
    max_entries: int | None = None
    dense_items: int = 25_000
    support: int = 200

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> MemorySettings:
        """From a dictionary of settings, as a user writes it; raises ValueError where it names what there is not."""
        unknown = sorted(set(options) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(
                f"memory_options: {unknown} is not among {list(cls.__dataclass_fields__)}; correct the name"
            )
        return cls(**options)

    def __post_init__(self) -> None:
        for key in ("history_decay", "future_decay"):
            _require(0 < getattr(self, key) <= 1, key, getattr(self, key), "in (0, 1]")
        for key in ("history_length", "future_length", "support"):
            _require(getattr(self, key) >= 1, key, getattr(self, key), "at least 1")
        _require(self.ridge > 0, "ridge", self.ridge, "greater than 0")
        _require(self.content_weight >= 0, "content_weight", self.content_weight, "at least 0")
        _require(self.max_entries is None or self.max_entries >= 1, "max_entries", self.max_entries, "at least 1")


class Sequences(NamedTuple):
    """The training items of every user, oldest first, as one flat array.

    Attributes:
        item_ids: int64 [n], ids 1..N.
        starts: int64 [U + 1], where each user's items begin.
    """

    item_ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, users: np.ndarray, item_ids: np.ndarray, num_users: int = 0) -> Sequences:
        """From one row an interaction, the rows of a user in the order of time.

        Args:
            users: int64 [n], ids from 0 on; one without a row gets an empty sequence.
            item_ids: int64 [n].
            num_users: U, where ids may end below it.
        """
        counts = np.bincount(users, minlength=num_users)
        order = np.argsort(users, kind="stable")
        return cls(item_ids[order].astype(np.int64), np.concatenate([[0], np.cumsum(counts)]))


class Counts(NamedTuple):
    """What the regression needs of the interactions: sums over users.

    Attributes:
        gram: float32 CSR [N + 1, N + 1], X'X.
        forward: float32 CSR [N + 1, N + 1], X'Y.
    """

    gram: sparse.csr_matrix
    forward: sparse.csr_matrix

    @classmethod
    def of(cls, sequences: Sequences, num_items: int, settings: MemorySettings) -> Counts:
        """Count which items stand together in a past, and which stand in the past of which."""
        past = _window(sequences, num_items, settings.history_decay, settings.history_length, -1)
        future = _window(sequences, num_items, settings.future_decay, settings.future_length, +1)
        return cls((past.T @ past).tocsr(), (past.T @ future).tocsr())


class FittedMemory:
    """The matrix B and how it scores histories.

    Args:
        settings: what it was made with.
        weights: float32 [N + 1, N + 1], or [N + 1, R] with ``targets``: the weight of each target for an item of the
            history. Row 0 (padding) is zero.
        targets: int64 or int32 [N + 1, R], the items that the kept weights belong to; None where ``weights`` are all.
    """

    def __init__(self, settings: MemorySettings, weights: Tensor, targets: Tensor | None = None) -> None:
        self.settings = settings
        self.weights = weights
        self.targets = targets

    @classmethod
    def fit(
        cls,
        counts: Counts,
        settings: MemorySettings,
        likeness: sparse.csr_matrix | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        progress: Progress | None = None,
    ) -> FittedMemory:
        """Solve for B.

        Args:
            counts: of the training sequences; made with the same ``settings``.
            settings: see `MemorySettings`.
            likeness: CSR [N + 1, N + 1], S; needed where ``content_weight`` is above 0.
            device: where the solve is done and the weights are kept.
            dtype: of the dense solve; float32 is as good in ranking and half as large.
            progress: called with the parts done and all parts, from time to time.

        Raises:
            ValueError: If ``content_weight`` has no likeness to weigh.
        """
        goal = counts.forward
        if settings.content_weight:
            if likeness is None:
                raise ValueError(f"content_weight: {settings.content_weight} needs to know which items are alike")
            goal = (goal + settings.content_weight * likeness.astype(np.float32)).tocsr()
        if goal.shape[0] - 1 <= settings.dense_items:
            solved = solve_dense(
                counts.gram,
                goal,
                settings.ridge,
                max_entries=settings.max_entries,
                device=device,
                dtype=dtype,
                progress=progress,
            )
            return cls(settings, *solved)
        weights, targets = solve_on_support(
            counts.gram,
            goal,
            settings.ridge,
            support=settings.support,
            max_entries=settings.max_entries or settings.support,
            device=device,
            progress=progress,
        )
        return cls(settings, weights, targets)

    def to(self, device: torch.device | str) -> FittedMemory:
        """The same on another device."""
        targets = None if self.targets is None else self.targets.to(device)
        return FittedMemory(self.settings, self.weights.to(device), targets)

    def scores(self, history: Tensor, lengths: Tensor) -> Tensor:
        """Score every item; comparable within a row only.

        Args:
            history: int64 [B, L], item ids, oldest first, right-padded with 0.
            lengths: int64 [B], items of each history.

        Returns:
            float32 [B, N + 1]; padding scores 0, like an item of which nothing is known.
        """
        newest, decays = self._newest(history, lengths)  # [B, k] each
        if self.targets is None:
            return torch.nn.functional.embedding_bag(newest, self.weights, per_sample_weights=decays, mode="sum")
        scores = torch.zeros(history.shape[0], len(self.weights), device=self.weights.device)
        weights = self.weights[newest] * decays.unsqueeze(-1)  # [B, k, R]
        return scores.scatter_add_(1, self.targets[newest].long().flatten(1), weights.flatten(1))

    def best(self, history: Tensor, lengths: Tensor, count: int) -> RankedList:
        """The M items of the highest scores above 0, without a score for every item where few entries are kept.

        Args:
            history, lengths: as for :meth:`scores`.
            count: M.

        Returns:
            Item ids [B, M] and scores [B, M], descending; 0 and -inf where fewer items have a score above 0.
        """
        if self.targets is None:
            scores = self.scores(history, lengths)
            scores[:, 0] = -torch.inf
            best = scores.topk(min(count, scores.shape[1]))
            item_ids, values = best.indices, best.values
        else:
            found, totals = self._summed(*self._newest(history, lengths))
            best = totals.topk(min(count, totals.shape[1]))
            item_ids, values = found.gather(1, best.indices), best.values
        nothing = (values <= 0) | (item_ids == 0)
        item_ids, values = item_ids.masked_fill(nothing, 0), values.masked_fill(nothing, -torch.inf)
        return RankedList(item_ids, values).of_length(count)

    def _newest(self, history: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The last items of each history, newest first, and their decays; int64 and float32 [B, k]."""
        age = torch.arange(self.settings.history_length, device=history.device)
        place = lengths.unsqueeze(1) - 1 - age  # [B, k]
        item_ids = history.gather(1, place.clamp(min=0)).masked_fill(place < 0, 0)
        decays = (self.settings.history_decay**age).to(self.weights.dtype).expand_as(item_ids).contiguous()
        return item_ids, decays

    def _summed(self, newest: Tensor, decays: Tensor) -> tuple[Tensor, Tensor]:
        """Targets of a history's items, sorted, and at the first of equal ones the sum of their weights, else 0."""
        targets, order = self.targets[newest].long().flatten(1).sort(dim=1)  # [B, k * R]
        weights = (self.weights[newest] * decays.unsqueeze(-1)).flatten(1).gather(1, order)
        first = torch.ones_like(targets, dtype=torch.bool)
        first[:, 1:] = targets[:, 1:] != targets[:, :-1]
        group = first.cumsum(1) - 1
        totals = torch.zeros_like(weights).scatter_add_(1, group, weights)  # one a group, in the order of the groups
        return targets, totals.gather(1, group).masked_fill(~first, 0.0)


def _window(sequences: Sequences, num_items: int, decay: float, length: int, direction: int) -> sparse.csr_matrix:
    """[positions, N + 1]: the items before each position (direction -1) or from it on (+1), with decaying weights.

    A position is an item that has another one before it, so the rows of past and future belong together.
    """
    item_ids, starts = sequences
    sizes = np.diff(starts)
    first, end = np.repeat(starts[:-1], sizes), np.repeat(starts[1:], sizes)  # [n] of the user of each item
    position = np.flatnonzero(np.arange(len(item_ids)) > first)  # [positions]
    rows, columns, weights = [], [], []
    for age in range(length):
        place = position - 1 - age if direction < 0 else position + age
        inside = np.flatnonzero((place >= first[position]) & (place < end[position]))
        rows.append(inside)
        columns.append(item_ids[place[inside]])
        weights.append(np.full(len(inside), decay**age, dtype=np.float32))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=(len(position), num_items + 1))


def _require(legal: bool, key: str, value: float | None, rule: str) -> None:
    if not legal:
        raise ValueError(f"{key}: {value} must be {rule}")
