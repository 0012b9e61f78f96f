"""The argument parser of all subcommands."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from recbole_mgr.documents import read_yaml

if TYPE_CHECKING:
    from recbole_mgr.data.table import AtomicFormat


class CommandParser(argparse.ArgumentParser):
    """argparse, with descriptions printed as written, and wrong arguments as a ValueError like any wrong input."""

    def __init__(self, **options: Any) -> None:
        self._needed: list[argparse.Action] = []  # arguments without a name, such as a run's folder
        self._takes_one_run = False
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """As argparse does."""
        action = super().add_argument(*names, **options)
        if not action.option_strings and action.required:
            self._needed.append(action)
        return action

    def add_run(self, of: str) -> None:
        """Let the command take the folder of one run, as ``run_dir``."""
        self._takes_one_run = True
        self.add_argument("run_dir", type=Path, help=f"folder of a finished run{of}")

    def parse_known_args(self, args: Sequence[str], namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does, with the remedy where an option took what it was not meant to, or a run is one of several.

        Raises:
            ValueError: For wrong arguments.
        """
        if self._takes_one_run:
            self._refuse_several_runs(args)
        for action in self._needed:
            action.required = not args  # with other arguments it may stand among them, which argparse does not say
        asked, rest = super().parse_known_args(args, namespace)
        if missing := [action.metavar or action.dest for action in self._needed if getattr(asked, action.dest) is None]:
            self.error(f"required: {', '.join(missing)}, before the options, some of which take all that follows")
        return asked, rest

    def _refuse_several_runs(self, given: Sequence[str]) -> None:
        """Refuse what a shell made of a pattern that fits several runs."""
        # A run has this file from its start. Of words that no path is made of, pathlib raises, os.path says no.
        places = [place for place, text in enumerate(given) if os.path.isfile(os.path.join(text, "settings.yaml"))]
        if len(places) > 1:
            for_first = [text for place, text in enumerate(given) if place not in places[1:]]
            raise ValueError(
                f"{self.prog} takes one run folder and was given {len(places)}: "
                f"{', '.join(given[place] for place in places)}; for the first one type {self.prog} "
                f"{shlex.join(for_first)}"
            )

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (--help shows how it is written)")


def split_names(given: list[str]) -> list[str]:
    """The names of an option that takes several, whether blanks or commas part them."""
    return [name for part in given for name in part.split(",")]


def read_seeds(given: list[str] | None) -> list[int] | None:
    """The numbers of ``--seeds``, whether blanks or commas part them; None where it was not given."""
    if given is None:
        return None
    try:
        return [int(seed) for seed in split_names(given)]
    except ValueError:
        raise ValueError(f"--seeds {' '.join(given)}: expected whole numbers, e.g. 1 2 3") from None


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number in a range, of both ends inclusive."""
    words = f">= {least}" if most is None else f"in [{least}, {most}]"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= (2**31 - 1 if most is None else most):
            raise argparse.ArgumentTypeError(f"{text[:40]} must be a whole number {words}")
        return value

    return read


def number(*, least: float = -math.inf, above: float = -math.inf, most: float = math.inf) -> Callable[[str], float]:
    """The type of an option that is a finite number in a range; ``above`` is not part of it."""
    bounds = (f">= {least:g}", math.isfinite(least)), (f"> {above:g}", math.isfinite(above))
    words = " and ".join([text for text, given in (*bounds, (f"<= {most:g}", math.isfinite(most))) if given])

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least and value > above and value <= most):
            raise argparse.ArgumentTypeError(f"{text[:40]} must be a number {words}".rstrip())
        return value

    return read


def add_format_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take how atomic files are written, under the names of RecBole's settings."""
    from recbole_mgr.data.table import SETTINGS, AtomicFormat  # imports polars, which other commands need later or not

    parser.add_argument(
        "--config_files", nargs="+", type=Path, default=[], metavar="FILE", help="YAML files of settings"
    )
    for field, key in SETTINGS.items():
        default = repr(AtomicFormat._field_defaults[field])
        parser.add_argument(f"--{key}", metavar="X", help=f"of the atomic files (default: {default})")


def format_of(asked: argparse.Namespace) -> AtomicFormat:
    """What `add_format_options` was given; an option wins over a file, a later file over an earlier one.

    Raises:
        ValueError: Naming a file that is missing or malformed, an encoding or a separator that is none.
    """
    from recbole_mgr.data.table import SETTINGS, AtomicFormat

    settings: dict[str, Any] = {}
    for path in asked.config_files:
        if not path.is_file():
            raise ValueError(f"--config_files: {path} does not exist")
        settings |= read_yaml(path, remedy="correct it", may_be_empty=True)
    given = {key: getattr(asked, key) for key in SETTINGS.values()}
    return AtomicFormat.of(settings | {key: value for key, value in given.items() if value is not None})
