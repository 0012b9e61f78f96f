"""Checks of a data set's atomic files before RecBole reads them, its provenance, and its fingerprint."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recbole_mgr.files import add_content, read_yaml

_TYPES = {"token", "token_seq", "float", "float_seq"}


class Provenance(NamedTuple):
    """Where a data set comes from.

    Attributes:
        label: the name results are printed and stored under, e.g. ``Beauty (synthetic sample)``.
        fingerprint: first 12 hex digits of the SHA-256 of the data files' content.
        details: content of ``<name>.provenance.yaml`` (empty where there is none).
    """

    label: str
    fingerprint: str
    details: dict


def check_interactions(path: Path, *, user: str, item: str, time: str) -> None:
    """Check a ``.inter`` file, so that a bad row is named instead of dropped, filled or crashed on.

    Args:
        path: the file.
        user, item, time: names of the three columns every model needs.

    Raises:
        ValueError: Naming the file, the line and the remedy: file or column missing, malformed header, no UTF-8, too
            many values in a row, a user or item id that is empty, reads as missing or begins with a quotation mark, a
            time that is no finite number, no rows at all.
    """
    if not path.is_file():
        raise ValueError(
            f"{path} does not exist; --data_path must name the folder that holds {path.parent.name}/{path.name}"
        )
    try:
        header = _header(path)
        for field, type_ in ((user, "token"), (item, "token"), (time, "float")):
            if header.get(field) != type_:
                raise ValueError(f"{path}, line 1: needs a column {field}:{type_}; its header is: {header}")
        # read as RecBole does, but without quoting, with which a quotation mark would swallow tabs and lines
        rows = pd.read_csv(path, sep="\t", dtype=str, engine="c", quoting=csv.QUOTE_NONE, skip_blank_lines=False)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error}); save it with that encoding") from error
    except pd.errors.ParserError as error:
        raise ValueError(
            f"{path}: {str(error).strip()}; every line needs {len(header)} values, tab-separated"
        ) from error
    if not isinstance(rows.index, pd.RangeIndex):  # what pandas makes of a value too many in the first rows
        raise ValueError(f"{path}, line 2: more than {len(header)} values, which is what the header names")
    rows.columns = list(header)
    rows = rows.dropna(how="all")
    if rows.empty:
        raise ValueError(f"{path}: holds no interactions, only a header")
    for field in rows:
        quoted = rows[field].str.startswith('"', na=False)
        _name_first(path, quoted, f"{field} begins with a quotation mark, which RecBole would not read as it stands")
    for field in (user, item):
        problem = f"{field} is empty or a word that RecBole reads as missing (NA, null, None, nan, ...); rename it"
        _name_first(path, rows[field].isna(), problem)
    finite = np.isfinite(pd.to_numeric(rows[time], errors="coerce"))
    _name_first(path, ~finite, f"{time} is not a number; give the time as a number (e.g. unix seconds)", rows[time])


def _header(path: Path) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        columns = file.readline().rstrip("\n").split("\t")
    header = {}
    for column in columns:
        field, _, type_ = column.partition(":")
        if type_ not in _TYPES:
            raise ValueError(
                f"{path}, line 1: column {column!r} is not written name:type with a type of {sorted(_TYPES)}; "
                "columns are separated by tabs"
            )
        if field in header:
            raise ValueError(f"{path}, line 1: column {field!r} stands there twice")
        header[field] = type_
    return header


def _name_first(path: Path, bad: pd.Series, problem: str, values: pd.Series | None = None) -> None:
    if not bad.any():
        return
    first = bad.idxmax()
    value = "" if values is None else f" ({values[first]!r})"
    raise ValueError(f"{path}, line {first + 2}: {problem}{value} ({int(bad.sum())} such lines)")


def read_provenance(folder: Path, name: str) -> Provenance:
    """Read ``<name>.provenance.yaml`` and fingerprint the data files, so that caches and results of different
    data never meet under one name.

    Raises:
        ValueError: If the file is not a YAML mapping.
    """
    path = folder / f"{name}.provenance.yaml"
    details = read_yaml(path, remedy="correct it", may_be_empty=True) if path.is_file() else {}
    label = f"{name} (synthetic sample)" if details.get("synthetic") else name
    return Provenance(label, _fingerprint(folder, name), details)


def _fingerprint(folder: Path, name: str) -> str:
    """Of the content of all files of the data set but those that only tell how a feature file was made."""
    digest = hashlib.sha256()
    about_features = (".yaml", ".missing.tsv")
    files = [path for path in folder.glob(f"{name}.*") if path.is_file() and not path.name.endswith(about_features)]
    provenance = folder / f"{name}.provenance.yaml"
    for file in sorted(files + [provenance] * provenance.is_file()):
        digest.update(file.name.encode())
        add_content(digest, file)
    return digest.hexdigest()[:12]
