"""MGR-LF++: late fusion with transition tokens and contrastive modality alignment.

Source: arXiv 2503.23333. A transition token stands between the codes of two modalities, in history and target. The
alignment stage precedes recommendation training; its loss is not given in the paper, see
:mod:`recbole_mgr.model.alignment` for our reading. For ablations each part can be switched off, and the alignment
loss can accompany recommendation training (as in MACRec) instead of preceding it, or both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.model.alignment import AlignmentStage
from recbole_mgr.model.generative import GenerativeRecommender


class MGRLFpp(GenerativeRecommender):
    """MGR-LF plus transitions between modalities and modality alignment, before or during recommendation training."""

    def __init__(self, config, dataset) -> None:
        super().__init__(config, dataset)
        # the trainer runs this stage before its first epoch
        self.alignment = AlignmentStage(
            backbone=self.backbone,
            table=self.semantic_ids,
            epochs=config["alignment_epochs"],
            losses=config["alignment_losses"],
            temperature=config["alignment_temperature"],
            learning_rate=config["alignment_learning_rate"],
            batch_size=config["alignment_batch_size"],
            seed=config["seed"],
        )
        # one modality has nothing to be aligned with
        self.alignment_weight = config["alignment_weight"] if len(self.semantic_ids.modalities) > 1 else 0

    def calculate_loss(self, interaction: Interaction) -> Tensor:
        """Mean negative log-likelihood of the targets, plus the weighted alignment loss of a draw of items."""
        loss = super().calculate_loss(interaction)
        if self.alignment_weight == 0:
            return loss
        return loss + self.alignment_weight * self.alignment.loss(self.alignment.draw_items())

    @classmethod
    def has_transitions(cls, settings: Mapping[str, Any]) -> bool:
        return settings["transitions"]

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        losses = settings["alignment_losses"] or []
        if isinstance(losses, str):
            losses = [losses]
        settings["alignment_losses"] = losses
        unknown = set(losses) - {"infonce", "id_to_id"}
        if unknown:
            raise ValueError(f"alignment_losses: {sorted(unknown)} is not among infonce, id_to_id")
        weight = settings["alignment_weight"]
        if type(weight) not in (int, float) or not 0 <= weight < math.inf:
            raise ValueError(f"alignment_weight: {weight!r} must be a number >= 0")
        for key in ("alignment_epochs", "alignment_weight"):
            if settings[key] > 0 and not losses:
                raise ValueError(f"{key} > 0 needs a loss in alignment_losses: infonce, id_to_id or both")
        if settings["alignment_epochs"] < 0 or settings["alignment_batch_size"] < 2:
            raise ValueError("alignment_epochs must be >= 0 and alignment_batch_size >= 2 (items are contrasted)")
        if settings["alignment_temperature"] <= 0 or settings["alignment_learning_rate"] <= 0:
            raise ValueError("alignment_temperature and alignment_learning_rate must be > 0")
        if type(settings["transitions"]) is not bool:
            raise ValueError(f"transitions: {settings['transitions']!r} must be True or False")
