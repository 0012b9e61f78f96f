"""Times as seconds since 1970: numbers, and dates in the forms that people and databases write."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from recbole_mgr.preparation.cleaning import in_seconds

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # parts of a second

# Forms of dates by what comes first. The separator tells those of one line apart, but not always the two lines.
_DAY_FIRST = ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d/%m/%y", "%d-%m-%y", "%d.%m.%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y")
_YEAR_FIRST = ("%y/%m/%d", "%y-%m-%d", "%y.%m.%d")
_ORDERS = {"day": _DAY_FIRST, "month": _MONTH_FIRST, "year": _YEAR_FIRST}
_CLEAR = (
    *("%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y"),
    *("%m %d, %Y", "%Y年%m月%d日", "%Y-%m-%d"),
)
_CLOCKS = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", " %I:%M%p", ", %H:%M", ", %H:%M:%S"),
    *(", %I:%M %p", ", %I:%M:%S %p"),
)
_WHOLE = (
    *("%a, %d %b %Y %H:%M:%S %z", "%d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y"),
    "%d/%b/%Y:%H:%M:%S %z",
)
_ISO = ("%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M%:z", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_COMPACT = "%Y%m%d"
_DAY = r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
_SAMPLE = 1000  # distinct dates that tell the form


class TimeColumn:
    """Reads one column as times, some rows at a time.

    Args:
        path: the file, for messages.
        name: of the column.
        unit: of times that are numbers, a key of ``UNITS``.
        form: of dates, as strftime writes it (``%d/%m/%Y %H:%M``); None: ISO 8601, numbers, or what the first rows
            show without doubt.
    """

    def __init__(self, path: Path, name: str, unit: str = "s", form: str | None = None) -> None:
        self._path, self._name, self._unit, self._form, self._given = path, name, unit, form, form
        self._days: bool | None = None  # whether numbers are days such as 20240131; None: none has been met
        self._remarks: list[str] = []
        self._failed = 0
        self._first: tuple[int, str] | None = None  # line and value of the first failure

    def read(self, times: pl.Series, lines: pl.Series) -> pl.Series:
        """Seconds of some rows: Float64 [n], null where there is no time, or none that can be read.

        Args:
            times: [n] numbers, dates and times of polars, or texts. They are UTC where they name no zone.
            lines: [n] their lines, for messages.

        Raises:
            ValueError: Naming the column and a date that may be two, and the remedy.
        """
        if times.dtype == pl.Date or isinstance(times.dtype, pl.Datetime):
            zone = getattr(times.dtype, "time_zone", None)
            return in_seconds(times.cast(pl.Datetime("us", zone)).dt.epoch("us"), UNITS["us"])
        if times.dtype.is_numeric():
            if not self._given:
                return self._counted(times.cast(pl.Float64))
            times = times.cast(pl.Int64, strict=False)  # 20240131, perhaps as 20240131.0
        times = times.cast(pl.String)
        seconds = self._seconds(times, lines)
        if seconds.null_count() > times.null_count():
            failed = seconds.is_null() & (times.str.strip_chars() != "").fill_null(False)
            if not failed.any():
                return seconds
            place = failed.arg_max()
            self._first = self._first or (lines[place], times[place][:80])
            self._failed += int(failed.sum())
        return seconds

    def _seconds(self, times: pl.Series, lines: pl.Series) -> pl.Series:
        texts = times.str.strip_chars().replace("", None)
        if self._given:
            return _parsed(texts, self._given)
        numbers = texts.cast(pl.Float64, strict=False)
        dates = numbers.is_null() & texts.is_not_null()
        counted = self._counted(numbers)
        if not dates.any():
            return counted
        seconds = _parsed_iso(texts.filter(dates))
        rest = seconds.is_null()
        if rest.any():
            others = texts.filter(dates).filter(rest)
            self._form = self._form or self._detected(others, lines.filter(dates).filter(rest))
            if self._form:
                seconds = seconds.scatter(rest.arg_true(), _parsed(_spaced(others), self._form))
        return counted.scatter(dates.arg_true(), seconds)

    def _counted(self, numbers: pl.Series) -> pl.Series:
        """Seconds of numbers [n] (Float64, perhaps null): counts of the unit, or, where all of the first rows look like
        20240131, which no count of seconds would, days."""
        if self._days is None:
            self._days = self._are_days(numbers.fill_nan(None).drop_nulls())
        if self._days:
            return _parsed(numbers.cast(pl.Int64, strict=False).cast(pl.String), _COMPACT)
        return in_seconds(numbers, UNITS[self._unit])

    def _are_days(self, numbers: pl.Series) -> bool | None:
        """Whether the first numbers are days; None where there are none."""
        if not len(numbers):
            return None
        texts = numbers.cast(pl.Int64, strict=False).cast(pl.String)
        if self._unit != "s" or not (numbers % 1 == 0).all() or not texts.str.contains(_DAY).all():
            return False
        self._remarks.append(
            f"{self._path}, column {self._name!r}: times such as {texts[0]!r} are read as days ({_COMPACT})"
        )
        return True

    @property
    def remarks(self) -> list[str]:
        """What was decided without being told, and what could not be read."""
        if not self._first:
            return self._remarks
        line, value = self._first
        return [
            *self._remarks,
            f"{self._path}, line {line}, column {self._name!r}: {self._failed:,} values are no times that can be read, "
            f"the first is {value!r}; --time-format says how they are written",
        ]

    def _detected(self, texts: pl.Series, lines: pl.Series) -> str | None:
        """The only form that dates can have; None if they have none that is known."""
        sample = _spaced(texts).unique(maintain_order=True)
        sample = sample.gather_every(max(1, len(sample) // _SAMPLE))

        def readable(days: tuple[str, ...], clocks: tuple[str, ...] = _CLOCKS) -> tuple[str, pl.Series]:
            """The form that reads most, and which of the sample it reads."""
            forms = [day + clock for day in days for clock in clocks]
            return max(((form, _likely(sample, form)) for form in forms), key=lambda pair: pair[1].sum())

        orders = {name: readable(days) for name, days in _ORDERS.items()}
        clear_form, clear = max(readable(_CLEAR), readable(_WHOLE, ("",)), key=lambda pair: pair[1].sum())
        if not max(clear.sum(), *(read.sum() for _, read in orders.values())):
            return None
        if all(clear.sum() >= read.sum() for _, read in orders.values()):
            form = clear_form
        else:
            # the one that reads all that any of them reads
            orders = {name: (form, read) for name, (form, read) in orders.items() if read.any()}
            best = [
                form for form, read in orders.values() if not any((other & ~read).any() for _, other in orders.values())
            ]
            if len(best) != 1:
                self._refuse_two_meanings(texts, lines, orders)
            form = best[0]
        self._remarks.append(
            f"{self._path}, column {self._name!r}: dates such as {sample[0]!r} are read as {form!r} (--time-format "
            "says otherwise)"
        )
        return form

    def _refuse_two_meanings(
        self, texts: pl.Series, lines: pl.Series, orders: dict[str, tuple[str, pl.Series]]
    ) -> NoReturn:
        """Raise ValueError for dates that several ``orders`` (what comes first -> form) read."""
        reads = {name: _likely(_spaced(texts), form) for name, (form, _) in orders.items()}
        twofold = sum(read.cast(pl.Int8) for read in reads.values()) > 1
        place = twofold.arg_max()
        what = f"{texts[place]!r} may begin with {' or '.join(orders)}"
        if not twofold.any():
            places = {name: read.arg_max() for name, read in reads.items()}
            what = " and ".join(f"{texts[place]!r} begins with the {name}" for name, place in places.items())
        forms = " or ".join(f"--time-format '{form}'" for form, _ in orders.values())
        raise ValueError(
            f"{self._path}, line {lines[place]}, column {self._name!r}: {what}; say which holds with {forms}"
        )


def odd_times(seconds: np.ndarray) -> list[str]:
    """Remarks on times that are not likely to be meant.

    Args:
        seconds: float64 [n], since 1970.
    """
    if not len(seconds):
        return []
    first, last, year = float(seconds.min()), float(seconds.max()), 366 * 86_400
    if first >= 0 and last < 3 * year:
        return []  # positions in a sequence, which order users' interactions as well
    remarks = []
    now = time.time()
    for name, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        large = seconds > 1e10 * factor / 1e3
        if large.any():
            remarks.append(
                f"{int(large.sum()):,} of {len(seconds):,} times lie after the year 2200, the last is {last:.0f}: they "
                f"look like {name}; say --time-unit {name} if all of them are"
            )
            break
    else:
        future = seconds > now + year
        if future.any():
            remarks.append(f"{int(future.sum()):,} times lie in the future, the last on {_day(last)}")
    early = seconds < 15 * year
    if early.any():
        remarks.append(
            f"{int(early.sum()):,} of {len(seconds):,} times lie before 1985, the first on {_day(first)}: a missing "
            "time may have been filled in"
        )
    return remarks


def span(seconds: np.ndarray) -> str:
    """First and last time in words."""
    first, last = float(seconds.min()), float(seconds.max())
    if first >= 0 and last < 3 * 366 * 86_400:
        return f"{first:g} to {last:g} (positions, no dates)"
    return f"{_day(first)} to {_day(last)}"


def _day(seconds: float) -> str:
    if not -62_135_596_800 <= seconds < 253_402_300_800:  # years 1 to 9999
        return f"second {seconds:g}"
    return str(np.datetime64(int(seconds // 86_400), "D"))


def _spaced(texts: pl.Series) -> pl.Series:
    """Texts with single blanks and a clock as the forms have it."""
    return texts.str.replace_all(r"\s+", " ").str.replace(r"\b(GMT|UTC|Z)$", "+0000").str.replace(r"(\d)T(\d)", "$1 $2")


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    """Texts of one form as seconds; null where a text is none."""
    if not any(part in form for part in ("%H", "%I", "%s", "%T", "%R", "%c", "%+", "%r", "%X")):
        moments = texts.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    elif "%z" in form or "%:z" in form or "%+" in form:
        moments = texts.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC")
    else:
        moments = texts.str.to_datetime(form, strict=False, time_unit="us")
    seconds = in_seconds(moments.dt.epoch("us"), UNITS["us"])
    if "%Y" in form:  # which would also read 23 as the year 23
        seconds = seconds.set(~texts.str.contains(r"\d{4}").fill_null(True), None)
    return seconds


def _likely(texts: pl.Series, form: str) -> pl.Series:
    """Which texts are dates of a form: bool [n]. A year of two digits that lies ahead is none."""
    seconds = _parsed(texts, form)
    return seconds.is_not_null() if "%y" not in form else (seconds < time.time() + 86_400).fill_null(False)


def _parsed_iso(texts: pl.Series) -> pl.Series:
    """ISO dates and times as seconds; null where a text is none."""
    texts = texts.str.replace("T", " ", literal=True).str.replace(r"(Z| ?UTC)$", "+00:00")
    texts = texts.str.replace(r"(:\d\d(?:\.\d+)? ?[+-]\d\d)$", "$1:00")
    seconds = _parsed(texts, _ISO[0])
    for form in _ISO[1:]:
        rest = seconds.is_null()
        if not rest.any():
            break
        seconds = seconds.scatter(rest.arg_true(), _parsed(texts.filter(rest), form))
    return seconds
