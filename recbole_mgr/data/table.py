"""The one reader of atomic tables (``.inter``, ``.item``, ``.review``): every row as it stands, and what is wrong.

Each line is one string that is split here, without quoting, so that rows of too many or too few values are seen and
counted instead of dropped or joined; and read lazily, so that memory does not grow with columns that nobody asks for.
A byte order mark, Windows line ends and blank lines are no fault.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from recbole_mgr.settings.recbole_keys import Overall
from recbole_mgr.settings.schema import check_values

TYPES = ("token", "token_seq", "float", "float_seq")
LINE, FIELDS, TEXT, PROBLEM = "<line>", "<fields>", "<text>", "<problem>"  # no header can name a column so
# What pandas, and with it RecBole, reads as missing.
MISSING_WORDS = frozenset(
    "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")
)
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class AtomicFormat(NamedTuple):
    """How the atomic files of a data set are written: RecBole's settings of the names in ``SETTINGS``."""

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    rating: str = "rating"
    encoding: str = "utf-8"
    separator: str = "\t"

    @classmethod
    def of(cls, settings: Any) -> AtomicFormat:
        """The one that settings ask for; a key that they lack has its default.

        Args:
            settings: a mapping or RecBole's Config.

        Raises:
            ValueError: If a value is not what the settings schema says, naming key and value.
        """
        given = {key: settings[key] for key in SETTINGS.values() if key in settings and settings[key] is not None}
        checked = check_values(given, Overall.all())
        format = cls(**{field: checked[key] for field, key in SETTINGS.items() if key in checked})
        names = {key: getattr(format, field) for field, key in SETTINGS.items() if key.endswith("_FIELD")}
        for name in names.values():
            same = [other for other in names if names[other] == name]
            if len(same) > 1:
                raise ValueError(f"{' and '.join(same)} name one column, {name!r}; each needs its own")
        return format


SETTINGS = {
    "user": "USER_ID_FIELD",
    "item": "ITEM_ID_FIELD",
    "time": "TIME_FIELD",
    "rating": "RATING_FIELD",
    "encoding": "encoding",
    "separator": "field_separator",
}
DEFAULT_FORMAT = AtomicFormat()


class Fault(NamedTuple):
    """One kind of flaw in the rows of a table.

    Attributes:
        line: the first line that has it; 0 where it is none of a line.
        what: what is the matter, with the first value where that helps.
        remedy: what to do.
        lines: how many lines have it.
        fatal: whether the table is refused for it.
    """

    line: int
    what: str
    remedy: str
    lines: int
    fatal: bool = True


class Table(NamedTuple):
    """An atomic table that has been opened.

    Attributes:
        path: of the file.
        header: names of the columns and their types.
        rows: lazily, blank lines left out: a String column for each name of ``header`` ("" where a row ends before
            it), and LINE (number in the file), FIELDS (number of values) and TEXT (the whole line).
        undecodable: the first line whose bytes do not belong to the encoding, or None.
        format: how the file is written.
    """

    path: Path
    header: dict[str, str]
    rows: pl.LazyFrame
    undecodable: int | None
    format: AtomicFormat


def read_header(path: Path, format: AtomicFormat = DEFAULT_FORMAT) -> dict[str, str]:
    """Names and types of a table's columns.

    Raises:
        ValueError: If the file does not exist, is compressed, or its first line does not name each column once, as
            name:type.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    with open(path, "rb") as file:
        start = file.read(8)
    for mark, packing in _PACKED.items():
        if start.startswith(mark):
            raise ValueError(f"{path}: is compressed ({packing}); unpack it under this name")
    if not start:
        raise ValueError(f"{path}: the file is empty; its first line must name the columns, as name:type")
    with open(path, encoding=format.encoding, errors="replace") as file:
        first = file.readline(1 << 20).removeprefix("\ufeff").rstrip("\r\n")
    if "\0" in first:
        raise ValueError(
            f"{path}, line 1: holds NUL bytes, which no text in {format.encoding} has; it is a binary file, such as "
            "Parquet, or one in UTF-16: save it as text in UTF-8, or name its encoding"
        )
    columns = first.split(format.separator)
    header = {name: type_ for name, _, type_ in (column.partition(":") for column in columns)}
    shown = first if len(first) <= 200 else f"{first[:200]}..."
    untyped = [column for column in columns if column[:1] in ("", ":") or column.partition(":")[2] not in TYPES]
    if untyped:
        raise ValueError(
            f"{path}, line 1: column {untyped[0][:80]!r} is not written name:type with a type of {', '.join(TYPES)}; "
            f"columns are separated by {_spoken(format.separator)}; the line is {shown!r}"
        )
    if len(header) < len(columns):
        names = [column.partition(":")[0] for column in columns]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}, line 1: column {repeated!r} stands there twice; remove one")
    return header


def open_table(path: Path, format: AtomicFormat = DEFAULT_FORMAT, *, needed: Mapping[str, str] | None = None) -> Table:
    """Open an atomic table.

    Args:
        path: the file.
        format: how it is written.
        needed: name -> type of columns that it must have.

    Raises:
        ValueError: As `read_header`; also if a needed column is missing or of another type.
    """
    header = read_header(path, format)
    for name, type_ in (needed or {}).items():
        if header.get(name) != type_:
            written = [f"{field}:{kind}" for field, kind in header.items()]
            raise ValueError(
                f"{path}, line 1: needs a column {name}:{type_}; its header is {', '.join(written)}. Correct the "
                "header, or name the column in the settings (USER_ID_FIELD, ITEM_ID_FIELD, TIME_FIELD)"
            )
    source, undecodable = _utf8(path, format.encoding)
    lines = pl.scan_lines(source, name=TEXT, row_index_name=LINE, row_index_offset=1, glob=False)
    text = pl.col(TEXT).str.strip_suffix("\r")
    values = pl.col(TEXT).str.split(format.separator)
    rows = (
        lines.slice(1)
        .with_columns(text)
        .filter(pl.col(TEXT).str.strip_chars(f" \t{format.separator}") != "")
        .with_columns(
            values.list.len().alias(FIELDS),
            *(values.list.get(place, null_on_oob=True).fill_null("").alias(name) for place, name in enumerate(header)),
        )
    )
    return Table(path, header, rows, undecodable, format)


def judged(
    table: Table,
    *,
    keys: Sequence[str],
    columns: Sequence[pl.Expr] = (),
    finite: Sequence[str] = (),
    unquoted: bool = False,
) -> tuple[pl.DataFrame, list[Fault]]:
    """Read a table's rows and say what is wrong with them.

    Args:
        table: the table.
        keys: columns of ids: neither empty, nor a word that reads as missing, nor with blanks around.
        columns: what is wanted of each row.
        finite: columns that must hold a finite number.
        unquoted: refuse values that begin with a quotation mark, which RecBole would join with what follows.

    Returns:
        The wanted columns of all rows with LINE and PROBLEM (Enum; what is the matter with the row itself, for which
        the table is refused, or null); and the faults, those of ids first.
    """
    column, width = pl.col, len(table.header)
    parting = _spoken(table.format.separator)
    kinds = [_Kind(column(FIELDS) > width, f"more than {width} values", f"take the {parting} out of values")]
    for key in keys:
        missing = (column(key) == "") | column(key).is_in(list(MISSING_WORDS))
        blanks = ~missing & (column(key).str.strip_chars() != column(key))
        what = f"{key} is empty or a word that reads as missing (NA, null, None, nan, ...)"
        kinds.append(_Kind(missing, what, "rename it, or remove the row", shown=key))
        kinds.append(_Kind(blanks, f"{key} has blanks around it", "take them away", shown=key))
    for name, type_ in table.header.items():
        if name in finite:
            remedy = "give it as a number, such as unix seconds"
            kinds.append(_Kind(~_is_finite(name), f"{name} is not a finite number", remedy, shown=name))
        elif type_ in ("float", "float_seq"):
            remedy = f"correct the value, or write the column as {name}:token{type_.removeprefix('float')}"
            kinds.append(_Kind(_holds_words(name, type_), f"{name} is not a number", remedy, shown=name))
    if unquoted:
        begins = column(TEXT).str.starts_with('"')
        inside = column(TEXT).str.contains(f'{table.format.separator}"', literal=True)
        what = "a value begins with a quotation mark, which RecBole by itself would join with what follows"
        kinds.append(_Kind(begins | inside, what, "take the mark out"))
    kinds.append(
        _Kind(column(FIELDS) < width, f"fewer than {width} values", "complete the row, empty values included", False)
    )
    flags = [f"<fault {place}>" for place in range(len(kinds))]
    rows = table.rows.select(
        column(LINE),
        *columns,
        *(kind.rows.alias(flag) for kind, flag in zip(kinds, flags, strict=True)),
        _first_problem([kind for kind in kinds if kind.fatal]),
    ).collect(engine="streaming")
    faults = []
    if table.undecodable:
        what = f"not {table.format.encoding.upper()}"
        faults.append(Fault(table.undecodable, what, "save it with that encoding, or name its own (encoding)", 0))
    for kind, flag in zip(kinds, flags, strict=True):
        lines = rows.filter(flag)[LINE]
        if len(lines):
            value = f" ({_value(table, lines[0], kind.shown)!r})" if kind.shown else ""
            faults.append(Fault(lines[0], kind.what + value, kind.remedy, len(lines), kind.fatal))
    return rows.drop(flags), faults


def refuse_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Raise ValueError for the first fatal fault, naming file, line and remedy."""
    for fault in faults:
        if fault.fatal:
            where = f"{path}, line {fault.line}" if fault.line else str(path)
            lines = f" ({fault.lines:,} such lines)" if fault.lines else ""
            raise ValueError(f"{where}: {fault.what}{lines}; {fault.remedy}")


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines of a text file without byte order mark, line ends and blank lines at the end.

    Raises:
        ValueError: If its bytes do not belong to the encoding.
    """
    blank = 0  # lines held back until it is known that they are not the end
    try:
        with open(path, encoding=encoding, newline="\n") as file:
            for number, line in enumerate(file):
                line = line.rstrip("\r\n")
                if number == 0:
                    line = line.removeprefix("\ufeff")
                if not line.strip():
                    blank += 1
                    continue
                yield from [""] * blank
                blank = 0
                yield line
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not {encoding.upper()} ({error}); save it with that encoding") from error


class _Kind(NamedTuple):
    """A kind of fault: which rows have it, in words, and the column whose first value is shown."""

    rows: pl.Expr
    what: str
    remedy: str
    fatal: bool = True
    shown: str | None = None


def _first_problem(kinds: Sequence[_Kind]) -> pl.Expr:
    """PROBLEM: the first kind that hits a row, or null."""
    words = pl.Enum(list(dict.fromkeys(kind.what for kind in kinds)))  # a byte a row
    hits = [pl.when(kind.rows).then(pl.lit(kind.what, dtype=words)) for kind in kinds]
    return pl.coalesce(hits).alias(PROBLEM)


def _number(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)


def _is_finite(name: str) -> pl.Expr:
    return _number(name).is_finite().fill_null(False)


def _holds_words(name: str, type_: str) -> pl.Expr:
    """Rows whose value is neither a number (or several, where the type is a sequence) nor missing."""
    there = (pl.col(name).str.strip_chars() != "") & ~pl.col(name).is_in(list(MISSING_WORDS))
    if type_ == "float":
        return there & ~_is_finite(name)
    parts = pl.col(name).str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    numbers = parts.list.eval(pl.element().cast(pl.Float64, strict=False).is_finite().fill_null(False))
    return there & ~numbers.list.all()


def _value(table: Table, line: int, name: str) -> str:
    value = table.rows.filter(pl.col(LINE) == line).select(name).collect(engine="streaming").item()
    return value if len(value) <= 60 else f"{value[:60]}..."


def _spoken(separator: str) -> str:
    return {"\t": "tabs", ",": "commas", ";": "semicolons", " ": "blanks"}.get(separator, repr(separator))


def _utf8(path: Path, encoding: str) -> tuple[Path | io.BytesIO, int | None]:
    """What polars can read, and the first line that holds bytes of another encoding, or None.

    A file in UTF-8 is read from where it stands; any other is held in memory as UTF-8, with a mark for each byte that
    does not belong to the encoding.
    """
    undecodable = _first_undecodable(path, encoding)
    if undecodable is None and codecs.lookup(encoding).name in ("utf-8", "ascii"):
        return path, None
    text = io.BytesIO()
    with open(path, encoding=encoding, errors="replace", newline="") as file:
        while block := file.read(1 << 22):
            text.write(block.encode("utf-8", errors="replace"))
    text.seek(0)
    return text, undecodable


def _first_undecodable(path: Path, encoding: str) -> int | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open(path, "rb") as file:
        while True:
            block = file.read(1 << 20)
            try:
                line += decoder.decode(block, final=not block).count("\n")
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            if not block:
                return None
