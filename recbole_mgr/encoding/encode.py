"""Encoding a modality of a data set: its items' contents, the processes' shares, the feature file."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mgr.data.feature_file import Rows, check_modality, write_features
from recbole_mgr.data.item_file import PICTURE_FIELD, Absent, Contents, read_picture_files, read_texts
from recbole_mgr.data.provenance import require_data_name
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat
from recbole_mgr.distributed import processes
from recbole_mgr.encoding.description import Made, encoder_like, write_description
from recbole_mgr.encoding.encoder import Encoder, EncoderRequest, data_fingerprint
from recbole_mgr.encoding.registry import make_encoder
from recbole_mgr.encoding.shard import EncodedShard, encode_shard
from recbole_mgr.encoding.store import VectorStore
from recbole_mgr.files import replacing

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
    like: Made | None = None,
    output: Path | None = None,
    fields: Sequence[str] | None = None,
    format: AtomicFormat = DEFAULT_FORMAT,
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
        like: vectors to which these must be comparable: the encoder and the fields are theirs, and nothing is learned
            of these items.
        output: where the feature file goes; None = ``folder``.
        fields: item fields that make the text, in their order; None = those of type token_seq.
        format: how ``<name>.item`` is written.
        batch_size: contents encoded at once.
        overwrite: replace a feature file even if it was not made by this function.
        show_progress: draw a progress bar.

    Returns:
        What was done, on rank 0; None on the others.

    Raises:
        ValueError: If the input, the encoder or the target is not as described, another command writes the target, or
            no content could be encoded.
    """
    check_modality(modality)
    require_data_name(name)
    output = Path(output or folder)
    target = output / f"{name}.{modality}.npy"
    if batch_size < 1:
        raise ValueError(f"--batch_size {batch_size}: at least 1")
    with processes.owned(target):
        _refuse_foreign_file(output, name, modality, overwrite)
        contents = _contents(folder, name, request.reads, like.details["fields"] if like else fields, format)
        encoder = encoder_like(like, request) if like else make_encoder(request)
        encoded = _encoded(folder, name, output, encoder, contents, batch_size, show_progress)
        if encoded is None:
            return None
        if like:
            encoded = _without_strangers(encoded)
        problems = dict(
            Counter("unreadable" if "cannot be read" in item.problem else item.problem for item in encoded.absent)
        )
        # From here on no vectors stand beside the description of others; one that was cut short is made again.
        target.with_suffix(".ids").unlink(missing_ok=True)
        absent_path = _write_absent(output / f"{name}.{modality}.missing.tsv", encoded.absent)
        shape = tuple(encoded.vectors.shape)
        write_description(
            output, name, modality, request, encoder, fields=contents.fields, shape=shape, absent=problems
        )
        write_features(output, name, modality, encoded.item_tokens, encoded.vectors)
    return EncodingReport(target, shape, contents.fields, encoded.made_now, problems, absent_path)


class _Encoded(NamedTuple):
    """Vectors of n items, the items without, and how many vectors were made now."""

    item_tokens: list[str]
    vectors: Rows
    absent: list[Absent]
    made_now: int


def _contents(folder: Path, name: str, reads: str, fields: Sequence[str] | None, format: AtomicFormat) -> Contents:
    if reads == "text":
        return read_texts(folder, name, fields, format)
    if fields and list(fields) != [PICTURE_FIELD]:
        raise ValueError("--fields: makes a text of item fields, but pictures are read")
    return read_picture_files(folder, name, format)


def _encoded(
    folder: Path,
    name: str,
    output: Path,
    encoder: Encoder,
    contents: Contents,
    batch_size: int,
    show_progress: bool,
) -> _Encoded | None:
    """What all processes encoded together, on rank 0; None on the others."""
    if encoder.per_item:
        store = VectorStore(output / STORE_FOLDER / f"{encoder.reads}-{data_fingerprint(encoder.identity)}")
        shard = encode_shard(
            encoder,
            _share(contents),
            store,
            batch_size=batch_size,
            show_progress=show_progress and processes.is_owner(),
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
        return _Encoded(tokens, encoder.finish(store.rows(keys)), absent, sum(shard.encoded for shard in shards))
    if not processes.is_owner():
        return None
    vectors = encoder.finish(encoder.encode(contents.contents))
    return _Encoded(contents.item_tokens, vectors, contents.absent, len(contents.item_tokens))


def _without_strangers(encoded: _Encoded) -> _Encoded:
    """Without the items in which the encoder finds nothing that it learned of: their vectors, zeros, say nothing."""
    known = np.asarray(encoded.vectors[:]).any(axis=tuple(range(1, len(encoded.vectors.shape))))  # [n]
    if known.all():
        return encoded
    strangers = [token for token, is_known in zip(encoded.item_tokens, known, strict=True) if not is_known]
    absent = [Absent(token, "", "has nothing in common with what the encoder learned") for token in strangers]
    tokens = [token for token, is_known in zip(encoded.item_tokens, known, strict=True) if is_known]
    if not tokens:
        raise ValueError("--like: no item has anything in common with what the encoder learned; is it the same shop?")
    return _Encoded(tokens, encoded.vectors[:][known], encoded.absent + absent, encoded.made_now)


def _refuse_foreign_file(folder: Path, name: str, modality: str, overwrite: bool) -> None:
    """A user's own vectors would be lost; those made here can be made again."""
    made_here = (folder / f"{name}.{modality}.yaml").is_file()
    for path in (folder / f"{name}.{modality}.npy", folder / f"{name}.{modality}"):
        if path.is_file() and not made_here and not overwrite:
            raise ValueError(
                f"{path} exists and was not made by encode; choose another --modality or --output, or say --overwrite"
            )


def _share(contents: Contents) -> Contents:
    mine = slice(processes.rank(), None, processes.count())
    return contents._replace(item_tokens=contents.item_tokens[mine], contents=contents.contents[mine])


def _merged(contents: Contents, shards: Sequence[EncodedShard]) -> tuple[list[str], np.ndarray]:
    """Tokens and store keys of the items that have a vector, in the order of ``contents``."""
    keys = np.zeros(len(contents.item_tokens), dtype=shards[0].keys.dtype)
    for rank, shard in enumerate(shards):
        keys[rank :: len(shards)] = shard.keys
    there = keys != b""
    return [token for token, has in zip(contents.item_tokens, there, strict=True) if has], keys[there]


def _write_absent(path: Path, absent: Sequence[Absent]) -> Path | None:
    if not absent:
        path.unlink(missing_ok=True)
        return None
    with replacing(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerows(chain([("item_id:token", "file:token", "problem:token_seq")], absent))
    return path
