"""The one call that makes RecBole 1.2.1 work on today's libraries and know our models."""

from recbole_mgr.import_hooks import RECBOLE_VERSION, recbole_needed
from recbole_mgr.integration import compat


def install() -> None:
    """Mend RecBole where it is needed and register the models (idempotent).

    The order matters: RecBole's modules can be imported only after :mod:`~recbole_mgr.integration.compat` has run, so
    what imports them is imported here.

    Raises:
        ImportError: If RecBole is another release than the one whose insides we know.
    """
    import recbole

    if recbole.__version__ != RECBOLE_VERSION:
        raise recbole_needed(recbole.__version__)
    compat.apply()

    from recbole_mgr.integration import config, registry, repairs

    repairs.apply()
    registry.install()
    config.install_property_hooks()
