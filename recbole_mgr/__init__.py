"""recbole_mgr: multimodal generative recommendation for RecBole.

Importing it makes RecBole 1.2.1 work on today's libraries, mends what its results need, and registers our models with
RecBole's own look-ups (:mod:`recbole_mgr.integration.install`).
"""

from recbole_mgr.integration.install import install
from recbole_mgr.version import __version__

__all__ = ["__version__", "load"]

install()


def load(run_dir, *, device=None):
    """Load a trained run directory, see :func:`recbole_mgr.serving.load`."""
    from recbole_mgr.serving import load  # only where it is needed: importing the package stays light

    return load(run_dir, device=device)
