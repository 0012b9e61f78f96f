"""Annotations in words: the rule that an error states, the type and the range that comments and tables show."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from recbole_mgr.settings.values import Says

_PLURAL = {
    "a whole number": "whole numbers",
    "a number": "numbers",
    "a name": "names",
    "text": "texts",
    "one of": "names among",
}


def rule(annotation: Any, limits: Iterable[Any] = ()) -> str:
    """What a value of this annotation must be, to be read after "must be": ``a whole number >= 1``."""
    base, limits = _unwrapped(annotation, limits)
    for limit in limits:
        if isinstance(limit, Says):
            return limit.rule
    choices = _options(base)
    if len(choices) > 1:
        words = [rule(choice, limits) for choice in choices if choice is not NoneType]
        return " or ".join(["None"] * (NoneType in choices) + words)
    kind = get_origin(base)
    if kind is Literal:
        values = get_args(base)
        return _shown(values[0]) if len(values) == 1 else "one of " + ", ".join(map(_shown, values))
    if kind is list:
        least = "at least one of " if any(getattr(limit, "min_length", 0) for limit in limits) else ""
        return f"a list of {least}{_plural(*get_args(base))}" if get_args(base) else "a list"
    if kind is dict:
        return f"a dictionary of {_plural(get_args(base)[1])}"
    if isinstance(base, type) and issubclass(base, BaseModel):
        return f"a dictionary of {', '.join(base.model_fields)}"
    plain = {int: "a whole number", float: "a number", str: "text", NoneType: "None", dict: "a dictionary"}
    bounds = range_of(base, limits)
    return f"{plain.get(base, 'any value')} {bounds}".strip()


def type_name(annotation: Any) -> str:
    """The type in short, as a property file's comment has it: ``int or None``, ``list of str``."""
    base, limits = _unwrapped(annotation, ())
    for limit in limits:
        if isinstance(limit, Says):
            return limit.name
    choices = _options(base)
    if len(choices) > 1:
        words = [type_name(choice) for choice in choices if choice is not NoneType]
        return " or ".join(dict.fromkeys([*words, *["None"] * (NoneType in choices)]))
    kind = get_origin(base)
    if kind is Literal:
        return " or ".join(dict.fromkeys(type(value).__name__ for value in get_args(base)))
    if kind is list:
        return f"list of {type_name(*get_args(base))}"
    if kind is dict or (isinstance(base, type) and issubclass(base, BaseModel)):
        return "dict"
    return "None" if base is NoneType else "any" if base is Any else base.__name__


def range_of(annotation: Any, limits: Iterable[Any] = ()) -> str:
    """The legal range in short: ``>= 1``, ``in [0, 1)``, ``one of mean, zero, drop``; empty where there is none."""
    base, limits = _unwrapped(annotation, limits)
    if any(isinstance(limit, Says) for limit in limits):
        return ""
    choices = [choice for choice in _options(base) if choice is not NoneType]
    if len(choices) > 1:
        return ", ".join(filter(None, (range_of(choice, limits) for choice in choices)))
    if len(_options(base)) > 1:
        return range_of(choices[0], limits)
    kind = get_origin(base)
    if kind is Literal:
        return "one of " + ", ".join(map(_shown, get_args(base))) if len(get_args(base)) > 1 else ""
    if kind in (list, dict):
        each = range_of(get_args(base)[-1]) if get_args(base) else ""
        return f"each {each}" if each else ""
    bounds = {
        sign: getattr(limit, sign) for limit in limits for sign in ("ge", "gt", "le", "lt") if hasattr(limit, sign)
    }
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        return f"in {'[' if 'ge' in bounds else '('}{low}, {high}{']' if 'le' in bounds else ')'}"
    if low is not None:
        return f"{'>=' if 'ge' in bounds else '>'} {low}"
    return "" if high is None else f"{'<=' if 'le' in bounds else '<'} {high}"


def words_of(annotation: Any) -> list[str]:
    """The words that may stand for a value: what a mistyped one is compared with."""
    base, _ = _unwrapped(annotation, ())
    if get_origin(base) is Literal:
        return [word for word in get_args(base) if isinstance(word, str)]
    choices = _options(base)
    inner = choices if len(choices) > 1 else get_args(base) if get_origin(base) is list else ()
    return [word for choice in inner for word in words_of(choice)]


def _unwrapped(annotation: Any, limits: Iterable[Any]) -> tuple[Any, list[Any]]:
    limits = list(limits)
    while get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        limits = [*inner, *limits]
    options = _options(annotation)
    return options[0] if len(options) == 1 else annotation, limits


def _options(base: Any) -> tuple[Any, ...]:
    """Members of a union, ``int | float`` counting as one kind: a number."""
    if get_origin(base) not in (Union, UnionType):
        return (base,)
    options = get_args(base)
    return tuple(option for option in options if not (option is int and float in options))


def _plural(annotation: Any) -> str:
    words = rule(annotation)
    for one, many in _PLURAL.items():
        if words.startswith(one) and " or " not in words:
            return many + words.removeprefix(one)
    return f"values, each {words}"


def _shown(value: Any) -> str:
    return str(value) or "''"
