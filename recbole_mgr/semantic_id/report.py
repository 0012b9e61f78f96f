"""What a table of semantic IDs is like, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from recbole_mgr.data.vectors import Rows, chunk_slices
from recbole_mgr.semantic_id.collisions import group_ids, group_sizes
from recbole_mgr.semantic_id.quantizer import Quantizer
from recbole_mgr.semantic_id.table import SemanticIdTable

AMI_ITEMS = 5_000  # the cost grows with the product of the numbers of distinct IDs
AMI_SEED = 0


def table_report(
    table: SemanticIdTable,
    vectors: Mapping[str, Rows] | None = None,
    quantizers: Mapping[str, Quantizer] | None = None,
) -> dict[str, Any]:
    """Utilisation, collisions before dedup, reconstruction error, and agreement between modalities.

    Args:
        table: the semantic IDs.
        vectors: modality -> [N, dim] in the order of ``table.item_tokens``; with ``quantizers`` for the
            reconstruction error of the modalities in both.
        quantizers: modality -> the fitted quantiser of its codes.

    Returns:
        Plain numbers, strings, lists and dicts:

        - ``num_items``;
        - ``digits``: for each code digit its modality, level, size, used codes, utilisation (used / size),
          entropy (nats) and perplexity (exp of it);
        - ``collisions``: for "whole" (dedup left out) and each modality, the number of items that share their
          codes with another, as share too, and the largest group;
        - ``reconstruction``: modality -> share of the vectors' variance that the codes lose, 0 the best;
        - ``agreement``: "a|b" -> adjusted mutual information of the first-level codes and of the full IDs of
          two modalities (MGR paper, Table 1), on a sample of AMI_ITEMS items where there are more. Where
          nearly every full ID is unique the second says little: chance explains almost all of it.
    """
    codes = table.codes[1:].numpy()  # [N, D]
    blocks = {modality: codes[:, table.block(modality)] for modality in table.modalities}
    both = [modality for modality in table.modalities if modality in (vectors or {}) and modality in (quantizers or {})]
    return {
        "num_items": table.num_items,
        "digits": [
            {"modality": digit.modality, "level": digit.level, **_utilisation(codes[:, column], digit.size)}
            for column, digit in enumerate(table.digits)
            if digit.kind == "code"
        ],
        "collisions": {
            "whole": _collisions(np.concatenate(list(blocks.values()), axis=1)),
            **{modality: _collisions(block) for modality, block in blocks.items()},
        },
        "reconstruction": {
            modality: _lost_variance(vectors[modality], blocks[modality], quantizers[modality]) for modality in both
        },
        "agreement": _agreement(blocks, table.token_order),
    }


def format_report(report: Mapping[str, Any]) -> str:
    """The report of `table_report` as a few aligned lines."""
    names = {"modality", *report["collisions"], *report["agreement"]}
    width = max(len(name) for name in names)
    lines = [
        f"{report['num_items']} items",
        f"{'modality':<{width}}  level  size  used  utilisation  perplexity",
    ]
    lines += [
        f"{digit['modality']:<{width}}  {digit['level']:>5}  {digit['size']:>4}  {digit['used']:>4}"
        f"  {digit['utilisation']:>11.1%}  {digit['perplexity']:>10.1f}"
        for digit in report["digits"]
    ]
    lines += [
        f"{name:<{width}}  {found['items']} items collide before dedup ({found['share']:.1%}), "
        f"largest group {found['largest_group']}"
        for name, found in report["collisions"].items()
    ]
    lines += [
        f"{modality:<{width}}  {lost:.1%} of the variance lost" for modality, lost in report["reconstruction"].items()
    ]
    lines += [
        f"{pair:<{width}}  adjusted mutual information: {found['first_level']:.3f} first level, "
        f"{found['full']:.3f} full ID"
        for pair, found in report["agreement"].items()
    ]
    return "\n".join(lines)


def _utilisation(codes: np.ndarray, size: int) -> dict[str, float]:
    shares = np.bincount(codes, minlength=size) / len(codes)
    shares = shares[shares > 0]
    entropy = float(-(shares * np.log(shares)).sum())
    return {
        "size": size,
        "used": len(shares),
        "utilisation": len(shares) / size,
        "entropy": entropy,
        "perplexity": float(np.exp(entropy)),
    }


def _collisions(codes: np.ndarray) -> dict[str, float]:
    sizes = group_sizes(codes)
    items = int(sizes[sizes > 1].sum())
    return {"items": items, "share": items / len(codes), "largest_group": int(sizes.max())}


def _lost_variance(vectors: Rows, codes: np.ndarray, quantizer: Quantizer) -> float:
    lost, seen_sum, seen_squares = 0.0, 0.0, 0.0
    for rows in chunk_slices(*vectors.shape):
        chunk = vectors[rows].astype(np.float64)  # [n, dim]
        lost += np.square(chunk - quantizer.reconstruct(codes[rows])).sum()
        seen_sum = seen_sum + chunk.sum(0)
        seen_squares += np.square(chunk).sum()
    variance = seen_squares - np.square(seen_sum).sum() / len(vectors)
    return float(lost / variance) if variance > 0 else 0.0


def _agreement(blocks: Mapping[str, np.ndarray], order: np.ndarray) -> dict[str, dict[str, float]]:
    if len(blocks) < 2:
        return {}
    from sklearn.metrics import adjusted_mutual_info_score  # imports for a second, and takes 65 MB

    # drawn along the tokens, so that the items' order in the table does not change the sample
    sample = order if len(order) <= AMI_ITEMS else np.random.default_rng(AMI_SEED).choice(order, AMI_ITEMS, False)
    return {
        f"{one}|{other}": {
            "first_level": float(adjusted_mutual_info_score(blocks[one][sample, 0], blocks[other][sample, 0])),
            "full": float(adjusted_mutual_info_score(group_ids(blocks[one][sample]), group_ids(blocks[other][sample]))),
        }
        for one, other in combinations(blocks, 2)
    }
