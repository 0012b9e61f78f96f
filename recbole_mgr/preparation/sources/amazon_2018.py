"""Amazon reviews, 2018 edition: ``<Category>_5.json.gz`` and ``meta_<Category>.json.gz``, both JSON lines.

Source: Ni, Li and McAuley, "Justifying recommendations using distantly-labeled reviews and fine-grained aspects",
EMNLP 2019.
"""

from __future__ import annotations

import json

from recbole_mgr.preparation.sources import amazon

_BASE = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2"


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


class Amazon2018(amazon.EarlyEdition):
    """One category, e.g. ``Luxury_Beauty``."""

    edition = 2018
    reviews_name = "{}"
    reviews_url = f"{_BASE}/categoryFilesSmall"
    meta_url = f"{_BASE}/metaFiles2"
    parse = staticmethod(json.loads)
    describe = staticmethod(_item)
