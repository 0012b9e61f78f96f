"""``SASRecWindows``: RecBole's SASRec, trained at every place of a history at once."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recbole_mgr.integration.model_files import ReadsFeatures
from recbole_mgr.integration.validation import require_stride, require_whole_heads
from recbole_mgr.integration.windows import TARGET_COUNT, count_targets, targets_of_windows

SCORES_AT_A_TIME = 2**22  # of targets x items in training: 16 MiB


class SASRecWindows(ReadsFeatures, SASRec):
    """RecBole's SASRec whose training row is a user's history, with each of its items as a target.

    RecBole makes a row for each target, with all that stands before it: a history of 50 is read fifty times an epoch.
    Here it is read once, as in SASRec's paper (arXiv 1808.09781). Network, scores and the loss of a target, the softmax
    over all items, are RecBole's. Two things differ: a target early in a window has fewer items before it than
    ``MAX_ITEM_LIST_LENGTH`` allows (``window_stride`` says how many at least), and the targets of one user share a
    step.

    Args:
        config: RecBole's Config.
        dataset: the training part.
    """

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        """Refuse settings that contradict each other; raises ValueError naming key, value and remedy."""
        require_stride(settings)
        require_whole_heads(settings)

    def gather_indexes(self, output: Tensor, gather_index: Tensor) -> Tensor:
        """The states [B, H] at one place [B] of each row, as RecBole's; at several places [B, P], [B, P, H]."""
        if gather_index.dim() == 1:
            return super().gather_indexes(output, gather_index)
        return output.gather(1, gather_index.unsqueeze(-1).expand(-1, -1, output.shape[-1]))

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean over the targets of a batch of windows of -log p(target | all before it), a scalar."""
        history, lengths = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        counts = interaction[TARGET_COUNT] if TARGET_COUNT in interaction else None
        following, is_target = targets_of_windows(history, lengths, interaction[self.POS_ITEM_ID], counts)
        every_length = torch.arange(1, history.shape[1] + 1, device=history.device).expand_as(history)
        states = self.forward(history, every_length)[is_target]  # [M, H]
        size = max(1, SCORES_AT_A_TIME // self.n_items)
        parts = zip(states.split(size), following[is_target].split(size), strict=True)
        # scores are computed again for the gradient, so that those of all targets are never held
        return sum(checkpoint(self._sum_of_losses, *part, use_reentrant=False) for part in parts) / len(states)

    def loss_of_part(self, part: Interaction, whole: Interaction, counts: bool) -> Tensor:
        """What a process adds to the loss of a batch, see :func:`recbole_mgr.integration.parallel.loss_of_part`."""
        return self.calculate_loss(part) * (counts * count_targets(part) / count_targets(whole))

    def _sum_of_losses(self, states: Tensor, items: Tensor) -> Tensor:
        return F.cross_entropy(states @ self.item_embedding.weight.T, items, reduction="sum")
