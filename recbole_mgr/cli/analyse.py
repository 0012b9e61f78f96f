"""``recbole-mgr analyse``: the MGR paper's analyses on finished runs."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from recbole_mgr.cli.parser import CommandParser, whole
from recbole_mgr.files import require_folder

_DESCRIPTION = """\
Analyse finished runs of one table, all seeds of each variant together:
  modality dominance        adjusted mutual information of the IDs of early fusion, text and image, level by level
  correct predictions       which users' targets are found by which variants
  modality correspondence   the ranked lists scored by the whole ID, by text codes, by image codes
  cross-modal accuracy      given a target's text codes, does the model go on with its image codes?

  recbole-mgr analyse results/paper-Beauty-...            an experiment's table
  recbole-mgr analyse saved/Beauty-.../*/seed-1           run directories, or folders above them
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = _parse(arguments)
    require_folder(asked.results)

    from recbole_mgr.distributed import processes
    from recbole_mgr.reporting.analysis.report import analyse, write_analyses
    from recbole_mgr.reporting.analysis.runs import read_runs
    from recbole_mgr.run.identity import slug

    if not processes.is_owner():  # which does it alone
        return 0
    comparison, runs = read_runs(asked.runs)
    text_and_pages = analyse(comparison, runs, num_users=asked.users)
    provenance = comparison.provenance
    identity = "\n".join(str(run.folder.resolve()) for run in runs)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    folder = asked.results / f"analysis-{slug(provenance.label)}-{provenance.fingerprint}-{digest}"
    print(write_analyses(comparison, text_and_pages, folder))
    print(f"Written to {folder}/analysis.md, with a .csv for each table and an .html for each figure")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr analyse", description=_DESCRIPTION)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="run directories, folders above them, or experiments' tables"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the files go (default: results)")
    parser.add_argument(
        "--users", type=whole(1), default=2000, help="users of the cross-modal accuracy (default: 2000)"
    )
    return parser.parse_args(arguments)
