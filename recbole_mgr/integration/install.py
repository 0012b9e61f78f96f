"""The one call that makes RecBole 1.2.1 work on today's libraries and know our models."""

from importlib import metadata

from recbole_mgr.integration import compat

RECBOLE_VERSION = "1.2.1"


def install() -> None:
    """Mend RecBole where it is needed and register the models (idempotent).

    The order matters: RecBole can be imported only after :mod:`~recbole_mgr.integration.compat` has run, so what
    imports it is imported here.

    Raises:
        ImportError: If RecBole is missing or another release than the one whose insides we know.
    """
    require_recbole()
    compat.apply()

    from recbole_mgr.integration import config, registry, repairs

    repairs.apply()
    registry.install()
    config.install_property_hooks()


def require_recbole() -> None:
    """Check that the RecBole that is installed is the one that we extend.

    Raises:
        ImportError: If it is not; with the command that installs it.
    """
    try:
        found = metadata.version("recbole")
    except metadata.PackageNotFoundError:
        found = "not installed"
    if found != RECBOLE_VERSION:
        raise ImportError(
            f"recbole_mgr extends RecBole {RECBOLE_VERSION}, and RecBole is {found}; "
            f"run: pip install --no-deps recbole=={RECBOLE_VERSION}"
        )
