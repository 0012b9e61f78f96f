"""``recbole-mgr experiment``: make one table, as one file says it, and resume what is not done of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser, read_seeds, whole
from recbole_mgr.cli.run import parse_settings
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import PROPERTIES, require_folder

if TYPE_CHECKING:
    from recbole_mgr.run.experiments.jobs import Jobs

_DESCRIPTION = """\
Run or resume the runs of one table and write it as Markdown, CSV and JSON, anew after each finished run.

  recbole-mgr experiment instruments --data_path=data              all rows, all seeds
  recbole-mgr experiment instruments --data_path=data --seeds 1 --rows 1 5
  recbole-mgr experiment paper_ours --dataset ml-100k --data_path=data
  recbole-mgr experiment my_table.yaml --epochs=2                   a setting for every row that knows it
  recbole-mgr experiment instruments --data_path=data --jobs 4      four runs at once, on one GPU or the cores
  nohup recbole-mgr experiment instruments --data_path=data > instruments.log 2>&1 &

What is done is not done again, in whichever table it was. The experiments that come along:
"""


def main(arguments: list[str]) -> int:
    """Run the command; the same again resumes it."""
    asked = _parse(arguments)
    require_folder(asked.results)

    from recbole_mgr.distributed.environment import started_together
    from recbole_mgr.run.experiments.definition import read_experiment
    from recbole_mgr.run.experiments.plan import make_plan
    from recbole_mgr.run.experiments.run import chosen_runs, run_experiment

    if asked.jobs > 1 and started_together() > 1:
        raise ValueError(f"--jobs {asked.jobs}: torchrun's processes make each run together; leave out one of the two")
    experiment = read_experiment(asked.experiment)
    if asked.dataset:
        experiment = experiment._replace(dataset=asked.dataset)
    jobs = _jobs(asked)
    plan = make_plan(experiment, asked.settings, keeps=not asked.plan)
    labels = [_label(text, [row.label for row in experiment.rows]) for text in asked.rows or []]
    choice = {"labels": labels or [row.label for row in experiment.rows], "seeds": asked.seeds or experiment.seeds}
    if asked.plan:
        chosen = chosen_runs(plan, **choice)
        for run in chosen:
            print_line(f"{'done' if run.done else 'to do':<6} {run.title}: {run.run_dir}")
        print(f"{sum(not run.done for run in chosen)} runs to do")
        return 0
    folder = run_experiment(plan, asked.results, **choice, jobs=jobs)
    print("\n" + (folder / "table.md").read_text(encoding="utf-8"))
    print(f"Written to {folder}/table.md, .csv and .json; its runs are listed in runs.tsv")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr experiment", description=_DESCRIPTION + _titles())
    parser.add_argument("experiment", help="name of an experiment, or path of a .yaml file")
    parser.add_argument("--dataset", help="another data set than the file names")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows: labels, or numbers from 1")
    parser.add_argument("--seeds", nargs="+", metavar="SEED", help="only these seeds, e.g. 1 2")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where tables go (default: results)")
    parser.add_argument("--jobs", type=whole(1), default=1, help="runs at once, a command each (default: 1)")
    parser.add_argument("--plan", action="store_true", help="list the chosen runs, done and not, and run nothing")
    asked, settings = parser.parse_known_args(arguments)
    asked.settings, asked.given = parse_settings(settings), settings
    asked.seeds = read_seeds(asked.seeds)
    return asked


def _jobs(asked: argparse.Namespace) -> Jobs | None:
    """How several runs are made at once, where that was asked for."""
    from recbole_mgr.distributed.environment import visible_gpus
    from recbole_mgr.run.experiments.jobs import Jobs

    if asked.jobs == 1:
        return None
    dataset = ["--dataset", asked.dataset] if asked.dataset else []
    return Jobs(asked.jobs, [asked.experiment, *dataset, *asked.given], visible_gpus())


def _titles() -> str:
    """The experiments that come with the package, one a line."""
    files = sorted((PROPERTIES / "experiments").glob("*.yaml"))
    return "\n".join(f"  {file.stem:<24} {read_yaml(file, remedy='restore the file')['title']}" for file in files)


def _label(text: str, labels: list[str]) -> str:
    """A row's label from the label itself or its number."""
    if text not in labels and text.isdigit() and 1 <= int(text) <= len(labels):
        return labels[int(text) - 1]
    return text
