"""``recbole-mgr collaborative``: vectors of items from interactions, as one more modality."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mgr.cli.parser import CommandParser, number, whole
from recbole_mgr.cli.run import parse_settings
from recbole_mgr.files import require_folder

if TYPE_CHECKING:
    from recbole_mgr.run.collaborative import CollaborativeVectors

_DESCRIPTION = """\
Learn item vectors from the training interactions of a data set and write them as <dataset>.<modality>.npy, .ids and
.yaml, a modality like text or image. Either a baseline of RecBole is trained, or the sequences are counted and
factorised, which takes seconds (PPMI-SVD):
  recbole-mgr collaborative Beauty --data_path=data --model SASRec --epochs=30
  recbole-mgr collaborative Beauty --data_path=data --method ppmi_svd
  recbole-mgr run --dataset Beauty --data_path=data --model MGRLFpp:modalities=text+collaborative

Any setting of the model is an option (--embedding_size=64). The .yaml says which validation and test items were kept
from the vectors; a run with another split, or on changed interactions, refuses them.
"""


def main(arguments: list[str]) -> int:
    """Run the command; the same again resumes an interrupted training."""
    asked = _parse(arguments)
    if asked.output is not None:
        require_folder(asked.output)

    from recbole_mgr.baselines.ppmi_svd import PpmiSettings
    from recbole_mgr.run.collaborative import write_collaborative_vectors, write_ppmi_svd_vectors

    where = {"modality": asked.modality, "settings": asked.settings, "output": asked.output}
    if asked.method == "ppmi_svd":
        options = PpmiSettings(asked.dim, asked.window, asked.context_power)
        written = write_ppmi_svd_vectors(asked.dataset, options=options, **where)
    else:
        written = write_collaborative_vectors(asked.dataset, model=asked.model, **where)
    print(_summary(written))
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    from recbole_mgr.baselines.ppmi_svd import PpmiSettings

    parser = CommandParser(prog="recbole-mgr collaborative", description=_DESCRIPTION)
    parser.add_argument("dataset", help="name of the folder and files under data_path")
    methods = ("baseline", "ppmi_svd")
    parser.add_argument("--method", choices=methods, default="baseline", help="what makes the vectors (%(default)s)")
    parser.add_argument("--model", help="baseline: RecBole model with item vectors (default: SASRec)")
    defaults = PpmiSettings()
    parser.add_argument("--dim", type=whole(1), help=f"ppmi_svd: values of a vector (default: {defaults.dim})")
    parser.add_argument(
        "--window", type=whole(1), help=f"ppmi_svd: items apart that count (default: {defaults.window})"
    )
    parser.add_argument(
        "--context_power",
        type=number(above=0),
        help=f"ppmi_svd: power of the contexts (default: {defaults.context_power})",
    )
    parser.add_argument("--modality", default="collaborative", help="name of the feature file (default: collaborative)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go (default: the data set's)")
    asked, settings = parser.parse_known_args(arguments)
    asked.settings = parse_settings(settings)
    for option, method in {"model": "baseline", **dict.fromkeys(defaults._fields, "ppmi_svd")}.items():
        if getattr(asked, option) is not None and asked.method != method:
            parser.error(f"--{option} belongs to --method {method}, not to {asked.method}; leave one of the two out")
    asked.model = asked.model or "SASRec"
    for option, value in defaults._asdict().items():
        setattr(asked, option, value if getattr(asked, option) is None else getattr(asked, option))
    return asked


def _summary(written: CollaborativeVectors) -> str:
    line = f"{written.path}: {written.shape[0]} x {written.shape[1]}, "
    if result := written.result:
        metric = result.settings["valid_metric"].lower()
        line += f"{result.model} after {result.epochs} epochs (validation {metric} {result.valid[metric]:.4f})"
    else:
        line += "PPMI-SVD of the training sequences"
    if not written.untrained:
        return line
    return (
        f"{line}\n{written.untrained} items occur in no training interaction and have no vector; missing_modality says "
        "what they get"
    )
