"""Numbers as people write them: ``1,299.00``, ``1.299,00 €``, ``9,99``, ``80 %``, ``4/5``.

What a comma or a point means, the values of a column say together: where one value is clear, it is so for all. Where
none is, or two disagree, the column is refused by name rather than read in a way that may be wrong. Only ``1.299``
without unit has a point before decimals where nothing tells otherwise: so programs write numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, NoReturn

import polars as pl

from recbole_mgr.preparation.cleaning import MISSING_WORDS

_MISSING = sorted({word.lower() for word in MISSING_WORDS} | {"", "-", "--", "–", "—", "?", "none", "unknown"})
_UNIT = r"\p{Sc}|[A-Za-z]{0,3}\p{Sc}|\p{L}{1,4}\.?"
_SHAPE = (  # sign, unit, sign, number, and percent, denominator or unit
    rf"^([-+(]?)\s*({_UNIT})?\s*([-+]?)\s*(\d[\d.,'’ ]*|[.,]\d+)\s*(%|/\s*\d+|{_UNIT})?\s*\)?$"
)
_PLAIN, _POINT, _COMMA = "no unit", "a point before decimals", "a comma before decimals"
# What a number without sign and unit tells of the column's form; a number fits one pattern at most.
_EVIDENCE = {
    _POINT: r"^(\d+\.(\d{1,2}|\d{4,})|0*\.\d+|0\.\d{3}|\d{4,}\.\d{3}|\d{1,3}(,\d{2,3})*,\d{3}\.\d*"
    r"|\d{1,3}(,\d{2,3})+,\d{3}|\d{1,3}([ '’]\d{3})+\.\d+)$",
    _COMMA: r"^(\d+,(\d{1,2}|\d{4,})|0*,\d+|0,\d{3}|\d{4,},\d{3}|\d{1,3}(\.\d{3})+,\d*|\d{1,3}(\.\d{3}){2,}"
    r"|\d{1,3}([ '’]\d{3})+,\d+)$",
}
_WHOLE = r"^(\d+|\d{1,3}([ '’]\d{3})+)$"
_EITHER = r"^[1-9]\d{0,2}[.,]\d{3}$"


class NumberForm(NamedTuple):
    """What is known of a column's form beforehand.

    Attributes:
        decimal: what stands before decimals, ``.`` or ``,``; None: the values must say.
        unit: the only unit or currency that a value may have; None: any, but one alone.
    """

    decimal: str | None = None
    unit: str | None = None


class NumberColumn:
    """Reads one column of texts as numbers, some rows at a time.

    Args:
        path: the file, for messages.
        name: of the column.
        form: what is known of it.
    """

    def __init__(self, path: Path, name: str, form: NumberForm = NumberForm()) -> None:  # noqa: B008 - immutable
        self._path, self.name, self._form = path, name, form
        self.given = self.failed = 0
        self._first: tuple[int, str] | None = None  # line and value of the first failure
        # line and first value of each form, of each unit, and of what was read with a point but may be a thousand
        self._seen: dict[str, tuple[int, str]] = {}
        self._units: dict[str, tuple[int, str]] = {}
        self._pointed: tuple[int, str] | None = None

    def read(self, values: pl.Series, lines: pl.Series) -> pl.Series:
        """Numbers of some rows.

        Args:
            values: [n] numbers, or texts.
            lines: [n] their lines, for messages.

        Returns:
            Float64 [n], null where there is none or none that can be read.

        Raises:
            ValueError: Naming the column and two values that do not go together, or one whose meaning is not clear.
        """
        if values.dtype != pl.String:
            return values.cast(pl.Float64, strict=False).fill_nan(None)
        texts = values.str.strip_chars(" \t\u00a0\u202f")
        missing = texts.is_null() | texts.str.to_lowercase().is_in(_MISSING)
        numbers = texts.cast(pl.Float64, strict=False)
        plain = numbers.is_finite().fill_null(False) & texts.str.contains(r"^[-+]?[\d.]").fill_null(False)
        self.given += len(values) - int(missing.sum())
        pointed = plain & texts.str.contains(".", literal=True).fill_null(False)
        either = pointed & texts.str.contains(_EITHER)  # 1.299 is a thousand where decimals follow a comma
        self._note(_POINT, texts, lines, pointed & ~either)
        self._note(_PLAIN, texts, lines, plain)
        numbers = numbers.set(~plain, None)
        rest = ~plain & ~missing
        if rest.any():
            numbers = numbers.scatter(rest.arg_true(), self._read_odd(texts.filter(rest), lines.filter(rest)))
        self._check_units()
        if self._decimal() == "," and pointed.any():
            thousands = texts.filter(either).str.replace_all(".", "", literal=True).cast(pl.Float64)
            numbers = numbers.set(pointed, None).scatter(either.arg_true(), thousands)
            self._fail(texts, lines, pointed & ~either)
        elif either.any() and not self._pointed:
            place = either.arg_max()
            self._pointed = lines[place], texts[place]
        return numbers

    def check(self, limit: float | None) -> list[str]:
        """Messages on what could not be read, and on units.

        Args:
            limit: the largest share of values that may be no numbers; None: any.

        Raises:
            ValueError: if more are not.
        """
        messages = []
        for unit, (line, value) in self._units.items():
            if unit.startswith("/"):
                messages.append(
                    f"{self._where(line)}: values such as {value!r} are read as the number before the {unit}"
                )
            elif unit == "%":
                messages.append(f"{self._where(line)}: values such as {value!r} are read as percent, not as parts of 1")
        if self.failed:
            line, value = self._first
            message = (
                f"{self._where(line)}: {self.failed:,} of {self.given:,} values are no numbers that can be read, the "
                f"first is {value!r}"
            )
            if limit is not None and self.failed > limit * self.given:
                raise ValueError(f"{message}. Mend them, or allow a larger share with --broken-share")
            messages.append(message + "; they are left empty")
        return messages

    def _where(self, line: int) -> str:
        return f"{self._path}, line {line}, column {self.name!r}"

    def _read_odd(self, texts: pl.Series, lines: pl.Series) -> pl.Series:
        """Numbers [m] of texts that are not written as Python writes numbers."""
        texts = texts.str.replace_all("[\u00a0\u202f\u2009]", " ").str.replace_all("[−–]", "-")
        frame = pl.DataFrame({"text": texts, "line": lines}).with_columns(
            pl.col("text").str.extract(_SHAPE, group).fill_null("").alias(name)
            for group, name in enumerate(("sign", "before", "inner", "number", "after"), start=1)
        )
        number = pl.col("number").str.strip_chars(" '’")
        unit = pl.when(pl.col("after") != "").then("after").otherwise("before").str.replace_all(" ", "", literal=True)
        two = (pl.col("before") != "") & (pl.col("after") != "")
        frame = frame.with_columns(number=pl.when(~two).then(number).otherwise(pl.lit("")), unit=unit)
        legal = pl.any_horizontal(
            pl.col("number").str.contains(shape) for shape in (*_EVIDENCE.values(), _WHOLE, _EITHER)
        )
        frame = frame.with_columns(legal=legal & (pl.col("number") != ""))
        if self._form.unit is not None:
            frame = frame.with_columns(legal=pl.col("legal") & pl.col("unit").is_in(["", self._form.unit]))
        good = frame["legal"]
        for kind, shape in _EVIDENCE.items():
            self._note(kind, frame["text"], frame["line"], good & frame["number"].str.contains(shape))
        self._note_units(frame.filter(good & (frame["unit"] != "")))
        decimal = self._decimal()
        either = good & frame["number"].str.contains(_EITHER)
        if either.any() and not self._form.decimal and not {_POINT, _COMMA} & self._seen.keys():
            place = either.arg_max()
            raise ValueError(
                f"{self._where(frame['line'][place])}: {frame['text'][place]!r} may be a thousand or a fraction, and "
                "no other value tells; say what stands before decimals with --decimal . or --decimal ,"
            )
        against = frame["number"].str.contains(_EVIDENCE[_POINT if decimal == "," else _COMMA])
        good = good & ~against
        self._fail(frame["text"], frame["line"], ~good)
        digits = frame["number"].str.replace_all(r"[ '’]" + ("|\\." if decimal == "," else "|,"), "")
        values = digits.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
        negative = frame["sign"].is_in(["-", "("]) | (frame["inner"] == "-")
        return pl.select(pl.when(negative).then(-values).otherwise(values)).to_series().set(~good, None)

    def _note(self, kind: str, texts: pl.Series, lines: pl.Series, rows: pl.Series) -> None:
        if kind not in self._seen and rows.any():
            place = rows.arg_max()
            self._seen[kind] = lines[place], texts[place]

    def _note_units(self, frame: pl.DataFrame) -> None:
        for unit, line, value in (
            frame.unique("unit", keep="first", maintain_order=True).select("unit", "line", "text").iter_rows()
        ):
            self._units.setdefault(unit, (line, value))

    def _check_units(self) -> None:
        met = list(self._units.items())
        if met and met[0][0].startswith(("%", "/")) and _PLAIN in self._seen:
            met.append((_PLAIN, self._seen[_PLAIN]))  # 0.8 is not 0.8 %
        if len(met) > 1 and self._form.unit is None:
            (_, one), (_, other) = met[:2]
            self._refuse(one, other, "have different units; bring the column to one unit")

    def _decimal(self) -> str:
        """What stands before decimals in this column."""
        if self._form.decimal:
            return self._form.decimal
        if _COMMA not in self._seen:
            return "."
        for other in (self._seen.get(_POINT), self._pointed):
            if other:
                remedy = "are not written in one way; say what stands before decimals with --decimal . or --decimal ,"
                self._refuse(self._seen[_COMMA], other, remedy)
        return ","

    def _refuse(self, one: tuple[int, str], other: tuple[int, str], problem: str) -> NoReturn:
        raise ValueError(f"{self._where(one[0])}: {one[1]!r} and, in line {other[0]}, {other[1]!r} {problem}")

    def _fail(self, texts: pl.Series, lines: pl.Series, rows: pl.Series) -> None:
        count = int(rows.sum())
        if count and not self._first:
            place = rows.arg_max()
            self._first = lines[place], texts[place][:80]
        self.failed += count
