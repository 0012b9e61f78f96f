"""recbole_mgr: multimodal generative recommendation for RecBole.

Importing it makes RecBole 1.2.1 work on today's libraries (:mod:`recbole_mgr.compat`), mends what its results need
(:mod:`recbole_mgr.repairs`), and registers our models with RecBole's own look-ups (:mod:`recbole_mgr.registry`).
"""

__version__ = "0.1.0"

from recbole_mgr import compat

compat.apply()

from recbole_mgr import config, registry, repairs  # noqa: E402  (RecBole can be imported only now)

repairs.apply()
registry.install()
config.install_property_hooks()


def load(run_dir, *, device=None):
    """Load a trained run directory, see :func:`recbole_mgr.recommendation.load`."""
    from recbole_mgr.recommendation import load  # only where it is needed: importing the package stays light

    return load(run_dir, device=device)
