"""What ranks items beside their codes: which priors a model has, what each of them counts, and the joint ranking."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.generation.priors import DensePrior, Prior, is_among, union_of_items
from recbole_mgr.generation.trie import AllowedItems

CODES = "codes"
PARTS = (CODES, "item_softmax", "query_words", "memory", "popularity")
OFFSETS = "new_items"  # what is added to the scores of items that joined after training

# What is tried on validation users, relative to a weight of 1 for codes and item softmax together.
SHARES_OF_CODES = (0.0, 0.25, 0.5, 0.75, 1.0)
WEIGHTS = {
    "query_words": (0.0, 0.03, 0.1, 0.3, 1.0, 3.0),
    "memory": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),  # up to where codes only break ties
    "popularity": (-0.2, 0.0, 0.1, 0.3),
}


class Candidates(NamedTuple):
    """Items that may be ranked, and what each part knows of them.

    Attributes:
        item_ids: int64 [B, C], distinct in a row; 0 = none.
        log_probs: by part, float [B, C], -inf where there is no item.
    """

    item_ids: Tensor
    log_probs: dict[str, Tensor]

    def ranked(self, weights: Mapping[str, float], k: int) -> RankedList:
        """The best k by the weighted sum of log-probabilities; 0 and -inf where there are fewer."""
        scores = self.score(weights)
        best = scores.topk(min(k, scores.shape[1]), dim=1)
        return _filled_up(self.item_ids.gather(1, best.indices), best.values, k)

    def score(self, weights: Mapping[str, float]) -> Tensor:
        """[B, C]; -inf where there is no item."""
        total = sum(weights[part] * values.clamp(min=-1e4) for part, values in self.log_probs.items() if weights[part])
        return total.masked_fill(self.item_ids == 0, -torch.inf)


class PartWeights(nn.Module):
    """What each part counts in the ranking: set by the user, or chosen on validation users and kept with the weights
    of the network.

    Args:
        parts: those that the model has, of ``PARTS``.
        chosen: part -> weight; a part left out starts with an equal share (codes and item softmax) or 1.
    """

    values: Tensor

    def __init__(self, parts: Iterable[str], chosen: Mapping[str, float] | None) -> None:
        super().__init__()
        self.parts = [part for part in PARTS if part in set(parts)]
        learned = [part for part in self.parts if part in (CODES, "item_softmax")]
        start = {part: 1 / len(learned) if part in learned else 1.0 for part in self.parts} | dict(chosen or {})
        self.register_buffer("values", torch.tensor([start[part] for part in self.parts], dtype=torch.float64))

    def as_dict(self) -> dict[str, float]:
        return dict(zip(self.parts, self.values.tolist(), strict=True))

    def set(self, weights: Mapping[str, float]) -> None:
        self.values.copy_(torch.tensor([weights[part] for part in self.parts]))

    def trials(self) -> list[dict[str, float]]:
        """All weights to be tried."""
        shares = [share for share in SHARES_OF_CODES] if {CODES, "item_softmax"} <= set(self.parts) else [None]
        others = [part for part in self.parts if part in WEIGHTS]
        trials = []
        for share, *rest in itertools.product(shares, *(WEIGHTS[part] for part in others)):
            learned = {part: 1.0 for part in self.parts if part not in WEIGHTS}
            if share is not None:
                learned = {CODES: share, "item_softmax": 1 - share}
            trials.append(learned | dict(zip(others, rest, strict=True)))
        return trials

    def choose(self, batches: Iterable[tuple[Candidates, Tensor]], k: int) -> dict[str, float]:
        """Take the weights with the highest NDCG@k of the targets.

        Args:
            batches: of validation users: what may be ranked, and the targets, int64 [B].
            k: cut-off.

        Returns:
            The weights; of equally good ones those that come first.
        """
        trials = self.trials()
        gains = torch.zeros(len(trials), dtype=torch.float64)
        for candidates, targets in batches:
            is_target = candidates.item_ids == targets.unsqueeze(1)  # [B, C]
            for trial, weights in enumerate(trials):
                scores = candidates.score(weights)
                own = scores.masked_fill(~is_target, -torch.inf).amax(dim=1, keepdim=True)
                rank = (scores > own).sum(dim=1)  # 0 = first
                found = is_target.any(dim=1) & (rank < k)
                gains[trial] += (found / (rank + 2.0).log2()).sum().double().cpu()
        best = trials[int(gains.argmax())]
        self.set(best)
        return best


def candidates_of(
    beams: Sequence[RankedList] | None,
    priors: Mapping[str, Prior],
    score_codes: Callable[[Tensor], Tensor] | None,
    *,
    count: int,
    excludes: Sequence[Tensor | None] = (None,),
    allowed_items: AllowedItems | None = None,
) -> list[Candidates]:
    """For each of ``excludes`` the items of the beams and the best of each prior; each item is scored once, by all.

    Args:
        beams: of a search by codes for each of ``excludes``, without what may not be returned; None where codes do not
            count.
        priors: by part.
        score_codes: log-probabilities by codes of items [B, C]; None where codes do not count.
        count: items taken of each prior; those that are excluded are taken in addition.
        excludes: int64 [B, X], items a user must not get, or None.
        allowed_items: the items that anyone may get.
    """
    lists = []
    for number, exclude in enumerate(excludes):
        spare = 0 if exclude is None else exclude.shape[1]
        found = [] if beams is None else [beams[number].item_ids]
        found += [prior.best(count + spare, allowed_items) for prior in priors.values()]
        lists.append(union_of_items(found, exclude))
    together = union_of_items(lists) if len(lists) > 1 else lists[0]
    together = together.sort(dim=1, descending=True).values
    together = together[:, : max(1, int((together > 0).sum(dim=1).max()))]  # no columns without an item
    log_probs = {}
    if beams is not None:
        found, known = (torch.cat(part, dim=1).unsqueeze(1) for part in zip(*beams, strict=True))  # [B, 1, all W]
        is_beam = together.unsqueeze(2) == found  # [B, C, all W]
        of_beams = known.masked_fill(~is_beam, -torch.inf).amax(dim=2)  # the search has scored them
        others = together.masked_fill(is_beam.any(dim=2), 0)
        log_probs[CODES] = torch.maximum(of_beams, score_codes(others))
    log_probs |= {part: prior.log_probs(together) for part, prior in priors.items()}
    if len(lists) == 1:
        return [Candidates(together, log_probs)]
    own = [is_among(together.contiguous(), items.sort(dim=1).values) for items in lists]  # [B, C]
    return [Candidates(together.masked_fill(~is_own, 0), log_probs) for is_own in own]


def rank_all_items(
    priors: Mapping[str, DensePrior],
    weights: Mapping[str, float],
    k: int,
    *,
    excludes: Sequence[Tensor | None],
    allowed_items: AllowedItems | None = None,
) -> list[RankedList]:
    """For each of ``excludes`` the best k of all items by the weighted sum of priors that know a score of each.

    Args:
        priors: by part, at least one.
        weights: by part.
        k: length of the lists; 0 and -inf where there are fewer items.
        excludes, allowed_items: as in :func:`candidates_of`.
    """
    trie = next(iter(priors.values())).trie
    scores = sum(weights[part] * prior.leaf_log_probs for part, prior in priors.items())  # [B or 1, N]
    if allowed_items is not None:
        scores = scores.masked_fill(allowed_items.remaining[-1] == 0, -torch.inf)
    lists = []
    for exclude in excludes:
        left = scores
        if exclude is not None:
            leaves = trie.leaf(exclude)  # [B, X]
            left = F.pad(scores.expand(len(exclude), -1), (0, 1))  # a column more, for what is no item
            left = left.scatter(1, leaves.masked_fill(leaves < 0, trie.num_items), -torch.inf)[:, :-1]
        best = left.topk(min(k, trie.num_items), dim=1)
        item_ids = trie.item_ids(best.indices.masked_fill(best.values == -torch.inf, -1))
        lists.append(_filled_up(item_ids, best.values, k))
    return lists


def _filled_up(item_ids: Tensor, scores: Tensor, k: int) -> RankedList:
    """Lists [B, at most k] of items and scores with k places: 0 and -inf where there are fewer."""
    missing = (0, k - scores.shape[1])
    return RankedList(F.pad(item_ids, missing), F.pad(scores, missing, value=-torch.inf))


_OF_ITEMS = re.compile(r"(item_softmax\.item_(vectors|bias)|^memory\.(weights|targets)|^item_counts)$")


def with_new_items(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights with rows for items that join behind the others.

    A new item has no vector of its own, so its key is the sum of its codes' embeddings; it has the mean bias, and was
    never taken. What those like it say of it comes later (`GenerativeRecommender.let_in`).

    Args:
        weights: of the network, by name.
        wanted: of the network of the extended catalogue.
    """
    joined = dict(weights)
    for name, tensor in weights.items():
        if _OF_ITEMS.search(name):
            new = tensor.new_zeros(len(wanted[name]) - len(tensor), *tensor.shape[1:])
            joined[name] = torch.cat([tensor, new + tensor.mean() if name.endswith("item_bias") else new])
    return joined
