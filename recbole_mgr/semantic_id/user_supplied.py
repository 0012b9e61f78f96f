"""Semantic IDs that the user supplies for all modalities, or for some; the others are quantised from their vectors.

A user's file is parsed, matched with the items of the data set, checked and reported on once. What comes of it is kept
as one file that maps into memory, in a folder of caches and never beside the user's, and found by digests of all that
it depends on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recbole_mgr.data.semantic_id_file import (
    coded_modalities,
    description_path,
    read_columns,
    read_table_file,
    rows_of_items,
)
from recbole_mgr.files import owned, remembered_digest, replacing
from recbole_mgr.semantic_id.report import table_report
from recbole_mgr.semantic_id.table import Digit, SemanticIdTable

_FORMAT = 1  # of the cache; another one is made anew


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


def require_items(path: Path, item_tokens: Sequence[str], *, item2id: Path | None = None) -> None:
    """Refuse a file of semantic IDs that lacks items of a data set; raises as `read_table_file` and `rows_of_items`."""
    rows_of_items(path, read_table_file(path, item2id=item2id), item_tokens, item2id=item2id)


def read_supplied(
    path: Path,
    *,
    item_tokens: Sequence[str],
    modalities: Sequence[str],
    cache_dir: Path,
    transitions: bool = False,
    item2id: Path | None = None,
) -> tuple[SemanticIdTable, dict[str, Any]]:
    """The table of modalities that are all user-supplied, and its `table_report`.

    Args:
        path: file of semantic IDs.
        item_tokens: N items, in the order wanted.
        modalities: all, in the order of their blocks.
        cache_dir: folder that keeps both for the next call with files of the same content and the same arguments.
        transitions: put a digit between modalities.
        item2id: map of item ids to the keys of a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `SemanticIdTable.load`; also if a cache file is damaged.
    """
    files = [path, description_path(path), *([item2id] if item2id else [])]
    told = [
        _FORMAT,
        path.suffix,
        [remembered_digest(file) if file.is_file() else None for file in files],
        hashlib.sha256("\n".join(item_tokens).encode()).hexdigest(),
        list(modalities),
        transitions,
    ]
    cached = Path(cache_dir) / f"supplied-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:20]}.safetensors"
    if not cached.is_file():
        with owned(cached, waits=True):  # of several commands one makes it
            if not cached.is_file():
                table = SemanticIdTable.load(
                    path, item_tokens=item_tokens, modalities=modalities, transitions=transitions, item2id=item2id
                )
                _write_cache(cached, table)
    return _read_cache(cached, item_tokens)


def _write_cache(cached: Path, table: SemanticIdTable) -> None:
    about = {
        "digits": [digit._asdict() for digit in table.digits],
        "fingerprint": table.fingerprint,
        "report": table_report(table),
    }
    with replacing(cached) as unfinished:
        save_file({"codes": table.codes}, unfinished, metadata={"about": json.dumps(about)})


def _read_cache(cached: Path, item_tokens: Sequence[str]) -> tuple[SemanticIdTable, dict[str, Any]]:
    try:
        with safe_open(cached, framework="pt") as file:
            codes, about = file.get_tensor("codes"), json.loads(file.metadata()["about"])
        table = SemanticIdTable(
            codes=codes,
            digits=tuple(Digit(**digit) for digit in about["digits"]),
            item_tokens=list(item_tokens),
            are_distinct=True,
        )
        vars(table)["fingerprint"] = about["fingerprint"]
        return table, about["report"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{cached}: this cache file is damaged ({error}); remove it, and it will be made again"
        ) from error


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
