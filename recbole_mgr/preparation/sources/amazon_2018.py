"""Amazon reviews, 2018 edition: ``<Category>_5.json.gz`` and ``meta_<Category>.json.gz``, both JSON lines.

Source: Ni, Li and McAuley, "Justifying recommendations using distantly-labeled reviews and fine-grained aspects",
EMNLP 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.raw_lines import record_batches
from recbole_mgr.preparation.sources import amazon
from recbole_mgr.preparation.sources.raw_files import RawFolder

_BASE = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"


class Amazon2018(amazon.EarlyEdition):
    """One category.

    Args:
        raw: folder of the files; of a 5-core and a full review file the 5-core is read.
        category: as in the file names, e.g. ``Luxury_Beauty``.
    """

    def __init__(self, raw: RawFolder, category: str) -> None:
        reviews = [f"{category}{core}.json{gz}" for core in ("_5", "") for gz in (".gz", "")]
        meta = [f"meta_{category}.json{gz}" for gz in (".gz", "")]
        super().__init__(
            2018,
            category,
            reviews=raw.file(reviews, f"{_BASE}/categoryFilesSmall/{category}_5.json.gz"),
            meta=raw.file(meta, f"{_BASE}/metaFiles2/meta_{category}.json.gz"),
        )

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
