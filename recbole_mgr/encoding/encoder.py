"""What an encoder is, and which one ``--encoder`` names."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from recbole_mgr.data.feature_file import Rows

POOLINGS = ("mean", "cls", "last")


class Encoder(ABC):
    """Turns texts or pictures into vectors.

    Attributes:
        reads: ``text`` or ``image``.
        libraries: packages whose versions the feature file's description names.
        per_item: whether a vector depends on its own item only, so that it can be kept and reused.
        identity: what decides the result of :meth:`encode`, as plain data; vectors are reused only under the same.
    """

    reads: str
    libraries: tuple[str, ...]
    per_item: bool = True
    identity: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the final vectors, as plain data."""
        return self.identity

    def prepare(self, picture: Image.Image) -> Any:
        """Make a picture ready for :meth:`encode`; called in threads."""
        return picture

    @abstractmethod
    def encode(self, contents: Sequence[Any]) -> np.ndarray:
        """Vectors of B texts or prepared pictures: [B, dim] or, for T grid vectors of each, [B, T, dim]."""

    def finish(self, vectors: Rows) -> Rows:
        """The final vectors of all n items from what :meth:`encode` gave."""
        return vectors


class EncoderRequest(NamedTuple):
    """An encoder as the command line describes it.

    Attributes:
        name: ``classical``, ``transformers:<name or folder>``, ``open_clip:<model>@<pretrained tag or file>``.
        reads: ``text`` or ``image``.
        dim: values of a classical vector.
        pooling: of a transformers encoder's token vectors: ``mean``, ``cls`` (the first) or ``last``.
        max_tokens: tokens of a text that a transformers encoder reads at most; None = as many as it can.
        normalize: give vectors length 1 (not for classical ones, which have it, and patches, which never get it).
        patches: keep open_clip's vector of each patch of a picture, [T, dim].
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        precision: ``fp32``, ``fp16`` or ``bf16``.
    """

    name: str
    reads: str
    dim: int = 64
    pooling: str = "mean"
    max_tokens: int | None = None
    normalize: bool = True
    patches: bool = False
    device: str = "cpu"
    precision: str = "fp32"


def make_encoder(request: EncoderRequest) -> Encoder:
    """Build an encoder and load its weights.

    Raises:
        ValueError: If there is no such encoder, it does not read what is asked for, or its weights cannot be loaded.
    """
    family, _, model = request.name.partition(":")
    if request.patches and (family, request.reads) != ("open_clip", "image"):
        raise ValueError(f"--patches: only open_clip's picture encoders have patches, not {request.name!r}")
    if request.name == "classical":
        from recbole_mgr.encoding.classical import ClassicalPictures, ClassicalText

        return (ClassicalText if request.reads == "text" else ClassicalPictures)(dim=request.dim)
    if family == "transformers" and model:
        if request.reads != "text":
            raise ValueError(f"--encoder {request.name} reads texts, not pictures; take open_clip:<model>@<weights>")
        from recbole_mgr.encoding.transformers_text import TransformersText

        return TransformersText(
            name=model,
            pooling=request.pooling,
            max_tokens=request.max_tokens,
            normalize=request.normalize,
            device=request.device,
            precision=request.precision,
        )
    if family == "open_clip" and model:
        from recbole_mgr.encoding.clip import OpenClip

        return OpenClip(
            name=model,
            reads=request.reads,
            normalize=request.normalize,
            patches=request.patches,
            device=request.device,
            precision=request.precision,
        )
    raise ValueError(
        f"--encoder {request.name}: expected classical, transformers:<name or folder> or "
        "open_clip:<model>@<pretrained tag or weights file>"
    )


def data_fingerprint(data: Any) -> str:
    """First 16 hex digits of the SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:16]


def weights_fingerprint(model: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of a model's weights, names and bytes, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
