"""recbole_mgr: multimodal generative recommendation for RecBole.

Once it is imported, RecBole 1.2.1 works on today's libraries, what its results need is mended, and its own look-ups
find our models. That happens when RecBole is imported (:mod:`recbole_mgr.import_hooks`), so this import is light.
"""

from recbole_mgr import import_hooks
from recbole_mgr.version import __version__

__all__ = ["__version__", "load"]


def _mend_recbole() -> None:
    from recbole_mgr.integration.install import install  # imports torch and RecBole

    install()


import_hooks.install(_mend_recbole)


def load(run_dir, *, device=None):
    """Load a trained run directory, see :func:`recbole_mgr.serving.load`."""
    from recbole_mgr.serving import load  # only where it is needed: importing the package stays light

    return load(run_dir, device=device)
