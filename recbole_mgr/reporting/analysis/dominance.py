"""Modality dominance: how much the IDs of early fusion agree with those of each modality.

Source: arXiv 2503.23333, Table 1: adjusted mutual information of ID assignments. The paper finds that text dominates
the fused ID. AMI is 0 for assignments that agree by chance and 1 for equal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score

from recbole_mgr.reporting.analysis.runs import FinishedRun
from recbole_mgr.semantic_id.build import FUSED
from recbole_mgr.semantic_id.collisions import group_ids, token_order
from recbole_mgr.semantic_id.report import AMI_ITEMS, AMI_SEED


class Agreement(NamedTuple):
    """AMI of two sorts of IDs at one level, over the tables of the runs (one for each quantiser seed).

    Attributes:
        quantizer: how the IDs were made.
        one, other: what is compared, e.g. ``fused (concat)`` and ``text``.
        level: from 1.
        code: of the codes at this level alone, one value for each table.
        prefix: of the first ``level`` codes together. Where nearly every prefix is unique it says little.
    """

    quantizer: str
    one: str
    other: str
    level: int
    code: list[float]
    prefix: list[float]


def agreements(runs: Sequence[FinishedRun]) -> list[Agreement]:
    """AMI of all pairs of sorts of IDs that were made the same way.

    Args:
        runs: of one table; those without semantic IDs are left out.

    Returns:
        By way of quantising, pair and level; up to the shorter ID's levels. Large catalogues: on a sample of items.
    """
    found: dict[tuple, Agreement] = {}
    for (quantizer, _), sorts in _sorts_of_ids(runs).items():
        for (one, codes), (other, other_codes) in combinations(sorts.items(), 2):
            for level in range(min(codes.shape[1], other_codes.shape[1])):
                key = (quantizer, one, other, level + 1)
                entry = found.setdefault(key, Agreement(*key, [], []))
                entry.code.append(float(adjusted_mutual_info_score(codes[:, level], other_codes[:, level])))
                prefixes = (group_ids(part[:, : level + 1]) for part in (codes, other_codes))
                entry.prefix.append(float(adjusted_mutual_info_score(*prefixes)))
    return list(found.values())


def _sorts_of_ids(runs: Sequence[FinishedRun]) -> dict[tuple[str, Any], dict[str, np.ndarray]]:
    """(way of quantising, seed of the quantiser) -> name of the IDs -> codes [items, levels], items in one order."""
    groups: dict[tuple[str, Any], dict[str, np.ndarray]] = {}
    for run in runs:
        if run.semantic_ids is None:
            continue
        settings, items = run.result.settings, run.semantic_ids.item_tokens
        order = token_order(items)
        if len(order) > AMI_ITEMS:  # drawn along the tokens, so that every table gives the same items
            order = np.random.default_rng(AMI_SEED).choice(order, AMI_ITEMS, replace=False)
        for modality, block in run.semantic_ids.blocks.items():
            name = f"fused ({settings['early_fusion']})" if modality == FUSED else modality
            if settings["semantic_ids"]:
                key = ("user-supplied", None)
            else:
                how = f"{settings['quantizer']} {settings['codebook_levels']} x {settings['codebook_size']}"
                key = (how, settings["semantic_id_seed"])
            groups.setdefault(key, {}).setdefault(name, block[order])
    # fused first, so that a pair reads "fused against text"
    return {
        key: {name: sorts[name] for name in sorted(sorts, key=lambda name: not name.startswith(FUSED))}
        for key, sorts in groups.items()
    }
