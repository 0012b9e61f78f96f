"""Dates as people write them: read where they can mean one thing only, refused by name where they can mean two."""

import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recbole_mgr.preparation.times import TimeColumn, odd_times, span


def read(*batches, **options):
    """Times of one column, in batches, as ISO texts; with the column."""
    column, line, found = TimeColumn(Path("x.csv"), "when", **options), 2, []
    for batch in batches:
        seconds = column.read(pl.Series(batch), pl.Series(range(line, line + len(batch)), dtype=pl.Int64))
        found += seconds.to_list()
        line += len(batch)
    moments = [None if s is None else datetime.fromtimestamp(s, timezone.utc).replace(tzinfo=None) for s in found]
    return [moment and moment.isoformat(" ").removesuffix(" 00:00:00") for moment in moments], column


CLEAR = {
    "ISO": (["2023-11-14", "2023-11-14T22:13:20Z"], ["2023-11-14", "2023-11-14 22:13:20"]),
    "zones": (
        ["2023-11-14T22:13:20+01:00", "2023-11-14 22:13:20-0500"],
        ["2023-11-14 21:13:20", "2023-11-15 03:13:20"],
    ),
    "short zone": (["2023-11-14T22:13:20.5+01"], ["2023-11-14 21:13:20.500000"]),
    "day first": (["14/11/2023", "01/02/2023"], ["2023-11-14", "2023-02-01"]),
    "month first": (["11/14/2023 10:15", "1/2/2023 11:15"], ["2023-11-14 10:15:00", "2023-01-02 11:15:00"]),
    "points": (["14.11.2023 22:13:20", "1.2.2023 01:00:00"], ["2023-11-14 22:13:20", "2023-02-01 01:00:00"]),
    "points, early days": (["5.6.2023"], ["2023-06-05"]),
    "hyphens": (["14-11-2023"], ["2023-11-14"]),
    "year first": (["2023/11/14", "2023/1/2"], ["2023-11-14", "2023-01-02"]),
    "afternoon": (["11/14/2023 10:15 PM"], ["2023-11-14 22:15:00"]),
    "afternoon after an ISO day": (["2023-11-14 10:15 PM"], ["2023-11-14 22:15:00"]),
    "months in words": (["14 Nov 2023", "2 Jan 2023"], ["2023-11-14", "2023-01-02"]),
    "short years beside words": (["14-Nov-23"], ["2023-11-14"]),
    "short years, day first": (["03/04/21", "31/12/21"], ["2021-04-03", "2021-12-31"]),
    "short years, month first": (
        ["03/04/21 9:05 PM", "12/25/98 1:00 AM"],
        ["2021-03-04 21:05:00", "1998-12-25 01:00:00"],
    ),
    "short years, points": (["1.2.23", "31.3.99"], ["2023-02-01", "1999-03-31"]),
    "short years first": (["21/12/31", "21/01/02"], ["2021-12-31", "2021-01-02"]),
    "American words": (["Nov 14, 2023"], ["2023-11-14"]),
    "mail": (["Tue, 14 Nov 2023 22:13:20 GMT"], ["2023-11-14 22:13:20"]),
    "twitter": (["Wed Oct 10 20:19:24 +0000 2018"], ["2018-10-10 20:19:24"]),
    "days without marks": (["20231114", "20230102"], ["2023-11-14", "2023-01-02"]),
    "numbers beside": (["1700000000", "2023-11-14"], ["2023-11-14 22:13:20", "2023-11-14"]),
    "nothing": (["", None, "2023-11-14"], [None, None, "2023-11-14"]),
}


@pytest.mark.parametrize(("texts", "times"), CLEAR.values(), ids=CLEAR)
def test_dates_that_mean_one_thing(texts, times):
    assert read(texts)[0] == times


def test_the_form_of_the_first_rows_holds_for_all():
    times, column = read(["14/11/2023"], ["01/02/2023", "soon"])
    assert times == ["2023-11-14", "2023-02-01", None]
    assert "'14/11/2023' are read as '%d/%m/%Y'" in column.remarks[0]
    assert "line 4, column 'when': 1 values are no times that can be read, the first is 'soon'" in column.remarks[1]


DAYS_WITHOUT_MARKS = {
    "beside a word": (["20231114", "20230102", "n/a"], ["2023-11-14", "2023-01-02", None]),
    "beside other dates": (["20231114", "2023-01-02", "03/25/2023"], ["2023-11-14", "2023-01-02", "2023-03-25"]),
    "of pandas": (["20231114.0", "NaN", None], ["2023-11-14", None, None]),
    "numbers of Parquet": ([20231114, None], ["2023-11-14", None]),
    "fractions of Parquet": ([20231114.0, None], ["2023-11-14", None]),
}


@pytest.mark.parametrize(("given", "times"), DAYS_WITHOUT_MARKS.values(), ids=DAYS_WITHOUT_MARKS)
def test_days_without_marks_are_days_whatever_stands_beside_them(given, times):
    read_at_once, column = read(given)
    assert read_at_once == times
    assert "times such as '20231114' are read as days (%Y%m%d)" in column.remarks[0]
    assert read(["20230101"], given)[0] == ["2023-01-01", *times]
    assert read([None], given)[0] == [None, *times]


def test_numbers_that_are_no_days_stay_numbers():
    assert read(["1700000000", "20231114"])[0] == ["2023-11-14 22:13:20", "1970-08-23 03:45:14"]
    assert read([1700000000], [20231114])[0] == ["2023-11-14 22:13:20", "1970-08-23 03:45:14"]
    assert read(["20231114000"], unit="ms")[0] == ["1970-08-23 03:45:14"]


def test_a_form_holds_for_numbers_of_parquet_too():
    assert read([20231114], form="%Y%m%d")[0] == ["2023-11-14"]
    assert read([20231114.0, None], form="%Y%m%d")[0] == ["2023-11-14", None]


TWO_MEANINGS = {
    "early days": (["01/02/2023"], "line 2.*'01/02/2023' may begin with day or month; say which"),
    "both": (["14/11/2023", "11/14/2023", "1/2/2023"], "line 4.*'1/2/2023' may begin with day or month; say which"),
    "two forms": (
        ["14/11/2023", "11/15/2023"],
        "'14/11/2023' begins with the day and '11/15/2023' begins with the month",
    ),
    "blanks": (["", "1-2-2023 10:00"], "line 3.*--time-format '%d-%m-%Y %H:%M' or --time-format '%m-%d-%Y %H:%M'"),
    "short years": (
        ["03/04/21"],
        "line 2.*'03/04/21' may begin with day or month or year; .*'%d/%m/%y' or .*'%y/%m/%d'",
    ),
    "short years, points": (
        ["14.11.23"],
        "may begin with day or year; say which holds with --time-format '%d.%m.%y' or",
    ),
}


@pytest.mark.parametrize(("texts", "message"), TWO_MEANINGS.values(), ids=TWO_MEANINGS)
def test_dates_that_mean_two_things_are_refused(texts, message):
    with pytest.raises(ValueError, match="x.csv, .*column 'when'") as error:
        read(texts)
    assert re.search(message, str(error.value))


def test_one_day_in_a_long_column_tells():
    early = [f"0{1 + n % 9}/02/2021 {n // 60:02}:{n % 60:02}" for n in range(1440)]
    times, _ = read([*early, "13/02/2021 00:00"])
    assert times[0] == "2021-02-01" and times[-1] == "2021-02-13"


def test_what_is_said_decides():
    assert read(["01/02/2023"], form="%d/%m/%Y")[0] == ["2023-02-01"]
    assert read(["14.11.23 10:15"], form="%d.%m.%y %H:%M")[0] == ["2023-11-14 10:15:00"]
    assert read(["20231114"], form="%Y%m%d")[0] == ["2023-11-14"]
    assert read(["14.11.23"], form="%d.%m.%Y")[0] == [None]  # not the year 23


def test_odd_times_are_remarked():
    usual = np.array([1.6e9, 1.5e9])
    assert odd_times(usual) == [] == odd_times(np.array([0.0, 5000.0])) == odd_times(np.array([]))
    for factor, name in ((1e3, "ms"), (1e6, "us"), (1e9, "ns")):
        (remark,) = odd_times(np.append(usual, 1.6e9 * factor))
        assert f"--time-unit {name}" in remark and remark.startswith("1 of 3 times")
    (remark,) = odd_times(np.append(usual, -62_135_596_800))
    assert "1 of 3 times lie before 1985, the first on 0001-01-01" in remark
    (remark,) = odd_times(np.append(usual, 4e9))
    assert "lie in the future, the last on 2096-10-02" in remark


def test_spans():
    assert span(np.array([1.6e9, 1.5e9])) == "2017-07-14 to 2020-09-13"
    assert span(np.array([0.0, 12.0])) == "0 to 12 (positions, no dates)"
    assert span(np.array([1.6e9, 1e18])) == "2020-09-13 to second 1e+18"
