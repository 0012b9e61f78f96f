"""MovieLens 100k and 1m, with posters in a folder ``images`` or ``posters`` and named by movie id.

Source: Harper and Konstan, "The MovieLens datasets: history and context", TiiS 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from recbole_mgr.preparation.batches import Batch
from recbole_mgr.preparation.conversions import Conversions
from recbole_mgr.preparation.delimited import delimited_batches
from recbole_mgr.preparation.numbers import NumberForm
from recbole_mgr.preparation.sources.raw_files import RawFolder, existing, subfolder

_BASE = "https://files.grouplens.org/datasets/movielens"
_LICENCE = "GroupLens: research use, no redistribution without permission, no commercial use"
_RATING = ["user_id", "item_id", "rating", "timestamp"]
# u.genre's names in the order of u.item's flags
_GENRES = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|Horror|Musical|"
    "Mystery|Romance|Sci-Fi|Thriller|War|Western"
).split("|")


class _MovieLens:
    """What the editions share; each names its files and the separator of its ratings."""

    field_types: dict[str, str] = {}
    edition, archive, ratings_file, movies_file, separator = "", "", "", "", ""

    def __init__(self, raw: RawFolder) -> None:
        folder = raw.unpacked(self.ratings_file, f"{_BASE}/{self.archive}")
        self._ratings, self._movies = folder / self.ratings_file, existing(folder, self.movies_file)
        self.conversions, self.joins = Conversions(NumberForm(".")), []
        self.picture_folder = subfolder(folder, "images", "posters")
        self.provenance = {"source": f"MovieLens {self.edition}, GroupLens", "licence": _LICENCE}

    def interactions(self) -> Iterator[Batch]:
        return _ratings(self._ratings, self.separator, self.conversions)


class MovieLens100k(_MovieLens):
    """``u.data`` and ``u.item``."""

    edition, archive, ratings_file, movies_file, separator = "100K", "ml-100k.zip", "u.data", "u.item", "\t"

    def items(self) -> Iterator[Batch]:
        columns = ["item_id", "title", "release", "video_release", "imdb_url", *_GENRES]
        genres = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in _GENRES]
        for batch in delimited_batches(self._movies, separator="|", columns=columns, encoding="latin-1", quotes="none"):
            frame = batch.frame.select(
                "item_id",
                "title",
                "line_number",
                "problem",
                categories=pl.concat_str(genres, separator=", ", ignore_nulls=True),
            )
            yield batch._replace(frame=frame)


class MovieLens1m(_MovieLens):
    """``ratings.dat`` and ``movies.dat``."""

    edition, archive, ratings_file, movies_file, separator = "1M", "ml-1m.zip", "ratings.dat", "movies.dat", "::"

    def items(self) -> Iterator[Batch]:
        columns = ["item_id", "title", "categories"]
        for batch in delimited_batches(
            self._movies, separator="::", columns=columns, encoding="latin-1", quotes="none"
        ):
            yield batch._replace(
                frame=batch.frame.with_columns(pl.col("categories").str.replace_all("|", ", ", literal=True))
            )


def _ratings(path: Path, separator: str, conversions: Conversions) -> Iterator[Batch]:
    for batch in delimited_batches(path, separator=separator, columns=_RATING, encoding="latin-1", quotes="none"):
        lines = batch.frame["line_number"]
        numbers = [conversions.numbers(path, batch.frame[name], lines) for name in ("rating", "timestamp")]
        yield batch._replace(frame=batch.frame.with_columns(numbers))
