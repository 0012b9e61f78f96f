"""The environment of a result: hardware, and the version of everything that can change a number."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

# What a table prints of it; the rest stands in result.json and run.yaml.
HEADLINE = ("hardware", "python", "torch", "recbole", "recbole_mgr")

# Distributions beside these through which a number passes: reading, vectors, quantisers, networks, metrics.
_LIBRARIES = (
    "numpy scipy pandas polars scikit-learn transformers tokenizers peft diffusers open_clip_torch torchvision pillow "
    "safetensors sacrebleu rouge-score"
).split()


def environment(device) -> dict[str, str]:
    """Hardware and versions that a result depends on; a library that is not installed is left out."""
    import recbole

    from recbole_mgr.version import __version__

    on_gpu = str(device).startswith("cuda")
    found = {
        "hardware": torch.cuda.get_device_name() if on_gpu else f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "recbole": recbole.__version__,
        "recbole_mgr": __version__,
    }
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
