"""Amazon reviews, 2014 edition: ``reviews_<Category>_5.json.gz`` (JSON lines), ``meta_<Category>.json.gz`` (Python
literals).

Source: McAuley et al., "Image-based recommendations on styles and substitutes", SIGIR 2015.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.raw_lines import json_batches, record_batches
from recbole_mgr.preparation.sources import amazon
from recbole_mgr.preparation.sources.raw_files import RawFolder

_BASE = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
_REVIEW = {
    **dict.fromkeys(("reviewerID", "asin", "reviewText"), pl.String),
    **dict.fromkeys(("overall", "unixReviewTime"), pl.Float64),
}


class Amazon2014:
    """One category.

    Args:
        raw: folder of the files; of a 5-core and a full review file the 5-core is read.
        category: as in the file names, e.g. ``Beauty``.
    """

    field_types: dict[str, str] = {}
    picture_folder: Path | None = None

    def __init__(self, raw: RawFolder, category: str) -> None:
        reviews = [f"reviews_{category}{core}.json{gz}" for core in ("_5", "") for gz in (".gz", "")]
        self._reviews = raw.file(reviews, f"{_BASE}/reviews_{category}_5.json.gz")
        self._meta = raw.file([f"meta_{category}.json.gz", f"meta_{category}.json"], f"{_BASE}/meta_{category}.json.gz")
        self.provenance = {
            "source": f"Amazon review data 2014, {category} ({self._reviews.name}, {self._meta.name})",
            "licence": amazon.LICENCE,
        }

    def interactions(self) -> Iterator[Batch]:
        return reviews(self._reviews)

    def items(self) -> Iterator[Batch]:
        return record_batches(self._meta, _literal, _item, amazon.ITEM_COLUMNS)


def reviews(path: Path) -> Iterator[Batch]:
    """Read a review file of the 2014 or 2018 edition."""
    names = dict(
        reviewerID="user_id", asin="item_id", unixReviewTime="timestamp", overall="rating", reviewText="review"
    )
    for batch in json_batches(path, _REVIEW):
        yield batch._replace(frame=batch.frame.rename(names))


def _literal(line: bytes) -> dict:
    return ast.literal_eval(line.decode("utf-8").strip())


def _item(record: dict) -> dict:
    paths = record.get("categories")
    return {
        "item_id": record.get("asin"),
        "title": amazon.text(record.get("title")),
        "brand": amazon.text(record.get("brand")),
        "categories": amazon.path(paths[0]) if isinstance(paths, list) and paths else None,
        "price": amazon.price(record.get("price")),
        "description": amazon.text(record.get("description")),
        "image_url": amazon.picture(record.get("imUrl")),
    }
