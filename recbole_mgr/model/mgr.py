"""The MGR family: TIGER, MGR-EF, MGR-LF and MGR-LF++, which differ in how an item becomes a semantic ID.

Sources: Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023 (arXiv 2305.05065), as the
unimodal baseline; Zhu et al., "Multimodal Generative Recommendation", arXiv 2503.23333, for the other three.
Deviations, of all: residual k-means is the default quantiser (``quantizer: rqvae`` is the papers'), no user token, and
the defaults ``backbone: hierarchical`` and ``code_softmax: legal`` are ours (``t5`` and ``full`` are the papers').
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.distributed import processes
from recbole_mgr.integration.windows import count_targets
from recbole_mgr.model.alignment import AlignmentStage
from recbole_mgr.model.generative import GenerativeRecommender


class TIGER(GenerativeRecommender):
    """TIGER: one modality, one semantic ID; ``modalities`` names exactly one."""

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        super().check_settings(settings)
        modalities = settings["modalities"]
        if len(modalities) != 1:
            raise ValueError(
                f"modalities: {modalities}: TIGER takes one; choose it (TIGER:modalities={modalities[0]}) or use "
                "MGREF, MGRLF or MGRLFpp"
            )


class MGREF(GenerativeRecommender):
    """MGR-EF, early fusion: one semantic ID for the fused vector of all modalities.

    The paper does not say how the vectors are merged; ``early_fusion: concat`` of L2-normalised vectors is our reading,
    ``mean`` and ``sum`` are options.
    """

    fusion = "early"


class MGRLF(GenerativeRecommender):
    """MGR-LF, late fusion: one semantic ID per modality, concatenated in the order of ``modalities``.

    Collisions are told apart once, by a last digit on the whole ID: the paper does not say, and the concatenation
    collides far less than either part.
    """


class MGRLFpp(GenerativeRecommender):
    """MGR-LF++: late fusion with transition tokens and contrastive modality alignment.

    A transition token stands between the codes of two modalities, in history and target. The alignment stage precedes
    recommendation training; its loss is not given in the paper, see :mod:`recbole_mgr.model.alignment` for our
    reading. For ablations each part can be switched off, and the alignment loss can accompany recommendation training
    (as in MACRec) instead of preceding it, or both.

    Its default settings are those of ``preset: best``, which is ours and validates best; ``preset: paper`` and
    ``preset: None`` are the model of the paper.
    """

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

    def loss_of_part(self, part: Interaction, whole: Interaction, counts: bool) -> Tensor:
        """Rows count by their targets; the alignment of the draw, which all processes compute, in equal parts."""
        loss = super().calculate_loss(part) * (counts * count_targets(part) / count_targets(whole))
        if self.alignment_weight == 0:
            return loss
        alignment = self.alignment.loss(self.alignment.draw_items())
        return loss + self.alignment_weight * alignment / processes.count()

    @classmethod
    def has_transitions(cls, settings: Mapping[str, Any]) -> bool:
        return settings["transitions"]

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        super().check_settings(settings)
        for key in ("alignment_epochs", "alignment_weight"):
            if settings[key] > 0 and not settings["alignment_losses"]:
                raise ValueError(
                    f"{key}: {settings[key]} needs a loss in alignment_losses: infonce, id_to_id or both; name one, or "
                    f"set {key} to 0"
                )
