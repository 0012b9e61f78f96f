"""H&M Personalized Fashion Recommendations (Kaggle): ``transactions_train.csv``, ``articles.csv``, ``images/0NN/``.

Article ids are texts with leading zeros. Times are days; purchases of a day keep the order of the file.

Source: https://www.kaggle.com/competitions/h-and-m-personalized-fashion-recommendations
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.delimited import delimited_batches, require_columns
from recbole_mgr.preparation.sources.raw_files import existing, subfolder

_KIND = ["index_name", "product_group_name", "product_type_name"]
_TRANSACTION = ["t_dat", "customer_id", "article_id"]
_ARTICLE = ["article_id", "prod_name", *_KIND, "colour_group_name", "department_name", "detail_desc"]


class HAndM:
    """The competition's files.

    Args:
        folder: what the archive was unpacked to.
    """

    field_types: dict[str, str] = {}  # colour and department are words: encoders of texts must read them

    def __init__(self, folder: Path) -> None:
        self._transactions = existing(folder, "transactions_train.csv")
        self._articles = existing(folder, "articles.csv")
        require_columns(self._transactions, ",", _TRANSACTION)
        require_columns(self._articles, ",", _ARTICLE)
        self.conversions, self.joins = Conversions(), []
        self.picture_folder = subfolder(folder, "images")
        self.provenance = {
            "source": "H&M Personalized Fashion Recommendations, Kaggle",
            "licence": "the competition's rules: non-commercial and research use",
        }

    def interactions(self) -> Iterator[Batch]:
        for batch in delimited_batches(self._transactions, separator=","):
            frame = batch.frame
            day = self.conversions.times(batch.path, frame["t_dat"], frame["line_number"])
            frame = frame.select("line_number", "problem", user_id="customer_id", item_id="article_id", timestamp=day)
            yield batch._replace(frame=frame)

    def items(self) -> Iterator[Batch]:
        for batch in delimited_batches(self._articles, separator=","):
            frame = batch.frame.select(
                "line_number",
                "problem",
                item_id="article_id",
                title="prod_name",
                categories=pl.concat_str(_KIND, separator=" > ", ignore_nulls=True),
                colour="colour_group_name",
                department="department_name",
                description="detail_desc",
            )
            yield batch._replace(frame=frame)
