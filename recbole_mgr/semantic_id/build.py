"""From item vectors to a table of semantic IDs, with a cache of each modality's codes.

Source: arXiv 2503.23333: MGR-EF quantises one fused vector per item, MGR-LF each modality on its own,
MGR-LF++ adds transitions. Sizes are not stated there; 3 levels of up to 256 codes follow TIGER.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from recbole_mgr.data.arrays import read_arrays
from recbole_mgr.data.semantic_id_file import description_path
from recbole_mgr.data.vectors import OrderedRows, Rows, chunk_slices, require_finite
from recbole_mgr.files import replacing
from recbole_mgr.semantic_id.collisions import token_order
from recbole_mgr.semantic_id.fusion import FUSION_METHODS, early_fusion
from recbole_mgr.semantic_id.quantizer import Quantizer, make_quantizer
from recbole_mgr.semantic_id.table import SemanticIdTable

FUSED = "fused"  # the modality of early fusion
CACHE_FORMAT = 2  # raise it when a quantiser's results change


@dataclass(frozen=True, kw_only=True)
class SemanticIdSettings:
    """How items become semantic IDs.

    Args:
        quantizer: a key of `quantizer.QUANTIZERS`.
        codebook_size: K, codes per level, >= 1; "auto" is the power of two nearest to 2 * sqrt(N), 8..256.
        codebook_levels: codes per modality, >= 1.
        fusion: "late" quantises each modality on its own, "early" one fused vector per item.
        early_fusion: how early fusion merges, see `fusion.early_fusion`.
        transitions: put a transition digit between modalities (MGR-LF++).
        seed: of the quantisers, >= 0.
        quantizer_options: further keyword arguments of the quantiser's class.

    Raises:
        ValueError: If a value is out of its range, or an option is unknown to the quantiser.
    """

    quantizer: str = "rkmeans"
    codebook_size: int | Literal["auto"] = "auto"
    codebook_levels: int = 3
    fusion: Literal["early", "late"] = "late"
    early_fusion: Literal["concat", "mean", "sum"] = "concat"
    transitions: bool = False
    seed: int = 2024
    quantizer_options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.codebook_size != "auto" and not (isinstance(self.codebook_size, int) and self.codebook_size > 0):
            raise ValueError(f"codebook_size must be an integer >= 1 or 'auto', not {self.codebook_size!r}")
        if self.fusion not in ("early", "late"):
            raise ValueError(f"fusion must be 'early' or 'late', not {self.fusion!r}")
        if self.early_fusion not in FUSION_METHODS:
            raise ValueError(f"early_fusion must be one of {FUSION_METHODS}, not {self.early_fusion!r}")
        self.make_quantizer(modality="", num_items=1)

    def codes_per_level(self, num_items: int) -> int:
        """K for a catalogue of N items."""
        if self.codebook_size != "auto":
            return self.codebook_size
        return min(256, max(8, 2 ** round(math.log2(2 * math.sqrt(num_items)))))

    def make_quantizer(self, *, modality: str, num_items: int) -> Quantizer:
        """An unfitted quantiser, seeded for this modality's name."""
        digest = hashlib.sha256(f"{self.seed}:{modality}".encode()).digest()
        return make_quantizer(
            self.quantizer,
            levels=self.codebook_levels,
            codebook_size=self.codes_per_level(num_items),
            seed=int.from_bytes(digest[:7], "big"),
            options=self.quantizer_options,
        )


class QuantizedModality(NamedTuple):
    """One modality's codes and what made them."""

    vectors: Rows  # [N, dim]
    codes: np.ndarray  # int64 [N, levels]
    quantizer: Quantizer  # fitted


class BuiltSemanticIds(NamedTuple):
    """The semantic IDs of a catalogue and what made them."""

    table: SemanticIdTable
    modalities: dict[str, QuantizedModality]  # "fused" alone under early fusion


def build_semantic_ids(
    vectors: Mapping[str, Rows],
    item_tokens: Sequence[str],
    settings: SemanticIdSettings,
    *,
    cache_dir: Path | None,
) -> BuiltSemanticIds:
    """Quantise item vectors into a table of semantic IDs.

    The IDs do not depend on the order of the items. Under late fusion a modality's codes do not depend on the
    other modalities either.

    Args:
        vectors: modality -> float [N, dim], finite, possibly memory-mapped.
        item_tokens: N tokens, the items of the rows.
        settings: how.
        cache_dir: folder that keeps each modality's codes for the next call with the same vectors, tokens and
            settings; None keeps nothing.

    Returns:
        The table, its rows in the order of ``item_tokens``, and its parts, for the report and for items to come.

    Raises:
        ValueError: If there are no items, vectors are missing or not finite, or a cache file is damaged.
    """
    quantized = quantize_modalities(vectors, item_tokens, settings, cache_dir=cache_dir)
    size = settings.codes_per_level(len(item_tokens))
    table = SemanticIdTable.from_blocks(
        {modality: part.codes for modality, part in quantized.items()},
        item_tokens,
        sizes={modality: [size] * settings.codebook_levels for modality in quantized},
        transitions=settings.transitions,
    )
    return BuiltSemanticIds(table, quantized)


def quantize_modalities(
    vectors: Mapping[str, Rows],
    item_tokens: Sequence[str],
    settings: SemanticIdSettings,
    *,
    cache_dir: Path | None,
) -> dict[str, QuantizedModality]:
    """The parts that `build_semantic_ids` puts together.

    Same arguments and errors. Early fusion gives one modality, "fused".
    """
    _require_vectors(vectors, item_tokens)
    if settings.fusion == "early":
        vectors = {FUSED: early_fusion(vectors, settings.early_fusion)}
    order = token_order(item_tokens)
    return {
        modality: _quantize(modality, matrix, item_tokens, order, settings, cache_dir)
        for modality, matrix in vectors.items()
    }


def _quantize(
    modality: str,
    vectors: Rows,
    item_tokens: Sequence[str],
    order: np.ndarray,
    settings: SemanticIdSettings,
    cache_dir: Path | None,
) -> QuantizedModality:
    quantizer = settings.make_quantizer(modality=modality, num_items=len(item_tokens))
    ordered = OrderedRows(vectors, order)
    path = None
    if cache_dir is not None:
        key = _cache_key(modality, ordered, [item_tokens[item] for item in order], settings)
        path = Path(cache_dir) / f"{modality}-{key[:20]}.tsv"
        if path.exists():
            return QuantizedModality(vectors, *_read_cache(path, modality, item_tokens, quantizer))
    codes = np.empty((len(item_tokens), quantizer.levels), dtype=np.int64)
    codes[order] = quantizer.fit(ordered).encode(ordered)
    if path is not None:
        _write_cache(path, modality, codes, item_tokens, quantizer, settings)
    return QuantizedModality(vectors, codes, quantizer)


def _cache_key(modality: str, vectors: Rows, sorted_tokens: Sequence[str], settings: SemanticIdSettings) -> str:
    """sha256 over all that decides about one modality's codes; other modalities and transitions do not."""
    how = {
        "format": CACHE_FORMAT,
        "modality": modality,
        "quantizer": settings.quantizer,
        "codebook_size": settings.codes_per_level(len(sorted_tokens)),
        "codebook_levels": settings.codebook_levels,
        "seed": settings.seed,
        "options": dict(settings.quantizer_options),
        "vectors": [str(vectors.dtype), *vectors.shape],
        "tokens": list(sorted_tokens),
    }
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    for rows in chunk_slices(*vectors.shape):
        digest.update(np.ascontiguousarray(vectors[rows]).data)
    return digest.hexdigest()


def _read_cache(
    path: Path, modality: str, item_tokens: Sequence[str], quantizer: Quantizer
) -> tuple[np.ndarray, Quantizer]:
    try:
        if not description_path(path).exists():
            raise ValueError(f"{description_path(path)} is missing")
        table = SemanticIdTable.load(path, item_tokens=item_tokens)
        codes = table.codes[1:, table.block(modality)].numpy()
        quantizer.load(read_arrays(path.with_suffix(".npz"), remedy="remove it"))
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: this cache file is damaged ({error}); remove it, and it will be made again"
        ) from error
    return codes, quantizer


def _write_cache(
    path: Path,
    modality: str,
    codes: np.ndarray,
    item_tokens: Sequence[str],
    quantizer: Quantizer,
    settings: SemanticIdSettings,
) -> None:
    # the .tsv comes last: where it stands, the others are complete
    with replacing(path.with_suffix(".npz")) as unfinished:
        np.savez(unfinished, **quantizer.state())
    sizes = {modality: [quantizer.codebook_size] * quantizer.levels}
    table = SemanticIdTable.from_blocks({modality: codes}, item_tokens, sizes=sizes)
    table.save(path, settings=asdict(settings))


def _require_vectors(vectors: Mapping[str, Rows], item_tokens: Sequence[str]) -> None:
    if not vectors:
        raise ValueError("semantic IDs need vectors of at least one modality; none was given")
    if not len(item_tokens):
        raise ValueError("semantic IDs need at least one item; the data set has none (check its filters)")
    for modality, matrix in vectors.items():
        if len(matrix.shape) != 2 or len(matrix) != len(item_tokens) or matrix.shape[1] == 0:
            raise ValueError(
                f"modality {modality!r}: vectors have shape {matrix.shape}, expected [{len(item_tokens)}, dim >= 1]"
            )
        require_finite(matrix, modality=modality, item_tokens=item_tokens)
