"""Amazon reviews, 2014 edition: ``reviews_<Category>_5.json.gz`` (JSON lines), ``meta_<Category>.json.gz`` (Python
literals).

Source: McAuley et al., "Image-based recommendations on styles and substitutes", SIGIR 2015.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.raw_lines import record_batches
from recbole_mgr.preparation.sources import amazon
from recbole_mgr.preparation.sources.raw_files import RawFolder

_BASE = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"


class Amazon2014(amazon.EarlyEdition):
    """One category.

    Args:
        raw: folder of the files; of a 5-core and a full review file the 5-core is read.
        category: as in the file names, e.g. ``Beauty``.
    """

    def __init__(self, raw: RawFolder, category: str) -> None:
        reviews = [f"reviews_{category}{core}.json{gz}" for core in ("_5", "") for gz in (".gz", "")]
        meta = [f"meta_{category}.json{gz}" for gz in (".gz", "")]
        super().__init__(
            2014,
            category,
            reviews=raw.file(reviews, f"{_BASE}/reviews_{category}_5.json.gz"),
            meta=raw.file(meta, f"{_BASE}/meta_{category}.json.gz"),
        )

    def items(self) -> Iterator[Batch]:
        return record_batches(self._meta, _literal, _item, amazon.ITEM_COLUMNS)


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
