"""``recbole-mgr encode``: vectors of a data set's texts or pictures."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_mgr.cleaners import print_line
from recbole_mgr.cli.parser import CommandParser, add_format_options, format_of, split_names, whole
from recbole_mgr.files import require_folder

if TYPE_CHECKING:
    from recbole_mgr.encoding.encode import EncodingReport

_DESCRIPTION = """\
Encode the texts or the pictures of a data set's items and write <dataset>.<modality>.npy, .ids and .yaml.

Encoders:
  classical                                 word statistics, colours and gradients; no download (default)
  transformers:<name or folder>             texts, e.g. transformers:sentence-transformers/all-MiniLM-L6-v2
  open_clip:<model>@<pretrained tag or file>  pictures or texts, e.g. open_clip:ViT-B-32@laion2b_s34b_b79k

The same command again resumes what was interrupted, and encodes only what is new when the data set has grown. Several
processes share the work: torchrun --nproc_per_node 4 --no-python recbole-mgr encode ...

Items that come later are encoded as the catalogue was, by what its encoder learned then:
  recbole-mgr encode NewItems --modality text --like saved/<data>/<model>/seed-<n>    (or a data set's folder)
"""
_OF_THE_ENCODER = ("reads", "fields", "dim", "pooling", "max_tokens", "patches", "normalize")  # which --like settles


def main(arguments: list[str]) -> int:
    """Run the command; rank 0 prints what was done."""
    asked = _parse(arguments)
    if asked.output is not None:
        require_folder(asked.output)

    from recbole_mgr.encoding.description import find_description, request_like
    from recbole_mgr.encoding.encode import encode_modality
    from recbole_mgr.encoding.encoder import EncoderRequest

    device = _device(asked.device)
    precision = asked.precision or ("fp16" if device.startswith("cuda") else "fp32")
    like = find_description(asked.like, asked.modality) if asked.like else None
    if like:
        request = request_like(like, device=device, precision=precision, encoder=asked.encoder)
    else:
        request = EncoderRequest(
            name=asked.encoder or "classical",
            reads=_reads(asked),
            dim=asked.dim,
            pooling=asked.pooling,
            max_tokens=asked.max_tokens,
            normalize=asked.normalize,
            patches=asked.patches,
            device=device,
            precision=precision,
        )
    report = encode_modality(
        Path(asked.data_path) / asked.dataset,
        asked.dataset,
        asked.modality,
        request,
        like=like,
        format=format_of(asked),
        output=asked.output,
        fields=split_names(asked.fields) if asked.fields else None,
        batch_size=asked.batch_size,
        overwrite=asked.overwrite,
    )
    if report:
        for line in _summary(report):
            print_line(line)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = CommandParser(prog="recbole-mgr encode", description=_DESCRIPTION)
    parser.add_argument("dataset", help="name of the folder and files under data_path")
    parser.add_argument("--data_path", default="dataset_atomic", help="folder of data sets (default: dataset_atomic)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the files go (default: the data set's)")
    parser.add_argument("--modality", required=True, help="name of the feature file, e.g. text or image")
    parser.add_argument("--reads", choices=("text", "image"), help="what is encoded (default: as the modality says)")
    parser.add_argument(
        "--like", type=Path, metavar="FOLDER", help="encode as a data set's or a run's vectors were, to compare"
    )
    parser.add_argument("--encoder", help="see above (default: classical)")
    parser.add_argument(
        "--fields",
        nargs="+",
        metavar="NAME",
        help="item fields of the text, in this order, parted by blanks or commas (default: token_seq ones)",
    )
    parser.add_argument("--dim", type=whole(1), default=64, help="values of a classical vector (default: 64)")
    parser.add_argument(
        "--pooling", choices=("mean", "cls", "last"), default="mean", help="of transformers' tokens (default: mean)"
    )
    parser.add_argument("--max_tokens", type=whole(1), help="of a text; default: all that the model reads, at most 512")
    parser.add_argument("--patches", action="store_true", help="keep open_clip's vector of each patch: [items, T, dim]")
    parser.add_argument("--normalize", action=argparse.BooleanOptionalAction, default=True, help="vectors of length 1")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps (default: a GPU where there is one)")
    parser.add_argument("--precision", choices=("fp32", "fp16", "bf16"), help="default: fp16 on a GPU, else fp32")
    parser.add_argument("--batch_size", type=whole(1), default=64, help="texts or pictures at once (default: 64)")
    parser.add_argument("--overwrite", action="store_true", help="replace a feature file that encode did not make")
    add_format_options(parser)
    asked = parser.parse_args(arguments)
    for option in _OF_THE_ENCODER if asked.like else ():
        if getattr(asked, option) != parser.get_default(option):
            raise ValueError(f"--{option}: with --like it is that of the vectors made before; leave it out")
    return asked


def _reads(asked: argparse.Namespace) -> str:
    if asked.reads or asked.modality in ("text", "image"):
        return asked.reads or asked.modality
    raise ValueError(f"--modality {asked.modality}: say what it encodes, --reads text or --reads image")


def _device(asked: str) -> str:
    """The device by name; under torchrun each process of a machine takes a GPU of its own."""
    import torch

    local = os.environ.get("LOCAL_RANK", "0")
    name = f"cuda:{local}" if asked == "cuda" or (asked == "auto" and torch.cuda.is_available()) else asked
    name = "cpu" if name == "auto" else name
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {asked}: not usable here ({str(error).splitlines()[0]}); cpu always is") from error
    return name


def _summary(report: EncodingReport) -> list[str]:
    lines = [
        f"{report.path}: {' x '.join(map(str, report.shape))}, {report.encoded} encoded now, read from "
        + ", ".join(report.fields)
    ]
    if report.absent_path:
        problems = ", ".join(f"{count} {problem}" for problem, count in report.problems.items())
        lines.append(f"items without a vector: {problems}; listed in {report.absent_path}")
    return lines
