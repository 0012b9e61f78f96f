"""Semantic IDs that the user supplies for some modalities only; the others are quantised from their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from recbole_mgr.data.semantic_id_file import coded_modalities, read_columns
from recbole_mgr.semantic_id.table import SemanticIdTable


def supplied_modalities(path: Path, modalities: Sequence[str]) -> list[str]:
    """Which of ``modalities`` a file of semantic IDs has codes for, in their order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its header is malformed, or names none of them: then the file was not meant for this run.
    """
    supplied = coded_modalities(path, modalities)
    if not supplied:
        raise ValueError(f"{path}: no codes for the modalities {list(modalities)}; it has {read_columns(path)}")
    return supplied


def complete_table(
    path: Path,
    built: Mapping[str, np.ndarray],
    *,
    item_tokens: Sequence[str],
    modalities: Sequence[str],
    size: int,
    transitions: bool,
) -> SemanticIdTable:
    """Put user-supplied and built codes side by side.

    Args:
        path: file of semantic IDs.
        built: modality -> int64 [N, levels], those that the file lacks, in the order of ``item_tokens``.
        item_tokens: N items.
        modalities: all, in the order of their blocks.
        size: codes per level of the built ones.
        transitions: put a digit between modalities.

    Returns:
        The table; collisions are told apart anew, a ``dedup`` column of the file is not read.

    Raises:
        ValueError: As `SemanticIdTable.load`.
    """
    supplied = SemanticIdTable.load(path, item_tokens=item_tokens, modalities=[m for m in modalities if m not in built])
    blocks, sizes = {}, {}
    for modality in modalities:
        if modality in built:
            blocks[modality], sizes[modality] = built[modality], [size] * built[modality].shape[1]
        else:
            block = supplied.block(modality)
            blocks[modality], sizes[modality] = supplied.codes[1:, block].numpy(), supplied.sizes[block]
    return SemanticIdTable.from_blocks(blocks, item_tokens, sizes=sizes, transitions=transitions)
