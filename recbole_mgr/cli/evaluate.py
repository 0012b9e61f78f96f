"""``recbole-mgr evaluate``: finished runs tested again, without training."""

from __future__ import annotations

from pathlib import Path

from recbole_mgr.cli.parser import CommandParser
from recbole_mgr.cli.run import parse_settings

_DESCRIPTION = """\
Test finished runs again, from their stored checkpoints; nothing is trained. Runs of our models and of RecBole's:

  recbole-mgr evaluate <run_dir> --topk=[10,50,100] --beam_size=100
  recbole-mgr evaluate <run_dir> <run_dir> ... --metrics=[Recall,NDCG,ItemCoverage]

Settings that change what is tested (topk, metrics, beam_size, the mode of the test) or where (data_path, gpu_id,
eval_batch_size) may be given; the others are the run's own. It also writes anew whatever files of the run directory
were damaged, but for best.pth and settings.yaml, which it reads.
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = CommandParser(prog="recbole-mgr evaluate", description=_DESCRIPTION)
    parser.add_argument("run_dir", nargs="+", type=Path, help="folder of a finished run")
    first = next((place for place, argument in enumerate(arguments) if argument.startswith("--")), len(arguments))
    ours, settings = (arguments, []) if "--help" in arguments else (arguments[:first], arguments[first:])
    asked = parser.parse_args(ours)
    from recbole_mgr.run.evaluation import evaluate_runs  # imports torch
    from recbole_mgr.run.table_page import markdown

    comparison = evaluate_runs(asked.run_dir, parse_settings(settings))
    print("\n" + markdown(comparison))
    return 0
