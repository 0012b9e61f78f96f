"""Ratings and reviews find their interaction, whatever was filtered, repeated or left empty."""

import math

import numpy as np
import polars as pl
import pytest

from recbole_mgr.data.table import DEFAULT_FORMAT
from recbole_mgr.unimp.ratings_and_reviews import rating_scale, read_ratings, read_reviews

FIELDS = DEFAULT_FORMAT
HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
ROWS = [  # ann takes the soap three times, twice at the same time
    "ann\tsoap\t1\t30.5",
    "bob\tsoap\t5\t10",
    "ann\tsoap\t2\t10",
    "ann\tmask\t\t20",
    "ann\tsoap\t3\t30.5",
]
REVIEWS = ["ann\tsoap\tfirst row", "ann\tmask\t", "ann\tsoap\tsecond row", "zoe\tsoap\tof nobody", "bob\tsoap\t his "]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, ROWS, REVIEWS)
    return tmp_path


def write(folder, rows, reviews=None, header=HEADER):
    (folder / "Shop.inter").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    if reviews is not None:
        text = "\n".join(["user_id:token\titem_id:token\treview:token_seq", *reviews]) + "\n"
        (folder / "Shop.review").write_text(text, encoding="utf-8")


def interactions(*rows):
    return pl.DataFrame(rows, schema={"user": pl.String, "item": pl.String, "time": pl.Float64}, orient="row")


IN_TIME_ORDER = interactions(
    ("bob", "soap", 10), ("ann", "soap", 10), ("ann", "mask", 20), ("ann", "soap", 30.5), ("ann", "soap", 30.5)
)


def test_ratings_by_user_item_time_and_order(folder):
    assert read_ratings(folder, "Shop", IN_TIME_ORDER, FIELDS).tolist() == pytest.approx(
        [5, 2, math.nan, 1, 3], nan_ok=True
    )
    assert read_ratings(folder, "Shop", IN_TIME_ORDER[1:3], FIELDS).tolist() == pytest.approx(
        [2, math.nan], nan_ok=True
    )


def test_reviews_in_the_order_of_the_file(folder):
    # of ann's soap the rows at 30.5, 10 and 30.5, in this order, have the first, the second and no review
    assert read_reviews(folder, "Shop", IN_TIME_ORDER, FIELDS) == ["his", "second row", "", "first row", ""]


def test_a_filtered_interaction_takes_its_review_along(folder):
    kept = interactions(("ann", "soap", 10), ("ann", "mask", 20))
    assert read_reviews(folder, "Shop", kept, FIELDS) == ["second row", ""]


def test_what_the_data_do_not_have(tmp_path):
    header = "user_id:token\titem_id:token\ttimestamp:float"
    write(tmp_path, ["ann\tsoap\t1"], header=header)
    one = interactions(("ann", "soap", 1))
    assert np.isnan(read_ratings(tmp_path, "Shop", one, FIELDS)).tolist() == [True]
    assert read_reviews(tmp_path, "Shop", one, FIELDS) is None


@pytest.mark.parametrize("value", ["good", "inf", "4,5"])
def test_a_rating_that_is_no_number(tmp_path, value):
    write(tmp_path, [ROWS[0], f"ann\tmask\t{value}\t20"])
    with pytest.raises(ValueError, match=rf"Shop\.inter, line 3: rating is not a number \('{value}'\)"):
        read_ratings(tmp_path, "Shop", IN_TIME_ORDER[:0], FIELDS)


def test_more_reviews_than_purchases(tmp_path):
    write(tmp_path, ROWS, [*REVIEWS, "ann\tmask\tagain"])
    with pytest.raises(ValueError, match=r"Shop\.review, line 7: one more review by user 'ann' of item 'mask'"):
        read_reviews(tmp_path, "Shop", IN_TIME_ORDER, FIELDS)


def test_a_review_file_of_other_columns(folder):
    (folder / "Shop.review").write_text("user_id:token\titem_id:token\ttext:token_seq\nann\tsoap\tx\n")
    with pytest.raises(ValueError, match=r"Shop\.review, line 1: needs a column review:token_seq"):
        read_reviews(folder, "Shop", IN_TIME_ORDER, FIELDS)


def test_an_interaction_that_the_file_does_not_have(folder):
    with pytest.raises(ValueError, match=r"Shop\.inter: no row of user 'ann', item 'soap' at time 11.0"):
        read_ratings(folder, "Shop", interactions(("ann", "soap", 11)), FIELDS)


def test_the_scale(tmp_path):
    path = tmp_path / "Shop.inter"
    assert rating_scale(path, np.array([5, 1.5, np.nan, 5])).tolist() == [1.5, 5]
    assert rating_scale(path, np.array([np.nan])).tolist() == []
    assert len(rating_scale(path, np.arange(20.0))) == 20
    with pytest.raises(ValueError, match=r"Shop\.inter: the training part has 21 different ratings, from 0 to 20"):
        rating_scale(path, np.arange(21.0))
