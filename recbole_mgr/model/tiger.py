"""TIGER: generative retrieval over the semantic IDs of one modality.

Source: Rajput et al., "Recommender Systems with Generative Retrieval", NeurIPS 2023 (arXiv 2305.05065), as the
unimodal baseline of arXiv 2503.23333.
Deviations: residual k-means is the default quantiser (``quantizer: rqvae`` is the paper's), no user token, and the
defaults ``backbone: hierarchical`` and ``code_softmax: legal`` are ours (``t5`` and ``full`` are the paper's).
"""

from __future__ import annotations

from typing import Any

from recbole_mgr.model.generative import GenerativeRecommender


class TIGER(GenerativeRecommender):
    """One modality, one semantic ID: ``modalities`` names exactly one."""

    @classmethod
    def check_settings(cls, settings: dict[str, Any]) -> None:
        modalities = settings["modalities"]
        if len(modalities) != 1:
            raise ValueError(
                f"modalities: {modalities}: TIGER takes one; choose it (TIGER:modalities={modalities[0]}) or use "
                "MGREF, MGRLF or MGRLFpp"
            )
