"""What stands beside a feature file that `encode` made: how, and what the encoder learned from the catalogue.

    <name>.<modality>.yaml          encoder, fields, settings, fingerprint
    <name>.<modality>.encoder.npz   what it learned; absent where it learns nothing

A run keeps both under ``encoders/<modality>.*``, so that items to come can be encoded as its catalogue was.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from recbole_mgr.data.arrays import array_fingerprint, read_arrays
from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.documents import read_yaml
from recbole_mgr.encoding.encoder import Encoder, EncoderRequest, data_fingerprint
from recbole_mgr.encoding.registry import make_encoder
from recbole_mgr.files import replacing, write_text
from recbole_mgr.version import __version__

RUN_FOLDER = "encoders"
_LEARNED = ".encoder.npz"
_ROUNDING = {"precision"}  # changes the last bits of a vector, not what it means


class Made(NamedTuple):
    """How vectors of a modality were made.

    Attributes:
        path: of the description.
        details: what it says.
        fingerprint: equal for vectors that can be compared; None where that is not known: vectors that were not made
            by `encode`, or by a version that kept no fingerprint.
    """

    path: Path
    details: dict[str, Any]
    fingerprint: str | None

    @property
    def learned_path(self) -> Path:
        return self.path.with_suffix(_LEARNED)


def description_of(folder: Path, name: str, modality: str) -> Made:
    """How a data set's vectors were made; empty where nothing says so.

    Raises:
        ValueError: If the description cannot be read.
    """
    return _read(folder / f"{name}.{modality}.yaml")


def description_of_run(run_dir: Path, modality: str) -> Made:
    """How the vectors that a run read were made; raises as `description_of`."""
    return _read(run_dir / RUN_FOLDER / f"{modality}.yaml")


def find_description(like: Path, modality: str) -> Made:
    """How the vectors of a data set's folder, or of a run directory, were made.

    Raises:
        ValueError: If there is no such folder, nothing says how they were made, or it is too little to do it again.
    """
    if not like.is_dir():
        raise ValueError(f"--like {like}: no such folder; name a data set's folder or a run directory")
    of_run = (like / RUN_FOLDER).is_dir() or (like / "run.yaml").is_file()
    made = description_of_run(like, modality) if of_run else description_of(like, like.resolve().name, modality)
    if not made.details:
        raise ValueError(f"--like {like}: there is no {made.path}, which would say how its {modality!r} was encoded")
    if made.fingerprint is None:
        raise ValueError(
            f"--like {like}: {made.path} has no fingerprint: these vectors were not made by encode, or before encoders "
            "were kept. Encode the catalogue again (recbole-mgr encode) and train on that"
        )
    return made


def request_like(made: Made, *, device: str, precision: str, encoder: str | None = None) -> EncoderRequest:
    """The request that made described vectors, for this machine.

    Args:
        made: with a fingerprint.
        device, precision: where and in what the encoder runs.
        encoder: its name where it lies elsewhere on this machine; None = as described.

    Raises:
        ValueError: If the description is damaged.
    """
    try:
        asked = {field: made.details["request"][field] for field in EncoderRequest._fields[:-2]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{made.path}: lacks {error} in request; restore the file") from error
    if encoder:
        asked["name"] = encoder
    return EncoderRequest(**asked, device=device, precision=precision)


def encoder_like(made: Made, request: EncoderRequest) -> Encoder:
    """The encoder that made described vectors, with what it learned then.

    Raises:
        ValueError: If it cannot be built, what it learned is missing or damaged, or it is another one.
    """
    encoder = make_encoder(request)
    if encoder.learns:
        path = made.learned_path
        try:
            encoder.load(read_arrays(path, remedy="restore it"))
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{path}: not readable ({error}); restore the file, or encode the catalogue again"
            ) from error
    if fingerprint_of(encoder, made.details["fields"]) != made.fingerprint:
        said = made.details.get("settings", {})
        other = [key for key, value in encoder.settings.items() if said.get(key) != value and key not in _ROUNDING]
        raise ValueError(
            f"{made.path}: its vectors were made by another encoder than {request.name}"
            + (f" (it differs in {', '.join(other)})" if other else f": {made.learned_path.name} is another's")
            + "; give the same one with --encoder"
        )
    return encoder


def fingerprint_of(encoder: Encoder, fields: Sequence[str]) -> str:
    """Of all that decides what an item's vector is, whatever machine makes it."""
    decides = {key: value for key, value in {**encoder.identity, **encoder.settings}.items() if key not in _ROUNDING}
    if encoder.learns:
        decides["learned"] = array_fingerprint(encoder.learned())
    else:
        decides.pop("encoder", None)  # a name or a folder; the weights are told by their content
    return data_fingerprint([encoder.reads, list(fields), decides])


def write_description(
    folder: Path,
    name: str,
    modality: str,
    request: EncoderRequest,
    encoder: Encoder,
    *,
    fields: list[str],
    shape: Sequence[int],
    absent: Mapping[str, int],
) -> None:
    """Say how a feature file is made, and keep what the encoder learned."""
    path = folder / f"{name}.{modality}.yaml"
    learned = path.with_suffix(_LEARNED)
    if encoder.learns:
        with replacing(learned) as part:
            np.savez(part, **encoder.learned())
    else:
        learned.unlink(missing_ok=True)
    details = {
        "encoder": request.name,
        "reads": encoder.reads,
        "fields": fields,
        "settings": encoder.settings,
        "request": {field: getattr(request, field) for field in EncoderRequest._fields[:-2]},
        "fingerprint": fingerprint_of(encoder, fields),
        "shape": list(shape),
        "items_without_vector": dict(absent),
        "versions": {"recbole_mgr": __version__} | {library: version(library) for library in encoder.libraries},
        "date": datetime.date.today().isoformat(),
    }
    write_text(path, yaml.safe_dump(details, sort_keys=False, allow_unicode=True))


def keep_encoders(folder: Path, name: str, modalities: Sequence[str], run_dir: Path) -> None:
    """Copy into a run directory how its vectors were made, of the modalities of which that is known."""
    for modality in modalities:
        made = description_of(folder, name, modality)
        if made.fingerprint is None:
            continue
        kept = run_dir / RUN_FOLDER / f"{modality}.yaml"
        if made.learned_path.is_file():
            with replacing(kept.with_suffix(_LEARNED)) as part:
                shutil.copyfile(made.learned_path, part)
        with replacing(kept) as part:
            shutil.copyfile(made.path, part)


def refuse_other_encoder(run_dir: Path, folder: Path, name: str, modality: str) -> None:
    """Refuse vectors of new items that were not made as those of a run's catalogue.

    Where nothing is known of the catalogue's, there is nothing to compare.

    Raises:
        ValueError: Naming both and the remedy.
    """
    ours = description_of_run(run_dir, modality)
    if ours.fingerprint is None:
        return
    theirs = description_of(folder, name, modality)
    if theirs.fingerprint != ours.fingerprint:
        how = f"by another encoder ({theirs.fingerprint})" if theirs.fingerprint else "nobody knows how"
        raise ValueError(
            f"{folder / name}.{modality}: these vectors were made {how}, those of the run's catalogue by "
            f"{ours.fingerprint}: their codes would mean nothing. Encode them as the catalogue was: "
            f"recbole-mgr encode {as_arguments(folder, name)} --modality {modality} --like {run_dir}"
        )


def _read(path: Path) -> Made:
    details = read_yaml(path, remedy="restore the file, or encode again") if path.is_file() else {}
    fingerprint = details.get("fingerprint")
    return Made(path, details, fingerprint if isinstance(fingerprint, str) else None)
