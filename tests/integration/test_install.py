"""RecBole is the release that we extend, or the import says how to get it."""

import sys

import pytest
import recbole

from recbole_mgr import import_hooks
from recbole_mgr.integration.install import install

COMMAND = f"pip install --no-deps recbole=={import_hooks.RECBOLE_VERSION}"


def test_installing_twice_changes_nothing():
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before


def test_another_release_is_refused(monkeypatch):
    monkeypatch.setattr(recbole, "__version__", "1.1.1")
    with pytest.raises(ImportError, match=f"RecBole is 1.1.1; run: {COMMAND}"):
        install()


def test_no_recbole_is_refused(monkeypatch):
    monkeypatch.setattr(import_hooks, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(ImportError, match=f"RecBole is not installed; run: {COMMAND}"):
        import_hooks.install(install)
