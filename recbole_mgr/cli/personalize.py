"""``recbole-mgr personalize``: one task of a trained UniMP run for one user, with its prompt and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser, number, whole
from recbole_mgr.files import replacing

_DESCRIPTION = """\
Ask a trained UniMP run something for one user. The run directory is all that is read.

  recbole-mgr personalize <run_dir> --task rec --user ann
  recbole-mgr personalize <run_dir> --task search --user ann --query "hand cream"
  recbole-mgr personalize <run_dir> --task preference --user ann --item balm
  recbole-mgr personalize <run_dir> --task explanation --user ann --item balm
  recbole-mgr personalize <run_dir> --task selection --user ann --candidates balm soap mask scrub
  recbole-mgr personalize <run_dir> --task image --user ann --query "hand cream" --output cream.png
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = _parse(arguments)
    from recbole_mgr.serving.personalize import PersonalRequest, personalize
    from recbole_mgr.serving.run_directory import read_run

    request = PersonalRequest(**{field: getattr(asked, field) for field in PersonalRequest._fields})
    answer = personalize(read_run(asked.run_dir), request)
    for line in ("Prompt:", *answer.prompt.split("\n"), ""):
        print_line(line)
    print_line(f"Pictures: {', '.join(answer.images) or 'none'}")
    print_line("")
    print_line("Answer:")
    for line in answer.answer:
        print_line(f"  {line}")
    if answer.picture is not None:
        with replacing(asked.output) as unfinished:
            answer.picture.save(unfinished)
        print_line(f"  a picture of {answer.picture.width} x {answer.picture.height} pixels, written to {asked.output}")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr personalize", description=_DESCRIPTION)
    parser.add_run(" of UniMP")
    parser.add_argument("--task", required=True, help="rec, search, preference, explanation, selection or image")
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", help="a user of the training data, by id")
    whom.add_argument("--history", nargs="+", metavar="ITEM", help="item ids, oldest first")
    parser.add_argument("--query", metavar="WORDS", help="what to search for, or to draw")
    parser.add_argument("--item", help="the item to rate or to explain")
    parser.add_argument("--candidates", nargs="+", default=(), metavar="ITEM", help="the items to select from")
    parser.add_argument("--k", type=whole(1), default=10, help="items of a recommendation or search (default: 10)")
    parser.add_argument(
        "--temperature", type=number(above=0), help="draw a picture by chance (default: the likeliest codes)"
    )
    parser.add_argument("--output", type=Path, default=Path("picture.png"), help="the picture (default: picture.png)")
    asked = parser.parse_args(arguments)
    if asked.output.suffix.lower() != ".png":
        parser.error(f"--output {asked.output}: must end in .png")
    return asked
