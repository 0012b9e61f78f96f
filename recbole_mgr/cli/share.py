"""``recbole-mgr share``: a run as a folder with a model card, or on the Hugging Face hub."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser

_DESCRIPTION = """\
Write a run as a folder to share, with a model card, or put it on the Hugging Face hub. What is known of single users
(histories, ratings, reviews) stays behind unless --users is given.

  recbole-mgr share saved/<data>/<model>/seed-2020 my-model
  recbole-mgr share saved/<data>/<model>/seed-2020 --hub owner/name

Recommender.from_pretrained("my-model") or ("owner/name") loads it.
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = _parse(arguments)

    from recbole_mgr.run.sharing import CARD_FILE, push_to_hub, save_pretrained

    if asked.hub:
        address = push_to_hub(asked.run_dir, asked.hub, private=not asked.public, users=asked.users)
        print_line(f"Put on the hub: {address}")
    else:
        folder = save_pretrained(asked.run_dir, asked.folder, users=asked.users)
        print_line(f"Written to {folder}; read {folder / CARD_FILE} before you share it")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr share", description=_DESCRIPTION)
    parser.add_run(" of one of our models")
    parser.add_argument("folder", type=Path, nargs="?", help="a new folder")
    parser.add_argument("--hub", metavar="OWNER/NAME", help="repository on the hub, made if need be")
    parser.add_argument("--public", action="store_true", help="of a repository that is made; private otherwise")
    parser.add_argument("--users", action="store_true", help="share the users' histories, ratings and reviews too")
    asked = parser.parse_args(arguments)
    if (asked.folder is None) == (asked.hub is None):
        raise ValueError("name a folder, or --hub owner/name")
    if asked.hub is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", asked.hub):
        raise ValueError(f"--hub {asked.hub}: expected owner/name")
    if asked.public and asked.hub is None:
        raise ValueError("--public: means nothing without --hub; leave it out")
    return asked
