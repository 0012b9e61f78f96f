"""RecBole is the release that we extend, or the import says how to get it."""

from importlib import metadata

import pytest

from recbole_mgr.integration.install import RECBOLE_VERSION, require_recbole

COMMAND = f"pip install --no-deps recbole=={RECBOLE_VERSION}"


def test_the_release_that_we_extend_is_accepted():
    require_recbole()


def test_another_release_is_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: {"recbole": "1.1.1"}[name])
    with pytest.raises(ImportError, match=f"RecBole is 1.1.1; run: {COMMAND}"):
        require_recbole()


def test_no_recbole_is_refused(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(ImportError, match=f"RecBole is not installed; run: {COMMAND}"):
        require_recbole()
