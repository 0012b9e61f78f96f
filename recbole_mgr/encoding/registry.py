"""Which encoder ``--encoder`` names."""

from __future__ import annotations

import importlib

from recbole_mgr.encoding.encoder import Encoder, EncoderRequest

# (family, what it reads) -> module and class, imported when it is asked for: each needs libraries that take seconds.
ENCODERS = {
    ("classical", "text"): "recbole_mgr.encoding.classical:ClassicalText",
    ("classical", "image"): "recbole_mgr.encoding.classical:ClassicalPictures",
    ("transformers", "text"): "recbole_mgr.encoding.transformers_text:TransformersText",
    ("open_clip", "text"): "recbole_mgr.encoding.clip:OpenClip",
    ("open_clip", "image"): "recbole_mgr.encoding.clip:OpenClip",
}


def make_encoder(request: EncoderRequest) -> Encoder:
    """Build an encoder and load its weights.

    Raises:
        ValueError: If there is no such encoder, it does not read what is asked for, or its weights cannot be loaded.
    """
    family, _, model = request.name.partition(":")
    if request.patches and (family, request.reads) != ("open_clip", "image"):
        raise ValueError(f"--patches: only open_clip's picture encoders have patches, not {request.name!r}")
    if (family == "classical") == bool(model) or not any(family == known for known, _ in ENCODERS):
        raise ValueError(
            f"--encoder {request.name}: expected classical, transformers:<name or folder> or "
            "open_clip:<model>@<pretrained tag or weights file>"
        )
    if (family, request.reads) not in ENCODERS:
        raise ValueError(f"--encoder {request.name} reads texts, not pictures; take open_clip:<model>@<weights>")
    module, _, name = ENCODERS[family, request.reads].partition(":")
    return getattr(importlib.import_module(module), name).of(request)
