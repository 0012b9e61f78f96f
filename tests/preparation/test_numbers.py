"""Numbers as people write them: read where the column's form is clear, refused by name where it is not."""

from pathlib import Path

import polars as pl
import pytest

from recbole_mgr.preparation.numbers import NumberColumn, NumberForm


def read(*batches, limit=None, **form):
    """Values of one column, in batches; with the column."""
    column, line, values = NumberColumn(Path("x.csv"), "price", NumberForm(**form)), 2, []
    for batch in batches:
        lines = pl.Series(range(line, line + len(batch)), dtype=pl.Int64)
        values += column.read(pl.Series("price", batch, dtype=pl.String), lines).to_list()
        line += len(batch)
    return values, column


CLEAR = {
    "plain": (["4", "3.50", "-1e3", " 7 ", ".5", "5.", "1.299"], [4, 3.5, -1000, 7, 0.5, 5, 1.299]),
    "missing": (["", None, "NA", "null", "-", "n/a", "None", "3"], [None] * 7 + [3]),
    "thousands": (["1,299.00", "12,345,678", "5"], [1299, 12_345_678, 5]),
    "thousands of a comma": (["1,299", "5.5"], [1299, 5.5]),
    "lakhs": (["1,29,900.00", "5,000.00"], [129_900, 5000]),
    "decimal commas": (["9,99", "1.299,00", "1.299", "7"], [9.99, 1299, 1299, 7]),
    "a decimal of three digits": (["1,299", "5,5"], [1.299, 5.5]),
    "blanks and apostrophes": (["1 299,00", "1\u202f299,50", "1'299,00", "1’299,10"], [1299, 1299.5, 1299, 1299.1]),
    "currency": (["$1,299.00", "$ 5.50", "7"], [1299, 5.5, 7]),
    "currency behind": (["9,99 EUR", "12 EUR", "1.299,00EUR"], [9.99, 12, 1299]),
    "a point of three digits": (["1.299 kg", "0.5 kg"], [1.299, 0.5]),
    "euro sign": (["€ 9,99", "12,50\u00a0€"], [9.99, 12.5]),
    "rupees": (["Rs. 500", "Rs. 1,500.50"], [500, 1500.5]),
    "below zero": (["-$5", "($6.50)", "$-8", "−3"], [-5, -6.5, -8, -3]),
    "of five": (["4/5", "1 / 5", "2.5/5"], [4, 1, 2.5]),
    "percent": (["80%", "7.5 %"], [80, 7.5]),
}


@pytest.mark.parametrize(("texts", "numbers"), CLEAR.values(), ids=CLEAR)
def test_clear_columns_are_read(texts, numbers):
    values, column = read(texts)
    assert values == pytest.approx(numbers, nan_ok=False)
    assert column.failed == 0 and column.given == sum(number is not None for number in numbers)


UNCLEAR = {
    "one comma": ([["1,299", "12"]], "line 2, column 'price': '1,299' may be a thousand or a fraction.*--decimal"),
    "one point beside a unit": ([["1.299 €", "12 €"], ["9,99 €"]], "line 2.*'1.299 €' may be a thousand or a fraction"),
    "two forms": ([["1.50", "1,50"]], "line 3.*'1,50' and, in line 2, '1.50' are not written in one way.*--decimal"),
    "two forms, far apart": ([["1.50"], ["1,50"]], "line 3.*'1,50' and, in line 2, '1.50'"),
    "a point that was none": ([["1.299"], ["1.299,00"]], "line 3.*'1.299,00' and, in line 2, '1.299'"),
    "currencies": ([["$5", "5 EUR"]], "line 2.*'.5' and, in line 3, '5 EUR' have different units"),
    "currencies, far apart": ([["$5"], ["5 EUR"]], "have different units"),
    "scales": ([["4/5", "8/10"]], "'4/5' and, in line 3, '8/10' have different units"),
    "percent and parts": ([["80%", "0.8"]], "'80%' and, in line 3, '0.8' have different units"),
    "percent and parts, far apart": ([["80%"], ["0.8"]], "'80%' and, in line 3, '0.8' have different units"),
}


@pytest.mark.parametrize(("batches", "message"), UNCLEAR.values(), ids=UNCLEAR)
def test_unclear_columns_are_refused_by_name(batches, message):
    with pytest.raises(ValueError, match=f"x.csv, {message}" if message.startswith("line") else message):
        read(*batches)


def test_what_is_said_decides():
    assert read(["1,299", "2,5"], decimal=",")[0] == [1.299, 2.5]
    assert read(["1,299", "2.5"], decimal=".")[0] == [1299, 2.5]
    assert read(["1.299", "2"], decimal=",")[0] == [1299, 2]
    values, column = read(["9,99", "$3.50", "£4"], decimal=".", unit="$")  # 9,99 was once read as 999
    assert values == [None, 3.5, None] and column.failed == 2


def test_what_is_no_number_is_counted_shown_and_too_much_an_error():
    values, column = read(["free", "3", "", "inf", "0x10", "1,2,3", "5 stars", "1.2.3"])
    assert values == [None, 3] + [None] * 6
    (message,) = column.check(None)
    assert message == (
        "x.csv, line 2, column 'price': 6 of 7 values are no numbers that can be read, the first is 'free'; they are "
        "left empty"
    )
    with pytest.raises(ValueError, match="6 of 7 values are no numbers.*the first is 'free'.*--broken-share"):
        column.check(0.01)


def test_scales_are_told():
    assert "such as '4/5' are read as the number before the /5" in read(["4/5"])[1].check(0)[0]


def test_numbers_pass():
    column = NumberColumn(Path("x.parquet"), "price")
    assert column.read(pl.Series([1, None, 3]), pl.Series([1, 2, 3])).to_list() == [1, None, 3]
    assert column.read(pl.Series([float("nan")]), pl.Series([4])).to_list() == [None]
