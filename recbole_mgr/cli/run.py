"""``recbole-mgr run``: train, test and compare models."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser, read_seeds
from recbole_mgr.files import require_folder

# What imports torch and RecBole is imported inside the functions that need it: --help takes no seconds.
if TYPE_CHECKING:
    from recbole_mgr.run.pipeline import ModelRequest

_OPTIONS = ("--model", "--dataset", "--config_files", "--seeds", "--results", "--help")
_DESCRIPTION = """\
Train and test one or several models on one data set and print one table.

Models are separated by blanks; a model's own settings follow a colon, separated by commas. Lists are joined by +:
  --model SASRec TIGER:modalities=text TIGER:modalities=image MGRLFpp:beam_size=50,modalities=text+image
Any property is a setting for all models that know it: --epochs=20 --learning_rate=1e-3
Precedence (later wins): RecBole's defaults, properties/overall.yaml, properties/model/, properties/dataset/,
--config_files, --key=value, a model's own settings.
Run the same command again to resume an interrupted run; finished runs are read back.
"""


def main(arguments: list[str]) -> int:
    """Run the command; what has been done is kept, so that the same command again resumes it."""
    request = _parse(arguments)

    require_folder(Path(request.results))  # before anything is trained

    from recbole_mgr.distributed import processes
    from recbole_mgr.run.identity import run_of_result, slug
    from recbole_mgr.run.pipeline import run_comparison
    from recbole_mgr.run.table_page import markdown, save

    comparison = run_comparison(
        request.requests,
        request.dataset,
        config_files=request.config_files,
        settings=request.settings,
        seeds=request.seeds,
    )
    identity = json.dumps([request.model, request.settings, request.seeds, request.config_files], default=str)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    provenance = comparison.provenance
    folder = Path(request.results) / f"{slug(provenance.label)}-{provenance.fingerprint}-{digest}"
    processes.on_owner(lambda: save(comparison, folder))
    print("\n" + markdown(comparison))
    print(f"Written to {folder}/table.md, .csv and .json; the runs, for recommend, view, serve and others:")
    for result, place in zip(comparison.results, comparison.folders, strict=True):
        print_line(f"  {result.label}, seed {result.seed}: {run_of_result(place)}")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr run", description=_DESCRIPTION)
    several = {"action": "extend", "nargs": "+", "default": []}
    parser.add_argument("--model", required=True, metavar="NAME[:key=value,...]", help="models to compare", **several)
    parser.add_argument("--dataset", required=True, help="name of the folder and files under data_path")
    parser.add_argument("--config_files", metavar="FILE", help="YAML files, later ones win", **several)
    parser.add_argument(
        "--seeds", nargs="+", metavar="SEED", help="one run each, e.g. 1 2 3 (default: the setting seed alone)"
    )
    parser.add_argument("--results", default="results", metavar="FOLDER", help="where tables go (default: results)")
    ours, settings = _split_off_settings(arguments)
    known = parser.parse_args(ours)
    known.settings = parse_settings(settings)
    known.requests = [parse_model(text) for text in known.model]
    known.seeds = read_seeds(known.seeds)
    if known.seeds and any("seed" in own for own in (known.settings, *(r.settings for r in known.requests))):
        raise ValueError("--seeds and the setting seed contradict each other; leave one of them out")
    return known


def _split_off_settings(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Our options with their values, and the settings; argparse would take a setting with a blank for a model."""
    ours: list[str] = []
    settings: list[str] = []
    part = ours
    for argument in arguments:
        if argument.startswith("--"):
            part = ours if argument.partition("=")[0] in _OPTIONS else settings
        part.append(argument)
    return ours, settings


def parse_settings(arguments: list[str]) -> dict[str, Any]:
    """``--key=value`` or ``--key value`` pairs; values are parsed as literals and never evaluated.

    Raises:
        ValueError: For anything else.
    """
    from recbole_mgr.integration.config import parse_value

    settings: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not key:
            raise ValueError(f"{argument!r} is not understood; settings are written --key=value")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ValueError(f"--{key} needs a value: --{key}=value")
            value = rest.pop(0)
        settings[key] = parse_value(value)
    return settings


def parse_model(text: str) -> ModelRequest:
    """``NAME`` or ``NAME:key=value,key=value``; a value may hold commas inside brackets.

    Raises:
        ValueError: If a setting has no ``=``.
    """
    from recbole_mgr.integration.config import parse_value
    from recbole_mgr.run.pipeline import ModelRequest

    name, _, own = text.partition(":")
    settings = {}
    for part in _split_outside_brackets(own):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ValueError(
                f"--model {text}: {part!r} is not key=value; the values of one setting are joined by +, as in "
                "modalities=text+image"
            )
        settings[key] = parse_value(value)
    return ModelRequest(name, settings)


def _split_outside_brackets(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[({") - (character in "])}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part]
