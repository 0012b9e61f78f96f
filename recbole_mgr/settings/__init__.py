"""The settings schema: type, range, choices and meaning of every key.

``GROUPS`` names the groups of keys of our models by the property file that holds their defaults: ``overall`` and the
classes of ``properties/model/``. A key is declared in one line of a group (:mod:`recbole_mgr.settings.schema`).
"""

from __future__ import annotations

from collections.abc import Iterable

from recbole_mgr.settings.model_keys import TIGER, GenerativeRecommender, MGRLFpp
from recbole_mgr.settings.own_baseline_keys import TGH, ClosedFormRecommender, ItemMemory, SASRecWindows
from recbole_mgr.settings.recbole_keys import KnowledgeGraph, Overall, Processes
from recbole_mgr.settings.schema import Key, Keys
from recbole_mgr.settings.unimp_keys import UniMP

GROUPS: dict[str, type[Keys]] = {
    "overall": Overall,
    "GenerativeRecommender": GenerativeRecommender,
    "TIGER": TIGER,
    "MGRLFpp": MGRLFpp,
    "UniMP": UniMP,
    "ClosedFormRecommender": ClosedFormRecommender,
    "ItemMemory": ItemMemory,
    "TGH": TGH,
    "SASRecWindows": SASRecWindows,
}


def declared_keys(class_names: Iterable[str]) -> dict[str, Key]:
    """The keys of one of our models, its own first.

    Args:
        class_names: its class and the classes that it derives from, the nearest first; names without a group have no
            keys of their own.
    """
    group = next((GROUPS[name] for name in class_names if name in GROUPS), Overall)
    return {name: key for name, key in group.all().items() if name not in group.unread}


def ignored_reason(name: str) -> str | None:
    """Why a key of RecBole's has no effect here; None where it is no such key."""
    if name in Processes.model_fields:
        return "processes are started by torchrun, or by --nproc and so on after the command"
    if name in KnowledgeGraph.model_fields:
        return "only RecBole's knowledge-aware models read it"
    if name in Overall.model_fields:
        return "it changes nothing there"
    return {
        "config_file": "files of settings are named by --config_files",
        "POSITION_FIELD": "RecBole reads it nowhere",
    }.get(name)
