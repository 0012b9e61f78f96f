"""The argument parser of all subcommands."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from recbole_mgr.documents import read_yaml

if TYPE_CHECKING:
    from recbole_mgr.data.table import AtomicFormat


class CommandParser(argparse.ArgumentParser):
    """argparse, with descriptions printed as written, and wrong arguments as a ValueError like any wrong input."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

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
