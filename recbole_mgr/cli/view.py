"""``recbole-mgr view``: pages of a data set, its semantic IDs and its results, for a browser without a server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser, add_format_options, format_of, whole

_DESCRIPTION = """\
Write pages with pictures that open in any browser, without a server and without a network:
  the data                counts, k-core, targets, items that look or read alike, what is missing
  semantic IDs            the tree to click through, use of the codes, collisions, an item's neighbours
  a comparison            intervals, tests, learning curves, accuracy by kind of user and target
  users                   history, target and the lists of several models side by side, and the beams behind them

  recbole-mgr view Beauty                                 a data set, by name (--data_path) or folder
  recbole-mgr view saved/Beauty-.../*/seed-2020           runs, with the data they were trained on where it is there
  recbole-mgr view results/paper-Beauty-... --single-file an experiment's table, as one file to send
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = _parse(arguments)

    from recbole_mgr.reporting.pages.view import find_targets, write_view
    from recbole_mgr.run.identity import slug

    data, runs = find_targets(asked.targets, asked.data_path, format_of(asked))
    output = asked.output
    if output is None:
        output = Path("views") / slug(data.name if data else _name_of(runs))
    elif output.suffix == ".html":
        raise ValueError(f"--output {output}: names a folder, which gets index.html; leave .html out")
    view = write_view(data, runs, output, single_file=asked.single_file, num_users=asked.users)
    print_line(f"Written to {output}; open {view.first.resolve().as_uri()}")
    return 0


def _name_of(runs: list[Path]) -> str:
    """That of the table or of the model's folder and its seed; of several, of the folder that they share."""
    shared = Path(os.path.commonpath([run.resolve() for run in runs]))
    return "-".join(shared.parts[-2:]) if (shared / "run.yaml").is_file() else shared.name


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr view", description=_DESCRIPTION)
    parser.add_argument("targets", nargs="+", help="data set, run directories, or results")
    parser.add_argument(
        "--data_path", type=Path, default=Path("dataset_atomic"), help="folder of data sets (default: dataset_atomic)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where the pages go (default: views/<name of data or runs>)"
    )
    parser.add_argument("--single-file", action="store_true", help="one page that holds everything, pictures too")
    parser.add_argument(
        "--users", type=whole(0), default=200, help="test users shown one by one at most (default: 200)"
    )
    add_format_options(parser)  # of a data set that is named; a run knows those of its own
    return parser.parse_args(arguments)
