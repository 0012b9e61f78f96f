"""Amazon reviews, 2014 edition: ``reviews_<Category>_5.json.gz`` (JSON lines), ``meta_<Category>.json.gz`` (Python
literals).

Source: McAuley et al., "Image-based recommendations on styles and substitutes", SIGIR 2015.
"""

from __future__ import annotations

import ast

from recbole_mgr.preparation.sources import amazon


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


class Amazon2014(amazon.EarlyEdition):
    """One category, e.g. ``Beauty``."""

    edition = 2014
    reviews_name = "reviews_{}"
    reviews_url = meta_url = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
    parse = staticmethod(_literal)
    describe = staticmethod(_item)
