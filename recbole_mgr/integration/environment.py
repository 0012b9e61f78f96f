"""The environment of a result: hardware, and the version of everything that can change a number."""

from __future__ import annotations

import os
import platform

import torch


def environment(device) -> dict[str, str]:
    """Hardware and versions a result depends on."""
    import recbole

    from recbole_mgr.version import __version__

    on_gpu = str(device).startswith("cuda")
    return {
        "hardware": torch.cuda.get_device_name() if on_gpu else f"{os.cpu_count()} CPU cores ({platform.machine()})",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "recbole": recbole.__version__,
        "recbole_mgr": __version__,
    }
