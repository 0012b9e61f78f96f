"""Pictures and texts by the two towers of an open_clip model.

Source: CLIP (Radford et al., 2021), OpenCLIP (Ilharco et al., 2021). Patch vectors are what OpenFlamingo and UniMP
feed to their language model: the vision transformer's output tokens without the class token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor

from recbole_mgr.encoding.encoder import PRECISIONS, Encoder, EncoderRequest, data_fingerprint, weights_fingerprint

RANDOM = "random"


class OpenClip(Encoder):
    """Args:
    name: ``<model>@<weights>``: an architecture that open_clip knows or a JSON file that describes one, and a
        pretrained tag, a file of weights, or ``random`` (to try things out); ``hf-hub:<name>`` stands alone.
    reads: ``image`` or ``text``: which tower.
    normalize: give vectors length 1.
    patches: keep the vector of each patch, [T, dim], of the picture tower.
    device, precision: where and in what the model runs.

    Raises:
        ValueError: If the model or its weights cannot be had, **or** patches are asked of a tower without.
    """

    libraries = ("torch", "open_clip_torch", "pillow")

    def __init__(self, *, name: str, reads: str, normalize: bool, patches: bool, device: str, precision: str) -> None:
        self._name = name
        architecture, model, self._transform, self._tokenizer = _load(name)
        if patches and not hasattr(model.visual, "output_tokens"):
            raise ValueError(f"open_clip:{name}: its picture tower has no patches; take a ViT, such as ViT-L-14")
        self.reads = reads
        self.identity = {
            "family": "open_clip",
            "configuration": data_fingerprint([architecture, open_clip.get_model_config(architecture)]),
            "weights": weights_fingerprint(model),
            "tower": reads,
            **({"picture": repr(self._transform)} if reads == "image" else {}),
            **({"patches": True} if patches else {"normalize": normalize}),
            "precision": precision,
        }
        if patches:
            model.visual.output_tokens = True
        self._model = model.eval().to(device, PRECISIONS[precision])
        self._normalize, self._patches = normalize, patches
        self._device, self._dtype = device, PRECISIONS[precision]

    @classmethod
    def of(cls, request: EncoderRequest) -> OpenClip:
        return cls(
            name=request.name.partition(":")[2],
            reads=request.reads,
            normalize=request.normalize,
            patches=request.patches,
            device=request.device,
            precision=request.precision,
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {"encoder": f"open_clip:{self._name}", **self.identity}

    def prepare(self, picture: Image.Image) -> Tensor:
        return self._transform(picture)  # [3, height, width]

    @torch.inference_mode()
    def encode(self, contents: Sequence[Any]) -> np.ndarray:
        if self.reads == "text":
            vectors = self._model.encode_text(self._tokenizer(list(contents)).to(self._device))  # [B, dim]
        else:
            pictures = torch.stack(list(contents)).to(self._device, self._dtype)  # [B, 3, height, width]
            if self._patches:
                _, vectors = self._model.visual(pictures)  # [B, T, dim]
                return vectors.float().cpu().numpy().astype(np.float16)
            vectors = self._model.encode_image(pictures)  # [B, dim]
        vectors = vectors.float()
        if self._normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return vectors.cpu().numpy().astype(np.float16)


def _load(name: str) -> tuple[str, torch.nn.Module, Any, Any]:
    """Architecture, model, transform of pictures for inference, tokenizer."""
    architecture, at, weights = name.partition("@")
    if architecture.endswith(".json"):
        path = Path(architecture)
        if not path.is_file():
            raise ValueError(f"open_clip:{name}: there is no file {path}")
        open_clip.add_model_config(path)
        architecture = path.stem
    if ":" not in architecture:  # no hf-hub:... or local-dir:..., which bring their weights
        if architecture not in open_clip.list_models():
            raise ValueError(
                f"open_clip:{name}: no such model; python -c 'import open_clip; print(open_clip.list_models())' lists "
                "them, a .json file describes one of your own"
            )
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        if not at or not (weights in (*tags, RANDOM) or Path(weights).is_file()):
            raise ValueError(
                f"open_clip:{name}: give {architecture}@ and a file of weights or a pretrained tag ({', '.join(tags)})"
            )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # weights called random are the same in every process and run
            model, _, transform = open_clip.create_model_and_transforms(
                architecture, pretrained=None if weights in ("", RANDOM) else weights
            )
        return architecture, model, transform, open_clip.get_tokenizer(architecture)
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(
            f"open_clip:{name} cannot be loaded ({error}); on a machine without network, download the weights "
            "elsewhere and give their file: open_clip:<model>@<file>"
        ) from error
