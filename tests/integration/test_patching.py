import importlib
import math
import sys
from types import ModuleType

import pytest

from recbole_mgr.integration.patching import ModuleView, PatchSet, stand_in_modules


def test_patches_are_applied_in_order_and_once():
    calls = []

    def first():
        calls.append("first")

    def second():
        calls.append("second")

    patches = PatchSet(first, second)
    patches.apply(skip={"first"})
    assert calls == ["second"]
    patches.apply()
    patches.apply()
    assert calls == ["second", "first"]


def test_an_unknown_patch_cannot_be_skipped():
    with pytest.raises(ValueError, match="no patch is called .'typo'.; there are .'known'."):
        PatchSet(type("known", (), {})).apply(skip={"typo"})


def test_a_module_view_replaces_names_and_leaves_the_module_alone():
    view = ModuleView(math, sqrt=len)
    assert view.sqrt is len
    assert view.floor is math.floor
    assert math.sqrt(4) == 2
    with pytest.raises(AttributeError):
        _ = view.no_such_name


def test_stand_ins_are_gone_after_the_block(monkeypatch):
    monkeypatch.setitem(sys.modules, "absent", None)
    submodule = ModuleType("absent.part")
    with stand_in_modules(absent={"part": submodule, "number": 3}):
        assert importlib.import_module("absent").number == 3
        assert importlib.import_module("absent.part") is submodule
    with pytest.raises(ImportError):
        importlib.import_module("absent")
    assert "absent.part" not in sys.modules
