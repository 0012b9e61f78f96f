"""What ranks items: which parts there are, and what each of them counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from recbole_mgr.model.ranking import CODES, Candidates

PARTS = (CODES, "item_softmax", "query_words", "memory", "popularity")
OFFSETS = "new_items"  # what is added to the scores of items that joined after training

# What is tried on validation users, relative to a weight of 1 for codes and item softmax together.
SHARES_OF_CODES = (0.0, 0.25, 0.5, 0.75, 1.0)
WEIGHTS = {
    "query_words": (0.0, 0.03, 0.1, 0.3, 1.0, 3.0),
    "memory": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),  # up to where codes only break ties
    "popularity": (-0.2, 0.0, 0.1, 0.3),
}


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
