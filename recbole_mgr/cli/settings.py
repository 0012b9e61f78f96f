"""``recbole-mgr settings``: every key, its default, its type and its meaning."""

from __future__ import annotations

import argparse
import shutil

from recbole_mgr.cli.parser import CommandParser

_DESCRIPTION = """\
Show every setting of a model, with its default, its type and range, and what it does. Without a model: of all models.
A setting is given as --key=value, in a YAML file (--config_files) or for one model (--model MGRLFpp:key=value).
"""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = _parse(arguments)

    from recbole_mgr.integration.config import default_settings, keys_of, recbole_models
    from recbole_mgr.reporting.settings_page import page, sections
    from recbole_mgr.settings.tables import rows, text_table

    if asked.markdown:
        print(page(), end="")
    elif asked.model:
        print(text_table(rows(keys_of(asked.model), default_settings(asked.model)), shutil.get_terminal_size().columns))
    else:
        for title, table in sections():
            print(f"{title}\n{'-' * len(title)}\n{text_table(table, shutil.get_terminal_size().columns)}\n")
        print("RecBole's own models have further settings: recbole-mgr settings BPR\n" + ", ".join(recbole_models()))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr settings", description=_DESCRIPTION)
    parser.add_argument("model", nargs="?", help="name of a model, ours or RecBole's")
    parser.add_argument("--markdown", action="store_true", help="print the page docs/settings.md")
    asked = parser.parse_args(arguments)
    if asked.markdown and asked.model:
        raise ValueError(f"--markdown: the page tells of all models; leave {asked.model} out")
    return asked
