"""``recbole-mgr check``: read a data folder as a user would before training, and say what is wrong with it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from recbole_mgr.cli.parser import CommandParser, add_format_options, format_of, whole
from recbole_mgr.files import write_text

_DESCRIPTION = """\
Check the files of a data set before training: counts, times, texts, pictures, vectors, semantic IDs, and what each
model needs. Exit status 0: no errors; 1: errors, each with its remedy; 2: the command itself was wrong.
"""


def main(arguments: list[str]) -> int:
    """Run the command; the exit status says whether there are errors."""
    asked = _parse(arguments)

    from recbole_mgr.checking.check import check_dataset

    folder = Path(asked.data_path) / asked.dataset
    checked = check_dataset(folder, asked.dataset, k=asked.k, pictures=asked.pictures, format=format_of(asked))
    print(checked.verdict.format())
    if asked.json:
        write_text(asked.json, json.dumps(checked.verdict.as_dict(), indent=2, ensure_ascii=False, default=str) + "\n")
    if asked.plots:
        from recbole_mgr.checking.plots import write_plots

        print("plots: " + ", ".join(map(str, write_plots(checked, asked.plots))))
    return 0 if checked.verdict.passed else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr check", description=_DESCRIPTION)
    parser.add_argument("dataset", help="name of the folder and files under data_path")
    parser.add_argument("--data_path", default="dataset_atomic", help="folder of data sets (default: dataset_atomic)")
    parser.add_argument(
        "--k", type=whole(1), default=5, help="count users and items with fewer interactions (default: 5)"
    )
    parser.add_argument("--pictures", default="1000", help="how many pictures are opened, or all (default: 1000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict there too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write plots there, pages for a browser")
    add_format_options(parser)
    asked = parser.parse_args(arguments)
    if asked.pictures != "all" and not asked.pictures.isdigit():
        raise ValueError(f"--pictures {asked.pictures}: expected a number or all")
    asked.pictures = None if asked.pictures == "all" else int(asked.pictures)
    return asked
