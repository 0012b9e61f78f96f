"""Raw files and columns that are not there are named."""

import pytest

from recbole_mgr.preparation.sources.amazon_2014 import Amazon2014
from recbole_mgr.preparation.sources.atomic import AtomicFolder
from recbole_mgr.preparation.sources.h_and_m import HAndM
from recbole_mgr.preparation.sources.movielens import MovieLens1m
from recbole_mgr.preparation.sources.raw_files import RawFolder
from recbole_mgr.preparation.sources.table import Columns, Table

WRONG = {
    "no raw files": (
        lambda p: Amazon2014(RawFolder(p), "Beauty"),
        "needs one of the files reviews_Beauty_5.json.gz,.*",
    ),
    "no archive": (lambda p: MovieLens1m(RawFolder(p)), "ml-1m.zip.*--download"),
    "no csv": (lambda p: HAndM(p), "transactions_train.csv does not exist"),
    "no table": (lambda p: Table(p / "x.csv", None, Columns()), "x.csv does not exist"),
    "no inter": (lambda p: AtomicFolder(p), ".inter does not exist"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_missing_raw_files_are_named(tmp_path, make, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)


def test_missing_columns_are_named(tmp_path):
    (tmp_path / "x.csv").write_text("user,item_id,timestamp,line_number\n")
    with pytest.raises(ValueError, match="has no column 'user_id'; name the right one with --user: 'user', 'item_id'"):
        Table(tmp_path / "x.csv", None, Columns())
    with pytest.raises(
        ValueError, match="has no columns 'user_id', 'stars'; name the right ones with --user, --rating"
    ):
        Table(tmp_path / "x.csv", None, Columns(rating="stars"))
    with pytest.raises(ValueError, match="has no column 'stars'; name the right one with --rating"):
        Table(tmp_path / "x.csv", None, Columns(user="user", rating="stars"))
    with pytest.raises(ValueError, match="'line_number' has a meaning of its own here"):
        Table(tmp_path / "x.csv", None, Columns(user="user"))
