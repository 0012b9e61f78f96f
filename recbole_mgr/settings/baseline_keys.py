"""Keys of RecBole's own models, which RecBole describes by a default and a comment alone.

A key's type is that of its default; its range follows from its name, as the models use the same names for the same
things: sizes and counts from 1, dropout in [0, 1), weights of losses from 0. Choices are read from the comment where
it lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from recbole_mgr.settings.schema import Key
from recbole_mgr.settings.values import Number, Switch

# Keys that models read although their property files do not name them.
UNLISTED: dict[str, dict[str, Any]] = {
    "AutoInt": {"has_residual": None},
    "DiffRec": {"norm": None},
    "HRM": {"reg_weight": 1e-5},
    "xgboost": {"xgb_early_stopping_rounds": None},
}
_ACTIVATIONS = ("gelu", "relu", "swish", "tanh", "sigmoid")
_CHOICES = {"hidden_act": _ACTIVATIONS, "knn_method": ("item", "user"), "loss_type": ("BPR", "CE")}
# the first pattern that is found in a name says the range of its numbers
_RANGES: list[tuple[str, tuple[Any, ...]]] = [
    (r"drop", (Ge(0), Lt(1))),
    (r"^(mask_ratio|corruption_ratio|ft_ratio|l1_ratio|\w*anneal_cap)$", (Ge(0), Le(1))),
    (r"^(tau|ssl_tau|ssl_temp|temperature|layer_norm_eps|resolution)$", (Gt(0),)),
    (r"(^|_)(weight|weights|reg|lambda\d|lmd)(_\d)?$|^reg_|_reg$|^initializer_range$|noise_(min|max)$", (Ge(0),)),
]
_WHOLE_RANGES: list[tuple[str, int]] = [
    (r"size|dim|rank$|heads|channels|kernels|strides|units", 1),
    (r"^(num_layers|num_clusters|k|k_interests|kfac|n_factors|history_len|neigh_num|steps|order_len|high_order)$", 1),
]
_COMMENT = re.compile(r"^([\w-]+):.*?#\s*(?:\(([^)]*)\))?\s*(.*)$", re.MULTILINE)


def baseline_keys(model: str, defaults: Mapping[str, Any], text: str) -> dict[str, Key]:
    """The keys of one of RecBole's models beside those that every model has.

    Args:
        model: its name.
        defaults: what its property file holds.
        text: the property file itself, for its comments.
    """
    comments = {name: (kind or "", meaning.strip(" .")) for name, kind, meaning in _COMMENT.findall(text)}
    listed = {**UNLISTED.get(model, {}), **defaults}
    return {name: _key(name, default, *comments.get(name, ("", ""))) for name, default in listed.items()}


def _key(name: str, default: Any, kind: str, meaning: str) -> Key:
    choices = _listed_choices(meaning) or _CHOICES.get(name, ())
    if isinstance(default, str) and default in choices:
        return Key(name, Literal[tuple(choices)], meaning)
    return Key(name, _annotation(name, default, kind), meaning)


def _listed_choices(meaning: str) -> list[str]:
    """What stands in ``Range in ['sum', 'mean']``."""
    listed = re.search(r"[Rr]ang(?:e|ing) in\W*\[(.*?)\]", meaning)
    return [word.strip(" '\"`") for word in listed[1].split(",")] if listed else []


def _annotation(name: str, default: Any, kind: str) -> Any:
    if " or " in kind or (kind == "str" and not isinstance(default, str)):
        return Any
    if isinstance(default, bool) or kind == "bool":
        return Switch
    if isinstance(default, float) or (isinstance(default, int) and _is_fractional(name, kind)):
        return _limited(name, default)
    if isinstance(default, int):
        return _limited_whole(name, default)
    if isinstance(default, list):
        if not default or isinstance(default[0], str):
            return list[str] if default else list
        return list[_annotation(name, default[0], kind)]
    return {str: str, dict: dict}.get(type(default), Any)


def _is_fractional(name: str, kind: str) -> bool:
    """Whether a default that is written as a whole number stands for any number."""
    if any(re.search(pattern, name) for pattern, _ in _RANGES):
        return True
    return "float" in kind or not (kind or any(re.search(pattern, name) for pattern, _ in _WHOLE_RANGES))


def _limited(name: str, default: float) -> Any:
    for pattern, limits in _RANGES:
        if re.search(pattern, name) and _within(default, limits):
            return Annotated[(Number, *limits)]
    return Number


def _limited_whole(name: str, default: int) -> Any:
    low = next((low for pattern, low in _WHOLE_RANGES if re.search(pattern, name)), 0)
    return Annotated[int, Ge(low)] if default >= low else int


def _within(value: float, limits: tuple[Any, ...]) -> bool:
    signs = {"ge": value.__ge__, "gt": value.__gt__, "le": value.__le__, "lt": value.__lt__}
    return all(
        signs[sign](type(value)(getattr(limit, sign))) for limit in limits for sign in signs if hasattr(limit, sign)
    )
