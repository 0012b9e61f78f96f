"""``recbole-mgr tune``: look for good settings, as one file says it, and test the best."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from recbole_mgr.cli.parser import CommandParser
from recbole_mgr.cli.run import parse_settings

_DESCRIPTION = """\
Search settings with Optuna. Each trial is a run, judged on validation alone; the best one is tested, once, and is a
finished run of the table that is printed. The file:

  dataset: Beauty
  model: MGRLFpp
  settings: {epochs: 30}                       of every trial
  search:
    learning_rate: {low: 1e-4, high: 1e-2, log: true}
    n_layers: {low: 1, high: 4}
    code_softmax: [legal, full]
  trials: 40

  recbole-mgr tune my_search.yaml --data_path=data
  torchrun --nproc-per-node 4 --no-python recbole-mgr tune my_search.yaml        four trials at a time

The same command again goes on where it was stopped; more trials in the file go on from what is done.
"""


def main(arguments: list[str]) -> int:
    """Run the command; the same again resumes it."""
    asked = _parse(arguments)
    if find_spec("optuna") is None:
        raise ValueError("tune needs the package optuna, which is not installed; pip install 'recbole_mgr[tune]'")
    from recbole_mgr.distributed import processes
    from recbole_mgr.run.table_page import markdown, save
    from recbole_mgr.run.tuning import read_search, tune  # imports torch and Optuna

    folder, comparison = tune(read_search(asked.search), asked.settings, asked.results)
    processes.on_owner(lambda: save(comparison, folder))
    print("\n" + markdown(comparison))
    print(f"Written to {folder}: trials.tsv, best.yaml for --config_files, and the best one's table.md, .csv and .json")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr tune", description=_DESCRIPTION)
    parser.add_argument("search", type=Path, help="path of a .yaml file")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where tables go (default: results)")
    asked, settings = parser.parse_known_args(arguments)
    asked.settings = parse_settings(settings)
    return asked
