"""What an encoder is."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

from recbole_mgr.data.feature_file import Rows

POOLINGS = ("mean", "cls", "last")
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Encoder(ABC):
    """Turns texts or pictures into vectors.

    Attributes:
        reads: ``text`` or ``image``.
        libraries: packages whose versions the feature file's description names.
        per_item: whether what :meth:`encode` gives depends on its own item only, so that it can be kept and reused.
        learns: whether :meth:`finish` learns from the catalogue what decides its vectors, so that new items get
            comparable ones only from what was learned then.
        identity: what decides the result of :meth:`encode`, as plain data; vectors are reused only under the same.
    """

    reads: str
    libraries: ClassVar[tuple[str, ...]]
    per_item: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    identity: dict[str, Any]

    @classmethod
    @abstractmethod
    def of(cls, request: EncoderRequest) -> Encoder:
        """The encoder that a request describes, its weights loaded.

        Raises:
            ValueError: If it does not do what is asked for, or cannot be loaded.
        """

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

    def finish(self, vectors: Any) -> Rows:
        """The final vectors of all n items from what :meth:`encode` gave of them."""
        return vectors

    def learned(self) -> dict[str, np.ndarray]:
        """What was learned from a catalogue, as plain arrays; nothing where the encoder learns nothing."""
        return {}

    def load(self, learned: Mapping[str, np.ndarray]) -> None:
        """Take over what another encoder of this kind learned, instead of learning it anew.

        Raises:
            ValueError: If the arrays are not those of this kind.
        """
        if learned:
            raise ValueError("this encoder learns nothing of a catalogue")


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
