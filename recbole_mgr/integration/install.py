"""The one call that makes RecBole 1.2.1 work on today's libraries and know our models."""

from recbole_mgr.integration import compat


def install() -> None:
    """Mend RecBole where it is needed and register the models (idempotent).

    The order matters: RecBole can be imported only after :mod:`~recbole_mgr.integration.compat` has run, so what
    imports it is imported here.
    """
    compat.apply()

    from recbole_mgr.integration import config, registry, repairs

    repairs.apply()
    registry.install()
    config.install_property_hooks()
