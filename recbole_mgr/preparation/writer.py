"""Atomic files of what was kept (the contract of ``dataset_atomic/README.md``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from recbole_mgr.preparation.batches import FIELD_TYPES
from recbole_mgr.preparation.cleaning import clean_text
from recbole_mgr.preparation.interactions import Interactions
from recbole_mgr.preparation.items import ItemRows
from recbole_mgr.preparation.pictures import Pictures, picture_name, place_picture

_ROWS = 1 << 20  # rows written at a time


def write_interactions(path: Path, interactions: Interactions, user_ids: pl.Series, item_ids: pl.Series) -> None:
    """Write ``<name>.inter`` in the order of the rows; times are exact, whole seconds without a decimal point.

    Args:
        path: the file.
        interactions: n rows.
        user_ids, item_ids: the ids of all numbers.
    """
    times = interactions.times
    whole = bool((times == np.floor(times)).all() and (np.abs(times) < 2**53).all())
    with open(path, "wb") as file:
        for start in range(0, len(times), _ROWS):
            rows = interactions.where(np.s_[start : start + _ROWS])
            columns = {
                "user_id:token": user_ids[pl.Series(rows.users)],
                "item_id:token": item_ids[pl.Series(rows.items)],
                "timestamp:float": pl.Series(rows.times).cast(pl.Int64 if whole else pl.Float64),
            }
            if rows.ratings is not None:
                columns["rating:float"] = pl.Series(rows.ratings).fill_nan(None)
            _write(file, pl.DataFrame(columns), header=start == 0)


def write_items(path: Path, items: ItemRows, keep: np.ndarray, pictures: Pictures, field_types: dict[str, str]) -> None:
    """Write ``<name>.item`` and ``images/`` beside it.

    Args:
        path: the file.
        items: rows of all items, N of them.
        keep: bool [N], the items to write.
        pictures: of those of them that have one.
        field_types: atomic types of fields that are not those of ``FIELD_TYPES``.
    """
    folder = path.parent / "images"
    if pictures.paths:
        folder.mkdir()
    known_types = FIELD_TYPES | field_types
    types = {field: known_types.get(field, "token_seq") for field in items.fields}
    with open(path, "wb") as file:
        for part, parquet in enumerate(items.parts):
            frame = pl.read_parquet(parquet)
            frame = frame.filter(pl.Series(keep[frame["item_number"].to_numpy()], dtype=pl.Boolean))
            columns = {"item_id:token": frame["item_id"]}
            for field, kind in types.items():
                values = frame[field] if field in frame.columns else pl.Series([None] * frame.height, dtype=pl.String)
                columns[f"{field}:{kind}"] = clean_text(values) if values.dtype == pl.String else values
            images = []
            for number, item_id in zip(frame["item_number"], frame["item_id"], strict=True):
                source, suffix = pictures.paths.get(number, (None, ""))
                images.append(picture_name(item_id, suffix) if source else None)
                if source:
                    place_picture(source, folder / images[-1])
            columns["image:token"] = pl.Series(images, dtype=pl.String)
            _write(file, pl.DataFrame(columns), header=part == 0)


def write_reviews(
    path: Path, reviews: list[Path], interactions: Interactions, user_ids: pl.Series, item_ids: pl.Series
) -> int:
    """Write ``<name>.review`` in the order of the source.

    Args:
        path: the file; not written where there is no review.
        reviews: Parquet files with ``row`` (ascending over all files) and ``review``.
        interactions: those whose reviews to write.
        user_ids, item_ids: the ids of all numbers.

    Returns:
        Number of reviews.
    """
    if not reviews:
        return 0
    by_source = interactions.where(np.argsort(interactions.source_rows))
    written = 0
    with open(path, "wb") as file:
        for part in reviews:
            frame = pl.read_parquet(part)
            rows = frame["row"].to_numpy()
            places = np.searchsorted(by_source.source_rows, rows)
            found = places < len(by_source.source_rows)
            found[found] = by_source.source_rows[places[found]] == rows[found]
            kept = by_source.where(places[found])
            columns = {
                "user_id:token": user_ids[pl.Series(kept.users)],
                "item_id:token": item_ids[pl.Series(kept.items)],
                "review:token_seq": frame["review"].filter(pl.Series(found, dtype=pl.Boolean)),
            }
            _write(file, pl.DataFrame(columns), header=part == reviews[0])
            written += len(kept.users)
    if not written:
        path.unlink()
    return written


def write_missing_pictures(path: Path, missing: list[tuple[str, str, str]]) -> None:
    """Write the list of pictures that could not be had."""
    columns = ["item_id", "picture", "problem"]
    frame = pl.DataFrame(missing, schema=dict.fromkeys(columns, pl.String), orient="row")
    with open(path, "wb") as file:
        _write(file, frame.with_columns(clean_text(frame[name]) for name in columns), header=True)


def write_provenance(path: Path, details: dict[str, Any]) -> None:
    """Write ``<name>.provenance.yaml``."""
    path.write_text(yaml.safe_dump(details, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")


def _write(file: Any, frame: pl.DataFrame, *, header: bool) -> None:
    file.write(frame.write_csv(separator="\t", quote_style="never", include_header=header).encode())
