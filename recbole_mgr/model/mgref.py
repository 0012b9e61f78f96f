"""MGR-EF: early fusion, one semantic ID for the fused vector of all modalities.

Source: Zhu et al., "Multimodal Generative Recommendation", arXiv 2503.23333. The paper does not say how the vectors
are merged; ``early_fusion: concat`` of L2-normalised vectors is our reading, ``mean`` and ``sum`` are options.
"""

from __future__ import annotations

from recbole_mgr.model.generative import GenerativeRecommender


class MGREF(GenerativeRecommender):
    """Fuse the modalities' vectors, then quantise once."""

    fusion = "early"
