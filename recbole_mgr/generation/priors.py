"""Priors: what is known of the items before a code is generated, as distributions over items.

A prior is anything that scores all items for a user: which items follow those of the history (memory), how often an
item was taken (popularity), a learned score of items. It meets generation in one of two ways:

- It is pushed down the trie. At a node a child's logit gains ``weight * log(mass below the child / mass below the
  node)``, mass being the sum of exp(score) over the items below. With equal logits and weight 1 the search generates
  items as likely as the prior says, with weight 0 the prior is not there, and under the ``legal`` softmax the items'
  probabilities sum to 1 in any case: :class:`WeightedPriors`, an argument of the searches.
- Its best items join those of the beams, and all are scored exactly, by the codes and by the prior:
  :func:`union_of_items` and :func:`recbole_mgr.generation.exact_scores.item_log_probs`.

Items are sorted by codes in the trie, so the items below a node are a range of leaves, and its mass is the difference
of two cumulative sums: only nodes that a search meets are ever asked for.

A prior holds the scores of every item (:class:`DensePrior`) or, where the catalogue is too large for that, those of a
short list (:class:`ShortListPrior`) or a way to score a block of items at a time (:class:`SearchedPrior`).

Shapes: B users, N items, W nodes a user, S slots of a node, M items of a short list, X excluded items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.generation.trie import AllowedItems, PrefixTrie

DENSE_ITEMS = 50_000  # up to so many items a prior holds a score of each for every user
LISTED = 2_000  # beyond, those of so many
SCORES_AT_A_TIME = 2**25  # that are computed together, over all users
FAINTEST = 25.0  # a score this far below the user's best is the lowest there is: double precision sums no smaller ones


class DensePrior:
    """Scores of every item.

    Args:
        trie: of the catalogue.
        scores: float [B, max_item_id + 1], by item id; [1, ...] where they are the same for all users. In the
            masses, what is beyond 25 below a user's best counts as 25 below.
        normalised: whether they become a distribution; else they are added as they are.

    Attributes:
        leaf_log_probs: float32 [B or 1, N], log-probability of each leaf of the trie, or its score.
    """

    def __init__(self, trie: PrefixTrie, scores: Tensor, *, normalised: bool = True) -> None:
        self.trie = trie
        scores = scores.index_select(1, trie.leaf_items).float()  # [B, N]
        self.leaf_log_probs = scores.log_softmax(dim=1) if normalised else scores

    @cached_property
    def _up_to(self) -> Tensor:
        """[B, N + 1], the sum of exp(score) over the leaves before each, the best one's being 1."""
        scores = self.leaf_log_probs.double()
        scores = (scores - scores.amax(dim=1, keepdim=True)).clamp(min=-FAINTEST)
        return F.pad(scores.exp().cumsum(dim=1), (1, 0))

    def log_mass(self, depth: int, nodes: Tensor) -> Tensor:
        """Log of the sum of exp(score) over the items below ``nodes`` (int64 [B, ...], no -1, at ``depth``), up to a
        constant of each user; float32 [B, ...]."""
        first, end = self.trie.leaf_range(depth, nodes)
        rows = self._up_to.expand(len(nodes), -1)
        mass = rows.gather(1, end.flatten(1)) - rows.gather(1, first.flatten(1))  # [B, nodes]
        return mass.clamp(min=math.exp(-FAINTEST)).log().float().view_as(nodes)

    def log_probs(self, item_ids: Tensor) -> Tensor:
        """Log-probability of items, int64 [B, M] (0 = none) -> float32 [B, M], -inf at 0."""
        leaves = self.trie.leaf(item_ids)
        found = self.leaf_log_probs.expand(len(item_ids), -1).gather(1, leaves.clamp(min=0))
        return found.masked_fill(leaves < 0, -torch.inf)

    def best(self, count: int, allowed_items: AllowedItems | None = None) -> Tensor:
        """The best ``count`` allowed items of each user, int64 [B or 1, count or fewer]; 0 where there are fewer."""
        scores = self.leaf_log_probs
        if allowed_items is not None:
            scores = scores.masked_fill(allowed_items.remaining[-1] == 0, -torch.inf)
        found = scores.topk(min(count, scores.shape[1]), dim=1)
        return self.trie.item_ids(found.indices).masked_fill(found.values == -torch.inf, 0)


class ShortListPrior:
    """Scores of a few items a user; all others share one score. For catalogues too large for scores of every item.

    Args:
        trie: of the catalogue.
        item_ids: int64 [B, M], distinct in a row; 0 = none.
        scores: float [B, M], of these items, at least ``floor``.
        floor: the score of every other item.
    """

    def __init__(self, trie: PrefixTrie, item_ids: Tensor, scores: Tensor, *, floor: float) -> None:
        self.trie = trie
        leaves = trie.leaf(item_ids)
        scores = scores.double().masked_fill(leaves < 0, floor)
        leaves = leaves.masked_fill(leaves < 0, trie.num_items)  # behind all others
        self._leaves, order = leaves.sort(dim=1)  # [B, M]
        best = scores.amax(dim=1, keepdim=True).clamp(min=floor)  # [B, 1]
        self._scores = (scores.gather(1, order) - best).clamp(min=-FAINTEST)  # [B, M]
        self._floor = (floor - best).clamp(min=-FAINTEST)  # [B, 1]
        above = self._scores.exp() - self._floor.exp()
        self._above_up_to = F.pad(above.cumsum(dim=1), (1, 0))  # [B, M + 1], what the list adds to the floor
        self._log_total = (self._above_up_to[:, -1:] + trie.num_items * self._floor.exp()).log()  # [B, 1]

    def log_mass(self, depth: int, nodes: Tensor) -> Tensor:
        """As :meth:`DensePrior.log_mass`."""
        first, end = (bound.flatten(1) for bound in self.trie.leaf_range(depth, nodes))
        above = [self._above_up_to.gather(1, torch.searchsorted(self._leaves, bound)) for bound in (end, first)]
        mass = above[0] - above[1] + (end - first) * self._floor.exp()
        return mass.log().float().view_as(nodes)

    def log_probs(self, item_ids: Tensor) -> Tensor:
        """As :meth:`DensePrior.log_probs`."""
        leaves = self.trie.leaf(item_ids)
        places = torch.searchsorted(self._leaves, leaves).clamp(max=self._leaves.shape[1] - 1)
        is_listed = self._leaves.gather(1, places) == leaves
        scores = torch.where(is_listed, self._scores.gather(1, places), self._floor)
        return (scores - self._log_total).float().masked_fill(leaves < 0, -torch.inf)

    def best(self, count: int, allowed_items: AllowedItems | None = None) -> Tensor:
        """As :meth:`DensePrior.best`, of the listed items."""
        scores = self._scores.masked_fill(self._leaves == self.trie.num_items, -torch.inf)
        if allowed_items is not None:
            remaining = F.pad(allowed_items.remaining[-1], (0, 1))
            scores = scores.masked_fill(remaining[self._leaves] == 0, -torch.inf)
        found = scores.topk(min(count, scores.shape[1]), dim=1)
        leaves = self._leaves.gather(1, found.indices).masked_fill(found.values == -torch.inf, -1)
        return self.trie.item_ids(leaves)


class SearchedPrior:
    """Scores of every item, computed a block of items at a time and not kept: for catalogues too large for [B, N].

    Its best items and their probabilities are exact. Pushed down the trie, the ``LISTED`` best items have their own
    mass and all others share the rest equally.

    Args:
        trie: of the catalogue.
        num_users: B.
        score: scores of the items at a slice of leaves for all users, float [B, n].
        score_of: scores of items [B, M], float [B, M]; padding may have any.
    """

    def __init__(
        self,
        trie: PrefixTrie,
        num_users: int,
        score: Callable[[slice], Tensor],
        score_of: Callable[[Tensor], Tensor],
    ) -> None:
        self.trie, self.num_users = trie, num_users
        self._score, self._score_of = score, score_of

    def log_mass(self, depth: int, nodes: Tensor) -> Tensor:
        """As :meth:`DensePrior.log_mass`."""
        return self._short_list.log_mass(depth, nodes)

    def log_probs(self, item_ids: Tensor) -> Tensor:
        """As :meth:`DensePrior.log_probs`."""
        found = self._score_of(item_ids).float() - self._listed.log_total
        return found.masked_fill(self.trie.leaf(item_ids) < 0, -torch.inf)

    def best(self, count: int, allowed_items: AllowedItems | None = None) -> Tensor:
        """As :meth:`DensePrior.best`."""
        found = self._listed
        if allowed_items is not None or count > found.item_ids.shape[1]:
            found = self._search(count, allowed_items)
        item_ids = found.item_ids[:, :count]
        return item_ids.masked_fill(found.scores[:, :count] == -torch.inf, 0)

    @cached_property
    def _listed(self) -> _Searched:
        return self._search(LISTED)

    @cached_property
    def _short_list(self) -> ShortListPrior:
        """The best items, and a floor for the others that keeps the sum of all."""
        found, num_items = self._listed, self.trie.num_items
        scores = (found.scores - found.log_total).double()  # [B, M], log-probabilities
        rest = (1 - scores.exp().sum(dim=1, keepdim=True)).clamp(min=1e-12) / max(1, num_items - scores.shape[1])
        floor = torch.minimum(rest.log(), scores[:, -1:])  # [B, 1]
        return ShortListPrior(self.trie, found.item_ids, scores - floor, floor=0.0)

    def _search(self, count: int, allowed_items: AllowedItems | None = None) -> _Searched:
        """The best ``count`` items of each user, and the log of the sum of exp(score) over the items asked for."""
        size = max(1, SCORES_AT_A_TIME // self.num_users)
        device = self.trie.device
        best = torch.full((self.num_users, 0), -torch.inf, device=device)
        item_ids = torch.zeros(self.num_users, 0, dtype=torch.int64, device=device)
        log_total = torch.full((self.num_users, 1), -torch.inf, device=device)
        for start in range(0, self.trie.num_items, size):
            leaves = slice(start, min(start + size, self.trie.num_items))
            block = self.trie.leaf_items[leaves].long()  # [n]
            scores = self._score(leaves).float()  # [B, n]
            if allowed_items is not None:
                scores = scores.masked_fill(allowed_items.remaining[-1][leaves] == 0, -torch.inf)
            log_total = torch.logaddexp(log_total, scores.logsumexp(dim=1, keepdim=True))
            of_block = scores.topk(min(count, len(block)), dim=1)
            best = torch.cat([best, of_block.values], dim=1)
            item_ids = torch.cat([item_ids, block[of_block.indices]], dim=1)
            best, order = best.topk(min(count, best.shape[1]), dim=1)
            item_ids = item_ids.gather(1, order)
        return _Searched(item_ids, best, log_total)


class _Searched(NamedTuple):
    """Item ids and scores [B, M], descending, and the log of the sum of exp(score), [B, 1]."""

    item_ids: Tensor
    scores: Tensor
    log_total: Tensor


Prior = DensePrior | ShortListPrior | SearchedPrior


class WeightedPriors(NamedTuple):
    """Priors and their weights, as the searches take them: several add up."""

    priors: Sequence[Prior]
    weights: Sequence[float]

    def child_scores(self, depth: int, children: Tensor) -> Tensor:
        """What to add to the logits of children (int64 [B, ...] at ``depth``, no -1), up to a constant of each node,
        which the ``legal`` softmax takes out: float32 [B, ...]."""
        total = torch.zeros(children.shape, device=children.device)
        for prior, weight in zip(self.priors, self.weights, strict=True):
            if weight:
                total += weight * prior.log_mass(depth, children)
        return total


def union_of_items(lists: Sequence[Tensor], exclude: Tensor | None = None) -> Tensor:
    """Several lists of items a user as one without repetitions.

    Args:
        lists: int64 [B or 1, M] each; 0 = none.
        exclude: int64 [B, X], items to leave out.

    Returns:
        int64 [B, sum of M], ascending; 0 = none.
    """
    batch_size = max(len(items) for items in lists)
    together = torch.cat([items.expand(batch_size, -1) for items in lists], dim=1).sort(dim=1).values
    repeated = F.pad(together[:, 1:] == together[:, :-1], (1, 0))
    if exclude is not None:
        repeated |= is_among(together, exclude.sort(dim=1).values)
    return together.masked_fill(repeated, 0)


def is_among(values: Tensor, ascending: Tensor) -> Tensor:
    """Which ``values`` [B, M] are among those of their row of ``ascending`` [B, X], X >= 1: bool [B, M]."""
    places = torch.searchsorted(ascending, values).clamp(max=ascending.shape[1] - 1)
    return ascending.gather(1, places) == values
