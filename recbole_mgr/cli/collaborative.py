"""``recbole-mgr collaborative``: vectors of items from interactions, as one more modality."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_mgr.cli.parser import CommandParser
from recbole_mgr.cli.run import parse_settings
from recbole_mgr.run.collaborative import CollaborativeVectors, write_collaborative_vectors

_DESCRIPTION = """\
Train a baseline of RecBole on the training interactions of a data set and write its item vectors as
<dataset>.<modality>.npy, .ids and .yaml, a modality like text or image:
  recbole-mgr collaborative Beauty --data_path=data --model SASRec --epochs=30
  recbole-mgr run --dataset Beauty --data_path=data --model MGRLFpp:modalities=text+collaborative

Any setting of the model is an option (--embedding_size=64). The .yaml says which validation and test items were kept
from the vectors; a run with another split, or on changed interactions, refuses them.
"""


def main(arguments: list[str]) -> int:
    """Run the command; the same again resumes an interrupted training."""
    asked = _parse(arguments)
    written = write_collaborative_vectors(
        asked.dataset, model=asked.model, modality=asked.modality, settings=asked.settings, output=asked.output
    )
    print(_summary(written))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr collaborative", description=_DESCRIPTION)
    parser.add_argument("dataset", help="name of the folder and files under data_path")
    parser.add_argument("--model", default="SASRec", help="RecBole model with item vectors (default: SASRec)")
    parser.add_argument("--modality", default="collaborative", help="name of the feature file (default: collaborative)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go (default: the data set's)")
    asked, settings = parser.parse_known_args(arguments)
    asked.settings = parse_settings(settings)
    return asked


def _summary(written: CollaborativeVectors) -> str:
    metric = written.result.settings["valid_metric"].lower()
    lines = [
        f"{written.path}: {written.shape[0]} x {written.shape[1]}, {written.result.model} after "
        f"{written.result.epochs} epochs (validation {metric} {written.result.valid[metric]:.4f})"
    ]
    if written.untrained:
        lines.append(
            f"{written.untrained} items occur in no training interaction and have no vector; missing_modality says "
            "what they get"
        )
    return "\n".join(lines)
