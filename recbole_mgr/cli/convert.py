"""``recbole-mgr convert``: semantic IDs in JSON, as papers publish them, to a table that a run reads."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser
from recbole_mgr.data.feature_file import check_modality
from recbole_mgr.data.semantic_id_file import TableFile, description_path, write_table_file
from recbole_mgr.data.semantic_id_json import read_json_codes

_DESCRIPTION = """\
Put semantic IDs of one or more modalities, in the JSON that LC-Rec, LETTER and MQL4GRec publish, into one table.

  recbole-mgr convert text=Instruments.index_lemb.json image=Instruments.index_vitemb.json \\
    --item2id Instruments.item2id --output data/Instruments/Instruments.semantic_ids.tsv
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = _parse(arguments)
    table = read_codes(asked.codes, asked.item2id)
    if description_path(asked.output).is_file():
        raise ValueError(
            f"--output {asked.output}: {description_path(asked.output).name} beside it describes another table; "
            "choose another name, or remove both files"
        )
    write_table_file(asked.output, table)
    blocks = ", ".join(f"{modality} {codes.shape[1]} codes" for modality, codes in table.blocks.items())
    print_line(f"{asked.output}: {len(table.item_tokens):,} items, {blocks}; use it with --semantic_ids {asked.output}")
    return 0


def read_codes(files: dict[str, Path], item2id: Path | None) -> TableFile:
    """One table of several JSON files, in the order of the first.

    Args:
        files: modality -> file.
        item2id: map of item ids to the keys of all files; None where the keys are the item ids.

    Raises:
        FileNotFoundError, ValueError: If a file cannot be read, or lacks an item of the first.
    """
    items: list[str] = []
    blocks = {}
    for modality, path in files.items():
        tokens, codes = read_json_codes(path, item2id)
        items = items or tokens
        row_of = {token: row for row, token in enumerate(tokens)}
        missing = [token for token in items if token not in row_of]
        if missing or len(tokens) > len(items):
            other = missing[0] if missing else (set(tokens) - set(items)).pop()
            raise ValueError(
                f"{path}: has {len(tokens):,} items, the first file {len(items):,}, and item {other!r} is not in both; "
                "give files of one catalogue"
            )
        blocks[modality] = codes[np.array([row_of[token] for token in items])]
    return TableFile(items, blocks, None, None)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr convert", description=_DESCRIPTION)
    parser.add_argument("codes", nargs="+", metavar="MODALITY=FILE", help="semantic IDs of a modality, in this order")
    parser.add_argument("--item2id", type=Path, metavar="FILE", help="lines item <TAB> number; default: keys are items")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="<name>.semantic_ids.tsv")
    asked = parser.parse_args(arguments)
    if asked.output.suffix != ".tsv":
        raise ValueError(f"--output {asked.output}: must end in .tsv")
    files: dict[str, Path] = {}
    for given in asked.codes:
        modality, _, path = given.partition("=")
        check_modality(modality)
        if not path or modality in files:
            raise ValueError(f"{given}: write each modality once, as text=index.json")
        files[modality] = Path(path)
    asked.codes = files
    return asked
