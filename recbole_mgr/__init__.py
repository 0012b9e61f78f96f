"""recbole_mgr: multimodal generative recommendation for RecBole.

Importing it makes RecBole 1.2.1 work on today's libraries, mends what its results need, and registers our models with
RecBole's own look-ups (:mod:`recbole_mgr.integration.install`).
"""

__version__ = "0.1.0"

from recbole_mgr.integration.install import install

install()


def load(run_dir, *, device=None):
    """Load a trained run directory, see :func:`recbole_mgr.serving.load`."""
    from recbole_mgr.serving import load  # only where it is needed: importing the package stays light

    return load(run_dir, device=device)
