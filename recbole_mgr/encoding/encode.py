"""Encoding a modality of a data set: its items' contents, the processes' shares, the feature file."""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from recbole_mgr.data.feature_file import Rows, check_modality, write_features
from recbole_mgr.data.item_file import Absent, Contents, read_picture_files, read_texts
from recbole_mgr.encoding.encoder import Encoder, EncoderRequest, data_fingerprint, make_encoder
from recbole_mgr.encoding.processes import Processes
from recbole_mgr.encoding.shard import EncodedShard, encode_shard
from recbole_mgr.encoding.store import VectorStore
from recbole_mgr.files import replacing, write_text
from recbole_mgr.version import __version__

STORE_FOLDER = ".vectors"


class EncodingReport(NamedTuple):
    """What was done.

    Attributes:
        path: the feature file.
        shape: of its vectors: (n, dim) or (n, T, dim).
        fields: of ``<name>.item`` that were read.
        encoded: vectors made now; the others were there already or are of equal contents.
        problems: of the items without a vector -> how many.
        absent_path: the list of these items, or None where there are none.
    """

    path: Path
    shape: tuple[int, ...]
    fields: list[str]
    encoded: int
    problems: dict[str, int]
    absent_path: Path | None


def encode_modality(
    folder: Path,
    name: str,
    modality: str,
    request: EncoderRequest,
    *,
    output: Path | None = None,
    fields: Sequence[str] | None = None,
    batch_size: int = 64,
    overwrite: bool = False,
    show_progress: bool = True,
) -> EncodingReport | None:
    """Encode texts or pictures of all items and write the feature file of a modality.

    Run by several processes (torchrun), each encodes its share and rank 0 writes. What an earlier run with the same
    encoder made, finished or not, is taken from ``<output>/.vectors``.

    Args:
        folder: of the data set, with ``<name>.item``.
        name: of the data set.
        modality: name of the feature file.
        request: the encoder.
        output: where the feature file goes; None = ``folder``.
        fields: item fields that make the text, in their order; None = those of type token_seq.
        batch_size: contents encoded at once.
        overwrite: replace a feature file even if it was not made by this function.
        show_progress: draw a progress bar.

    Returns:
        What was done, on rank 0; None on the others.

    Raises:
        ValueError: If the input, the encoder or the target is not as described, or no content could be encoded.
    """
    check_modality(modality)
    output = Path(output or folder)
    _refuse_foreign_file(output, name, modality, overwrite)
    if batch_size < 1:
        raise ValueError(f"--batch_size {batch_size}: at least 1")
    if request.reads == "text":
        contents = read_texts(folder, name, fields)
    elif fields:
        raise ValueError("--fields: makes a text of item fields, but pictures are read")
    else:
        contents = read_picture_files(folder, name)
    encoder = make_encoder(request)
    with Processes() as processes:
        if not encoder.per_item:
            if processes.rank:
                return None
            vectors: Rows = encoder.encode(contents.contents)
            tokens, absent, encoded = contents.item_tokens, contents.absent, len(contents.item_tokens)
        else:
            store = VectorStore(output / STORE_FOLDER / f"{encoder.reads}-{data_fingerprint(encoder.identity)}")
            shard = encode_shard(
                encoder,
                _share(contents, processes),
                store,
                batch_size=batch_size,
                show_progress=show_progress and processes.rank == 0,
            )
            shards = processes.gather(shard)
            if shards is None:
                return None
            tokens, keys = _merged(contents, shards)
            absent = contents.absent + [item for shard in shards for item in shard.absent]
            if not tokens:
                raise ValueError(
                    f"{folder / name}.item: no {encoder.reads} of {len(absent)} items could be read, for example "
                    f"{absent[-1].named} ({absent[-1].problem}); put the files under {folder / 'images'}"
                )
            vectors = encoder.finish(store.rows(keys))
            encoded = sum(shard.encoded for shard in shards)
        write_features(output, name, modality, tokens, vectors)
    absent_path = _write_absent(output / f"{name}.{modality}.missing.tsv", absent)
    _write_provenance(
        _provenance_path(output, name, modality), request, encoder, contents.fields, vectors.shape, absent
    )
    return EncodingReport(
        path=output / f"{name}.{modality}.npy",
        shape=tuple(vectors.shape),
        fields=contents.fields,
        encoded=encoded,
        problems=_counted(absent),
        absent_path=absent_path,
    )


def _provenance_path(folder: Path, name: str, modality: str) -> Path:
    return folder / f"{name}.{modality}.yaml"


def _refuse_foreign_file(folder: Path, name: str, modality: str, overwrite: bool) -> None:
    """Vectors that a user brought would be lost; those made here can be made again."""
    made_here = _provenance_path(folder, name, modality).is_file()
    for path in (folder / f"{name}.{modality}.npy", folder / f"{name}.{modality}"):
        if path.is_file() and not made_here and not overwrite:
            raise ValueError(
                f"{path} exists and was not made by encode; choose another --modality or --output, or say --overwrite"
            )


def _share(contents: Contents, processes: Processes) -> Contents:
    mine = slice(processes.rank, None, processes.count)
    return contents._replace(item_tokens=contents.item_tokens[mine], contents=contents.contents[mine])


def _merged(contents: Contents, shards: Sequence[EncodedShard]) -> tuple[list[str], np.ndarray]:
    """Tokens and store keys of the items that have a vector, in the order of ``contents``."""
    keys = np.zeros(len(contents.item_tokens), dtype=shards[0].keys.dtype)
    for rank, shard in enumerate(shards):
        keys[rank :: len(shards)] = shard.keys
    there = keys != b""
    return [token for token, has in zip(contents.item_tokens, there, strict=True) if has], keys[there]


def _counted(absent: Sequence[Absent]) -> dict[str, int]:
    return dict(Counter("unreadable" if "cannot be read" in item.problem else item.problem for item in absent))


def _write_absent(path: Path, absent: Sequence[Absent]) -> Path | None:
    if not absent:
        path.unlink(missing_ok=True)
        return None
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerows(chain([("item_id:token", "file:token", "problem:token_seq")], absent))
    return path


def _write_provenance(
    path: Path,
    request: EncoderRequest,
    encoder: Encoder,
    fields: list[str],
    shape: Sequence[int],
    absent: Sequence[Absent],
) -> None:
    """Describe the feature file."""
    description: dict[str, Any] = {
        "encoder": request.name,
        "reads": encoder.reads,
        "fields": fields,
        "settings": encoder.settings,
        "shape": list(shape),
        "items_without_vector": _counted(absent),
        "versions": {"recbole_mgr": __version__} | {library: version(library) for library in encoder.libraries},
        "date": datetime.date.today().isoformat(),
    }
    write_text(path, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
