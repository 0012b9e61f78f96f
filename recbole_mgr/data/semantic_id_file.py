"""Semantic IDs as a readable file in the style of RecBole's atomic files, and the description beside it.

    item_id:token <TAB> text_codes:token_seq <TAB> image_codes:token_seq <TAB> dedup:token
    B002SQJL9U    <TAB> 170 224 251 151      <TAB> 154 106 221 144       <TAB> 0

The dedup column and the description (``.yaml``, same name) are optional: a user's own file needs neither. What
`write_table_file` writes has a binary form beside it (`binary_twin`). A file that ends in .json is read as
`semantic_id_json` says: codes of one modality, whose name the file does not tell.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import yaml

from recbole_mgr.data.binary_twin import read_twin, write_twin
from recbole_mgr.data.semantic_id_json import LARGEST_CODE, read_json_codes
from recbole_mgr.data.table import read_lines
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import replacing, write_text

ITEM_COLUMN = "item_id:token"
DEDUP_COLUMN = "dedup:token"
CODES_SUFFIX = "_codes:token_seq"
CODES = "codes:"  # before the name of a modality, in the binary form
UNNAMED = "*"  # the modality of codes in JSON


class TableFile(NamedTuple):
    """What a file of semantic IDs says, in the file's order."""

    item_tokens: list[str]
    blocks: dict[str, np.ndarray]  # modality -> int64 [rows, levels]
    dedup: np.ndarray | None  # int64 [rows]
    description: dict[str, Any] | None  # the .yaml beside it
    fingerprint: str | None = None  # of this content, where the binary form tells it


def description_path(path: Path) -> Path:
    return path.with_suffix(".yaml")


def write_table_file(path: Path, table: TableFile) -> None:
    """Write the file and its description, where it has one, each under a temporary name first and then renamed.

    Args:
        path: ends in .tsv.
        table: what to write.

    Raises:
        ValueError: If the path does not end in .tsv, or a token would break the file's form.
    """
    if path.suffix != ".tsv":
        raise ValueError(f"{path}: a file of semantic IDs must end in .tsv")
    tokens = pl.Series(table.item_tokens, dtype=pl.String)
    unfit = tokens.filter((tokens == "") | tokens.str.contains("[\t\n\r]"))
    if len(unfit):
        raise ValueError(f"{path}: the item token {unfit[0]!r} is empty or has a tab or line break; rename it")
    columns = {ITEM_COLUMN: tokens}
    columns |= {modality + CODES_SUFFIX: _joined(block) for modality, block in table.blocks.items()}
    if table.dedup is not None:
        columns[DEDUP_COLUMN] = pl.Series(table.dedup)
    if table.description is not None:
        write_text(description_path(path), yaml.safe_dump(table.description, sort_keys=False, allow_unicode=True))
    with replacing(path) as unfinished:
        pl.DataFrame(columns).write_csv(unfinished, separator="\t", quote_style="never")
    _write_twin(path, table)


def _write_twin(path: Path, table: TableFile) -> None:
    arrays = {CODES + modality: block.astype(np.int32) for modality, block in table.blocks.items()}
    if table.dedup is not None:
        arrays[DEDUP_COLUMN] = table.dedup.astype(np.int32)
    fingerprint = (table.description or {}).get("fingerprint", "")
    order = list(table.blocks)  # safetensors sorts names
    write_twin(path, {"items": table.item_tokens, "modalities": order, "fingerprint": [fingerprint]}, arrays)


def _read_twin(path: Path) -> TableFile | None:
    """What the binary form says; None where there is none of this content."""
    twin = read_twin(path)
    if twin is None:
        return None
    dedup = twin.arrays.get(DEDUP_COLUMN)
    return TableFile(
        twin.words["items"],
        {name: twin.arrays[CODES + name].astype(np.int64) for name in twin.words["modalities"]},
        None if dedup is None else dedup.astype(np.int64),
        _read_description(description_path(path)),
        twin.words["fingerprint"][0] or None,
    )


def read_columns(path: Path) -> list[str]:
    """The modalities whose codes a file of semantic IDs holds, in its order, UNNAMED for JSON; raises as
    `read_table_file`."""
    if is_json(path):
        return [UNNAMED]
    header = next(_lines(path), "").split("\t")
    _check_header(path, header)
    return [column.removesuffix(CODES_SUFFIX) for column in header if column.endswith(CODES_SUFFIX)]


def is_json(path: Path) -> bool:
    """Whether a file of semantic IDs is JSON, by its name."""
    return path.suffix == ".json"


def coded_modalities(path: Path, modalities: Sequence[str]) -> list[str]:
    """Which of ``modalities`` a file of semantic IDs has codes for, in their order; the only one, for JSON.

    Raises:
        FileNotFoundError, ValueError: As `read_table_file`; also if the file is JSON and there are several modalities.
    """
    columns = read_columns(path)
    if columns != [UNNAMED]:
        return [modality for modality in modalities if modality in columns]
    if len(modalities) > 1:
        raise ValueError(
            f"semantic_ids: {path} holds codes of one modality, and there are {len(modalities)} "
            f"({', '.join(modalities)}); put all into one table: "
            f"recbole-mgr convert {modalities[0]}={path} {modalities[1]}=... --item2id FILE "
            "--output NAME.semantic_ids.tsv"
        )
    return list(modalities)


def read_table_file(path: Path, *, item2id: Path | None = None) -> TableFile:
    """Read a file of semantic IDs.

    Args:
        path: the file.
        item2id: map of item ids to the keys of a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the header has no item column, no codes or an unknown column; or a row has another
            number of columns or codes than the first, a code that is no integer >= 0, or an item seen before.
    """
    if is_json(path):
        item_tokens, codes = read_json_codes(path, item2id)
        return TableFile(item_tokens, {UNNAMED: codes}, None, None)
    if (twin := _read_twin(path)) is not None:
        return twin
    rows = _lines(path)
    header = next(rows, "").split("\t")
    _check_header(path, header)
    item_tokens, matrices = _clean_rows(path, header) or _careful_rows(path, header, rows)
    dedup = matrices.pop(DEDUP_COLUMN, None)
    return TableFile(
        item_tokens,
        blocks={column.removesuffix(CODES_SUFFIX): codes for column, codes in matrices.items()},
        dedup=None if dedup is None else dedup[:, 0],
        description=_read_description(description_path(path)),
    )


def rows_of_items(
    path: Path, content: TableFile, item_tokens: Sequence[str], *, item2id: Path | None = None
) -> np.ndarray:
    """Where the items of a data set stand in a file of semantic IDs.

    Args:
        path: the file.
        content: what it says.
        item_tokens: N items.
        item2id: as of `read_table_file`.

    Returns:
        Numbers of rows, int64 [N].

    Raises:
        ValueError: If items have no row.
    """
    wanted, there = (pl.Series("token", words, dtype=pl.String) for words in (item_tokens, content.item_tokens))
    rows = wanted.to_frame().join(there.to_frame().with_row_index("row"), on="token", how="left", maintain_order="left")
    missing = rows.filter(pl.col("row").is_null())["token"]
    if len(missing):
        how = "add them, or build the semantic IDs anew"
        if len(missing) == len(item_tokens):
            how = f"none matches: the file has {content.item_tokens[:2]}; write the ids as in .inter"
            if is_json(path) and item2id is None:
                how += ", or name the map of ids (item2id)"
        raise ValueError(
            f"{path}: {len(missing)} of {len(item_tokens)} items of the data set have no row, e.g. "
            f"{missing[:5].to_list()}; {how}"
        )
    return rows["row"].cast(pl.Int64).to_numpy()


def _clean_rows(path: Path, header: Sequence[str]) -> tuple[list[str], dict[str, np.ndarray]] | None:
    """Items and codes int64 [rows, levels] by column; None where a row is not as `write_table_file` writes it."""
    try:
        table = pl.read_csv(path, separator="\t", quote_char=None, schema=dict.fromkeys(header, pl.String))
    except (pl.exceptions.PolarsError, OSError):
        return None
    tokens = table[ITEM_COLUMN]
    if table.is_empty() or any(table.null_count().row(0)):
        return None
    if (tokens.str.strip_chars() != tokens).any() or tokens.n_unique() < len(tokens):
        return None
    matrices = {}
    for column in header:
        if column == ITEM_COLUMN:
            continue
        width = 1 if column == DEDUP_COLUMN else table[column][0].count(" ") + 1
        if not table[column].str.contains(f"^[0-9]{{1,7}}( [0-9]{{1,7}}){{{width - 1}}}$").all():
            return None
        codes = table[column].str.split(" ").explode().cast(pl.Int64).to_numpy().reshape(-1, width)
        if codes.max() > LARGEST_CODE:
            return None
        matrices[column] = np.array(codes)
    return tokens.to_list(), matrices


def _careful_rows(path: Path, header: Sequence[str], rows: Iterator[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """The same line by line, which tells what is wrong and where."""
    values = {column: array("q") for column in header if column != ITEM_COLUMN}
    widths: dict[str, int] = {DEDUP_COLUMN: 1}
    lines: dict[str, int] = {}  # item token -> line
    for number, line in enumerate(rows, start=2):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} columns where the header has {len(header)}; "
                "complete or remove the row"
            )
        for column, field in zip(header, fields, strict=True):
            if column == ITEM_COLUMN:
                _check_item(path, number, field, lines)
                lines[field] = number
                continue
            codes = _parsed(field, where=f"{path}, line {number}, column {column}")
            width = widths.setdefault(column, len(codes))
            if len(codes) != width:
                raise ValueError(
                    f"{path}, line {number}, column {column}: {len(codes)} codes where {width} "
                    "are expected; every item needs the same number"
                )
            values[column].extend(codes)
    if not lines:
        raise ValueError(f"{path}: the file has no rows; add one row for each item")
    return list(lines), {column: np.array(codes).reshape(len(lines), -1) for column, codes in values.items()}


def _joined(block: np.ndarray) -> pl.Series:
    """Codes [N, levels] as N texts."""
    digits = [pl.Series(str(level), block[:, level]) for level in range(block.shape[1])]
    return pl.DataFrame(digits).select(pl.concat_str(pl.all().cast(pl.String), separator=" ")).to_series()


def _lines(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise FileNotFoundError(f"semantic_ids: there is no file {path}")
    return read_lines(path)


def _check_header(path: Path, header: Sequence[str]) -> None:
    shown = [column if len(column) <= 60 else f"{column[:60]}..." for column in header[:10]]
    if ITEM_COLUMN not in header:
        raise ValueError(f"{path}, line 1: no column {ITEM_COLUMN!r} in {shown}; add it (columns part at tabs)")
    if len(set(header)) < len(header):
        raise ValueError(f"{path}, line 1: a column stands twice in {shown}; remove one")
    codes = [column for column in header if column.endswith(CODES_SUFFIX) and column != CODES_SUFFIX]
    unknown = set(header) - {ITEM_COLUMN, DEDUP_COLUMN, *codes}
    if unknown or not codes:
        problem = f"unknown column(s) {sorted(unknown)[:5]}" if unknown else "no column of codes"
        raise ValueError(
            f"{path}, line 1: {problem}; beside {ITEM_COLUMN!r} there may be '<modality>{CODES_SUFFIX}', "
            f"at least one, and {DEDUP_COLUMN!r}"
        )


def _check_item(path: Path, line: int, item: str, lines: Mapping[str, int]) -> None:
    if item in lines:
        raise ValueError(
            f"{path}, line {line}: item {item!r} already stands in line {lines[item]}; remove one of the two"
        )
    if not item or item != item.strip():
        raise ValueError(f"{path}, line {line}: the item id {item!r} is empty or has blanks around it; correct it")


def _parsed(field: str, *, where: str) -> list[int]:
    codes = field.split()
    digits = "".join(codes)
    if not (digits.isdigit() and digits.isascii()):
        shown = field if len(field) <= 60 else f"{field[:60]}..."
        raise ValueError(f"{where}: {shown!r} is no list of integers >= 0 separated by blanks; correct the row")
    too_large = next((code for code in codes if len(code) > 7 or int(code) > LARGEST_CODE), None)
    if too_large:
        raise ValueError(f"{where}: code {too_large[:20]} is above {LARGEST_CODE:,}; number the codes from 0 on")
    return [int(code) for code in codes]


def _read_description(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    description = read_yaml(path, remedy="restore it or remove it")
    if not {"fingerprint", "digits"} <= set(description):
        raise ValueError(f"{path}: the description lacks 'fingerprint' or 'digits'; restore it or remove it")
    return description
