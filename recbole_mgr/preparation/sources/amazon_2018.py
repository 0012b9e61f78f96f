"""Amazon reviews, 2018 edition: ``<Category>_5.json.gz`` and ``meta_<Category>.json.gz``, both JSON lines.

Source: Ni, Li and McAuley, "Justifying recommendations using distantly-labeled reviews and fine-grained aspects",
EMNLP 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.raw_lines import record_batches
from recbole_mgr.preparation.sources import amazon
from recbole_mgr.preparation.sources.amazon_2014 import reviews
from recbole_mgr.preparation.sources.raw_files import RawFolder

_BASE = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"


class Amazon2018:
    """One category.

    Args:
        raw: folder of the files; of a 5-core and a full review file the 5-core is read.
        category: as in the file names, e.g. ``Luxury_Beauty``.
    """

    field_types: dict[str, str] = {}
    picture_folder: Path | None = None

    def __init__(self, raw: RawFolder, category: str) -> None:
        reviews = [f"{category}{core}.json{gz}" for core in ("_5", "") for gz in (".gz", "")]
        self._reviews = raw.file(reviews, f"{_BASE}/categoryFilesSmall/{category}_5.json.gz")
        meta = [f"meta_{category}.json{gz}" for gz in (".gz", "")]
        self._meta = raw.file(meta, f"{_BASE}/metaFiles2/meta_{category}.json.gz")
        self.provenance = {
            "source": f"Amazon review data 2018, {category} ({self._reviews.name}, {self._meta.name})",
            "licence": amazon.LICENCE,
        }

    def interactions(self) -> Iterator[Batch]:
        return reviews(self._reviews)

    def items(self) -> Iterator[Batch]:
        return record_batches(self._meta, json.loads, _item, amazon.ITEM_COLUMNS)


def _item(record: dict) -> dict:
    pictures = (record.get(key) for key in ("imageURLHighRes", "imageURL", "image"))
    return {
        "item_id": record.get("asin"),
        "title": amazon.text(record.get("title")),
        "brand": amazon.text(record.get("brand")),
        "categories": amazon.path(record.get("category")),
        "price": amazon.price(record.get("price")),
        "description": amazon.text(record.get("description")),
        "image_url": next(filter(None, map(amazon.picture, pictures)), None),
    }
