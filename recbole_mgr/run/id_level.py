"""Hit rates on semantic IDs, beside those on items."""

from __future__ import annotations

import numpy as np
import torch

from recbole_mgr.integration.collector import Ranking
from recbole_mgr.semantic_id.table import SemanticIdTable


def id_level_metrics(ranking: Ranking, table: SemanticIdTable, topk: list[int]) -> dict[str, float]:
    """Hit rates on semantic IDs: the target's codes stand among the first k *distinct* codes of the ranked list.

    Args:
        ranking: ranked lists of internal item ids.
        table: semantic IDs in the order of internal item ids.
        topk: cut-offs.

    Returns:
        ``id@k`` (all codes before the dedup digit) and, with several modalities, ``<modality>@k``.
    """
    digits = list(enumerate(table.digits))
    parts = {"id": [d for d, digit in digits if digit.kind == "code"]}
    if len(table.modalities) > 1:
        for modality in table.modalities:
            parts[modality] = [d for d, digit in digits if digit.kind == "code" and digit.modality == modality]
    metrics = {}
    for name, columns in parts.items():
        _, group = torch.unique(table.codes[:, columns], dim=0, return_inverse=True)  # [N + 1]
        listed = group.numpy()[ranking.item_ids]  # [n, k]
        first_place = _distinct_places(listed)
        hit = listed == group.numpy()[ranking.targets][:, None]  # padding has codes of its own
        place = np.where(hit.any(axis=1), first_place[np.arange(len(hit)), hit.argmax(axis=1)], np.iinfo(int).max)
        metrics.update({f"{name}@{k}": float((place < k).mean()) for k in topk})
    return metrics


def _distinct_places(listed: np.ndarray) -> np.ndarray:
    """[n, k] how many distinct values stand before each entry of a row."""
    repeated = np.zeros(listed.shape, dtype=bool)
    for column in range(1, listed.shape[1]):
        repeated[:, column] = (listed[:, :column] == listed[:, column : column + 1]).any(axis=1)
    return np.cumsum(~repeated, axis=1) - 1
