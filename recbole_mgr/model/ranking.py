"""How items are ranked for histories: by beams of codes, or by a sum of scores that codes and priors add to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.generation.beam_search import RankedList, Step, Trace, beam_searches
from recbole_mgr.generation.exact_scores import exhaustive_scores, item_log_probs
from recbole_mgr.generation.priors import DensePrior, Prior, WeightedPriors, is_among, union_of_items
from recbole_mgr.generation.trie import AllowedItems, CodeSoftmax, PrefixTrie

CODES = "codes"
FAINTEST = -1e4  # the lowest log-probability that counts
ROUNDING = 1e-3  # of sums of log-probabilities


class Wanted(NamedTuple):
    """What is asked for: arguments of `beam_searches`.

    Attributes:
        k: length of the lists.
        beam_width: width of the search, at least k.
        excludes: [B, X] item ids a user must not get, or None; each has a list of its own.
        allowed_items: the items that anyone may get.
        trace: sees the beams after each digit.
    """

    k: int
    beam_width: int
    excludes: Sequence[Tensor | None] = (None,)
    allowed_items: AllowedItems | None = None
    trace: Trace | None = None


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
        return RankedList(self.item_ids.gather(1, best.indices), best.values).of_length(k)

    def score(self, weights: Mapping[str, float]) -> Tensor:
        """[B, C]; -inf where there is no item."""
        total = sum(
            weights[part] * values.clamp(min=FAINTEST) for part, values in self.log_probs.items() if weights[part]
        )
        return total.masked_fill(self.item_ids == 0, -torch.inf)


class BeamRanker:
    """Ranks items by a search over their codes, with priors pushed down the trie where there are any.

    Args:
        step: of a search from the histories.
        trie: of the catalogue.
        batch_size: B, how many histories there are.
        code_softmax: over what a code's probability is normalised.
        priors: of these histories, with their weights, by part.

    Attributes:
        pushed: the priors that are pushed down the trie, with their weights, by part.
    """

    def __init__(
        self,
        step: Step,
        trie: PrefixTrie,
        *,
        batch_size: int,
        code_softmax: CodeSoftmax,
        priors: Mapping[str, tuple[Prior, float]] | None = None,
    ) -> None:
        self.trie, self.batch_size, self.pushed = trie, batch_size, priors or {}
        self._search = step, trie
        self._options = {
            "code_softmax": code_softmax,
            "priors": WeightedPriors(*zip(*priors.values(), strict=True)) if priors else None,
        }

    def lists(self, wanted: Wanted) -> list[RankedList]:
        """The best items, a list for each of the ``excludes``."""
        return beam_searches(*self._search, batch_size=self.batch_size, **wanted._asdict(), **self._options)

    def scores(self, item_ids: Tensor, at_least: Tensor | None = None) -> Tensor:
        """What items are ranked by, exact: int64 [B, M] (0 = none) -> float32 [B, M]; -inf where it is less than
        ``at_least`` [B, M]."""
        return item_log_probs(*self._search, item_ids, at_least=at_least, **self._options)

    def scores_of_all(self) -> Tensor:
        """Those of every item by its id, float32 [B, N + 1], -inf at 0."""
        return exhaustive_scores(*self._search, batch_size=self.batch_size, **self._options)

    def terms(self, item_ids: Tensor) -> dict[str, Tensor]:
        """What each part adds to the scores of items, where several are summed: nothing here."""
        return {}


class UnionRanker:
    """Ranks the items of the beams and the best of each prior, together, by the weighted sum of their scores.

    Where codes do not count, and the priors that do know a score of every item, all items are ranked, and there are no
    beams.

    Args:
        codes: ranks by codes alone.
        priors: of these histories, by part.
        weights: what each part counts, codes among them where they have a part in it.
        prior_candidates: how many of the best items of each prior are ranked, at least; those that are excluded are
            taken in addition.
    """

    def __init__(
        self, codes: BeamRanker, priors: Mapping[str, Prior], weights: Mapping[str, float], prior_candidates: int
    ) -> None:
        self.codes, self.priors, self.weights, self.prior_candidates = codes, priors, weights, prior_candidates
        self.pushed: dict[str, tuple[Prior, float]] = {}

    def lists(self, wanted: Wanted) -> list[RankedList]:
        """As :meth:`BeamRanker.lists`."""
        counted = {part: weight for part, weight in self.weights.items() if weight}
        priors = {part: prior for part, prior in self.priors.items() if part in counted}
        ranker = UnionRanker(self.codes, priors, counted, self.prior_candidates)
        if priors and CODES not in counted and all(isinstance(prior, DensePrior) for prior in priors.values()):
            return ranker._best_of_all(wanted)
        return [found.ranked(counted, wanted.k) for found in ranker.candidates(wanted, only_best=True)]

    def candidates(self, wanted: Wanted, *, only_best: bool = False) -> list[Candidates]:
        """For each of the ``excludes`` the items of the beams, where codes have a part, and the best of each prior;
        each item is scored once, by all. With ``only_best`` those that cannot be among the best k may have -inf by
        codes."""
        beams = self.codes.lists(wanted._replace(k=wanted.beam_width)) if CODES in self.weights else None
        count, lists = max(wanted.k, self.prior_candidates), []
        for number, exclude in enumerate(wanted.excludes):
            spare = 0 if exclude is None else exclude.shape[1]
            found = [] if beams is None else [beams[number].item_ids]
            found += [prior.best(count + spare, wanted.allowed_items) for prior in self.priors.values()]
            lists.append(union_of_items(found, exclude))
        together = union_of_items(lists) if len(lists) > 1 else lists[0]
        together = together.sort(dim=1, descending=True).values
        together = together[:, : max(1, int((together > 0).sum(dim=1).max()))]  # no columns without an item
        log_probs = self._by_priors(together)
        if beams is not None:
            at_least = self._of_interest(together, log_probs, beams, wanted.k) if only_best else None
            log_probs = {CODES: self._by_codes(together, beams, at_least)} | log_probs
        if len(lists) == 1:
            return [Candidates(together, log_probs)]
        own = [is_among(together.contiguous(), items.sort(dim=1).values) for items in lists]  # [B, C]
        return [Candidates(together.masked_fill(~is_own, 0), log_probs) for is_own in own]

    def scores(self, item_ids: Tensor) -> Tensor:
        """As :meth:`BeamRanker.scores`."""
        return Candidates(item_ids, self._log_probs(item_ids, self.codes.scores)).score(self.weights)

    def scores_of_all(self) -> Tensor:
        """As :meth:`BeamRanker.scores_of_all`."""
        trie = self.codes.trie
        everything = torch.arange(trie.max_item_id + 1, device=trie.device).expand(self.codes.batch_size, -1)
        log_probs = self._log_probs(everything, lambda _: self.codes.scores_of_all())
        return Candidates(everything, log_probs).score(self.weights)

    def terms(self, item_ids: Tensor) -> dict[str, Tensor]:
        """What each part adds to the scores of items, int64 [B, M] -> float [B, M] by part."""
        log_probs = self._log_probs(item_ids, self.codes.scores)
        return {part: self.weights[part] * values for part, values in log_probs.items()}

    def _log_probs(self, item_ids: Tensor, of_codes: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Log-probabilities [B, M] of items [B, M] by each part, those by codes from ``of_codes``."""
        log_probs = {CODES: of_codes(item_ids)} if CODES in self.weights else {}
        return log_probs | self._by_priors(item_ids)

    def _by_priors(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Log-probabilities [B, M] of items [B, M] by each prior."""
        return {part: prior.log_probs(item_ids) for part, prior in self.priors.items()}

    def _of_interest(
        self, item_ids: Tensor, by_priors: dict[str, Tensor], beams: Sequence[RankedList], k: int
    ) -> Tensor | None:
        """Log-probabilities by codes, [B, C], that items [B, C] need to come before the beams' k-th best item; None
        where any will do."""
        weight = self.weights[CODES]
        if weight <= 0:
            return None
        of_beams = [
            Candidates(found.item_ids, {CODES: found.scores} | self._by_priors(found.item_ids)) for found in beams
        ]
        lowest = torch.stack([found.ranked(self.weights, k).scores[:, -1:] for found in of_beams]).amin(dim=0)  # [B, 1]
        without = Candidates(item_ids, {CODES: torch.zeros_like(item_ids)} | by_priors).score(self.weights)
        needed = (lowest - without) / weight - ROUNDING
        return needed.masked_fill(needed <= FAINTEST, -torch.inf)

    def _by_codes(self, item_ids: Tensor, beams: Sequence[RankedList], at_least: Tensor | None) -> Tensor:
        """Log-probabilities [B, C] of items [B, C] by codes, -inf for those below ``at_least`` that no beam found; a
        search has scored those of its beams."""
        found, known = (torch.cat(part, dim=1).unsqueeze(1) for part in zip(*beams, strict=True))  # [B, 1, all W]
        is_beam = item_ids.unsqueeze(2) == found  # [B, C, all W]
        of_beams = known.masked_fill(~is_beam, -torch.inf).amax(dim=2)
        return torch.maximum(of_beams, self.codes.scores(item_ids.masked_fill(is_beam.any(dim=2), 0), at_least))

    def _best_of_all(self, wanted: Wanted) -> list[RankedList]:
        """As :meth:`lists`, of all items, by priors that know a score of each."""
        trie = self.codes.trie
        scores = sum(self.weights[part] * prior.leaf_log_probs for part, prior in self.priors.items())
        scores = scores.expand(self.codes.batch_size, -1)  # [B, N]; popularity alone is one row for all
        if wanted.allowed_items is not None:
            scores = scores.masked_fill(wanted.allowed_items.remaining[-1] == 0, -torch.inf)
        lists = []
        for exclude in wanted.excludes:
            left = scores
            if exclude is not None:
                leaves = trie.leaf(exclude)  # [B, X]
                left = F.pad(scores, (0, 1))  # a column more, for what is no item
                left = left.scatter(1, leaves.masked_fill(leaves < 0, trie.num_items), -torch.inf)[:, :-1]
            best = left.topk(min(wanted.k, trie.num_items), dim=1)
            item_ids = trie.item_ids(best.indices.masked_fill(best.values == -torch.inf, -1))
            lists.append(RankedList(item_ids, best.values).of_length(wanted.k))
        return lists


Ranker = BeamRanker | UnionRanker
