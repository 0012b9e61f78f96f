"""MGR-LF++: late fusion with transition tokens and a contrastive alignment stage.

Source: arXiv 2503.23333. A transition token stands between the codes of two modalities, in history and target. The
alignment stage precedes recommendation training; its loss is not given in the paper, see
:mod:`recbole_mgr.model.alignment` for our reading.
"""

from __future__ import annotations

from typing import Any

from recbole_mgr.model.alignment import AlignmentStage
from recbole_mgr.model.generative import GenerativeRecommender


class MGRLFpp(GenerativeRecommender):
    """MGR-LF plus transitions between modalities and modality alignment before recommendation training."""

    transitions = True

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

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        losses = settings["alignment_losses"] or []
        if isinstance(losses, str):
            losses = [losses]
        settings["alignment_losses"] = losses
        unknown = set(losses) - {"infonce", "id_to_id"}
        if unknown:
            raise ValueError(f"alignment_losses: {sorted(unknown)} is not among infonce, id_to_id")
        if settings["alignment_epochs"] > 0 and not losses:
            raise ValueError("alignment_epochs > 0 needs a loss in alignment_losses: infonce, id_to_id or both")
        if settings["alignment_epochs"] < 0 or settings["alignment_batch_size"] < 2:
            raise ValueError("alignment_epochs must be >= 0 and alignment_batch_size >= 2 (items are contrasted)")
        if settings["alignment_temperature"] <= 0 or settings["alignment_learning_rate"] <= 0:
            raise ValueError("alignment_temperature and alignment_learning_rate must be > 0")
