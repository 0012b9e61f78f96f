"""Amazon reviews, 2023 edition: ``<Category>.jsonl.gz`` and ``meta_<Category>.jsonl.gz``, or the Parquet files of the
same data in folders ``raw_review_<Category>/`` and ``raw_meta_<Category>/``.

Items are the ``parent_asin``, which joins a product's variants, as in the edition's own benchmarks.

Source: Hou et al., "Bridging language and items for retrieval and recommendation", arXiv 2403.03952.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.cleaning import in_seconds
from recbole_mgr.preparation.opening import is_parquet
from recbole_mgr.preparation.raw_lines import described, json_batches, parquet_batches, record_batches
from recbole_mgr.preparation.sources import amazon
from recbole_mgr.preparation.sources.raw_files import RawFolder

_BASE = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw"
_REVIEW = {
    **dict.fromkeys(("user_id", "parent_asin", "text"), pl.String),
    **dict.fromkeys(("rating", "timestamp"), pl.Float64),
}


class Amazon2023:
    """One category.

    Args:
        raw: folder of the files.
        category: as in the file names, e.g. ``All_Beauty``.
    """

    field_types: dict[str, str] = {}
    picture_folder: Path | None = None

    def __init__(self, raw: RawFolder, category: str) -> None:
        self._reviews = _files(raw, category, f"raw_review_{category}", "review_categories")
        self._meta = _files(raw, f"meta_{category}", f"raw_meta_{category}", "meta_categories")
        self.conversions, self.joins = amazon.conversions(), []
        self.provenance = {
            "source": f"Amazon Reviews 2023, {category} ({self._reviews[0].name}, {self._meta[0].name})",
            "licence": amazon.LICENCE,
        }

    def interactions(self) -> Iterator[Batch]:
        for file in self._reviews:
            columns = list(_REVIEW)
            batches = parquet_batches(file, columns) if is_parquet(file) else json_batches(file, _REVIEW)
            for batch in batches:
                frame = batch.frame.rename({"parent_asin": "item_id", "text": "review"})
                frame = frame.with_columns(
                    timestamp=in_seconds(batch.frame["timestamp"], 1000),
                    rating=pl.col("rating").cast(pl.Float64),
                    review=pl.col("review").str.replace_all(r"<br\s*/?>", " "),
                )
                yield batch._replace(frame=frame)

    def items(self) -> Iterator[Batch]:
        for file in self._meta:
            if not is_parquet(file):
                for batch in record_batches(file, json.loads, _item, amazon.ITEM_COLUMNS):
                    yield amazon.priced(batch, self.conversions)
                continue
            for batch in parquet_batches(file):
                frame = described(batch.frame.iter_rows(named=True), _item, amazon.ITEM_COLUMNS)
                frame = frame.with_columns(batch.frame["line_number"])
                yield amazon.priced(batch._replace(frame=frame), self.conversions)


def _files(raw: RawFolder, name: str, parquet_folder: str, url_folder: str) -> list[Path]:
    """The JSON lines file of a name, or its Parquet files."""
    parquet = sorted((raw.folder / parquet_folder).glob("*.parquet"))
    if parquet:
        return parquet
    names = [f"{name}.{suffix}" for suffix in ("jsonl.gz", "jsonl", "parquet")]
    return [raw.file(names, f"{_BASE}/{url_folder}/{name}.jsonl.gz")]


def _item(record: dict) -> dict:
    return {
        "item_id": record.get("parent_asin"),
        "title": amazon.text(record.get("title")),
        "brand": amazon.text(record.get("store")),
        "categories": amazon.path(record.get("categories")),
        "price": amazon.price(record.get("price")),
        "description": amazon.text(record.get("description")),
        "image_url": _picture(record.get("images")),
    }


def _picture(images: Any) -> str | None:
    """The main picture, else the first. JSON lines list one mapping per picture, Parquet maps sizes to lists."""
    if isinstance(images, dict):
        images = [dict(zip(images, values, strict=True)) for values in zip(*map(list, images.values()), strict=False)]
    images = [image for image in images or [] if isinstance(image, dict)]
    images.sort(key=lambda image: image.get("variant") != "MAIN")
    urls = (amazon.picture(image.get(size)) for image in images for size in ("large", "hi_res", "thumb"))
    return next(filter(None, urls), None)
