"""What the three editions of the Amazon review data have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.numbers import NumberForm
from recbole_mgr.preparation.raw_lines import json_batches, record_batches
from recbole_mgr.preparation.sources.raw_files import RawFolder

LICENCE = "research use; the rights are Amazon's and the reviewers'"
ITEM_COLUMNS = {
    **dict.fromkeys(("item_id", "title", "brand", "categories"), pl.String),
    "price": pl.String,
    **dict.fromkeys(("description", "image_url"), pl.String),
}

_REVIEW = {
    **dict.fromkeys(("reviewerID", "asin", "reviewText"), pl.String),
    **dict.fromkeys(("overall", "unixReviewTime"), pl.Float64),
}
_TAG = re.compile(r"<(script|style)\b.*?(</\1>|$)|</?[a-zA-Z][^<>]*>|<!--.*?(-->|$)", re.DOTALL | re.IGNORECASE)
_RANGE = re.compile(r"\s+-\s+")
_FORM = NumberForm(decimal=".", unit="$")  # the shop is the American one


class EarlyEdition:
    """One category of the edition of 2014 or 2018: a file of reviews, JSON lines with the same keys, and one of items.

    Args:
        raw: folder of the files; of a 5-core and a full review file the 5-core is read.
        category: as in the file names.
    """

    edition: int
    parse: Callable[[bytes], dict]  # a line of the file of items
    describe: Callable[[dict], dict]  # the columns of such a record
    reviews_name: str  # of the file of a category {}
    reviews_url: str
    meta_url: str
    field_types: dict[str, str] = {}
    picture_folder: Path | None = None

    def __init__(self, raw: RawFolder, category: str) -> None:
        name = self.reviews_name.format(category)
        reviews = [f"{name}{core}.json{gz}" for core in ("_5", "") for gz in (".gz", "")]
        self._reviews = raw.file(reviews, f"{self.reviews_url}/{name}_5.json.gz")
        meta = [f"meta_{category}.json{gz}" for gz in (".gz", "")]
        self._meta = raw.file(meta, f"{self.meta_url}/{meta[0]}")
        self.conversions, self.joins = conversions(), []
        self.provenance = {
            "source": f"Amazon review data {self.edition}, {category} ({self._reviews.name}, {self._meta.name})",
            "licence": LICENCE,
        }

    def interactions(self) -> Iterator[Batch]:
        names = dict(
            reviewerID="user_id", asin="item_id", unixReviewTime="timestamp", overall="rating", reviewText="review"
        )
        for batch in json_batches(self._reviews, _REVIEW):
            yield batch._replace(frame=batch.frame.rename(names))

    def items(self) -> Iterator[Batch]:
        for batch in record_batches(self._meta, self.parse, self.describe, ITEM_COLUMNS):
            yield priced(batch, self.conversions)


def text(value: Any) -> str | None:
    """A text without HTML; None for the pieces of scripts that the crawl took for texts."""
    if isinstance(value, list):
        value = " ".join(part for part in value if isinstance(part, str))
    if not isinstance(value, str) or "getTime()" in value:
        return None
    return _TAG.sub(" ", value)


def price(value: Any) -> str | None:
    """What stands for a price: a number, ``$1,299.00``, or the lower end of ``$5.00 - $9.99``; None for the pieces of
    pages that the crawl took for prices."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(float(value))
    if not isinstance(value, str) or "{" in value or len(value) > 40:
        return None
    return _RANGE.split(value.strip())[0]


def conversions() -> Conversions:
    """Of an edition's columns. Its prices are full of other things, so no share of them is an error."""
    return Conversions(_FORM, strict=False)


def priced(batch: Batch, found: Conversions) -> Batch:
    """A batch of items with prices as numbers."""
    frame = batch.frame
    return batch._replace(frame=frame.with_columns(found.numbers(batch.path, frame["price"], frame["line_number"])))


def path(categories: Any) -> str | None:
    """A category path as one text: ``Beauty > Hair Care > Shampoo``."""
    if not isinstance(categories, list):
        return None
    return text(" > ".join(part for part in categories if isinstance(part, str)))


def picture(urls: Any) -> str | None:
    """The first URL of a picture that is none of the shop's signs for "no picture"."""
    for url in urls if isinstance(urls, list) else [urls]:
        if isinstance(url, str) and url.startswith("http") and "/no-img" not in url:
            return url
    return None
