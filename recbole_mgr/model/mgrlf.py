"""MGR-LF: late fusion, one semantic ID per modality, concatenated in the order of ``modalities``.

Source: arXiv 2503.23333. Collisions are told apart once, by a last digit on the whole ID: the paper does not say,
and the concatenation collides far less than either part.
"""

from __future__ import annotations

from recbole_mgr.model.generative import GenerativeRecommender


class MGRLF(GenerativeRecommender):
    """Quantise each modality on its own and concatenate the codes."""
