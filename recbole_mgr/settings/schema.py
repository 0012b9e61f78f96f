"""How keys are declared and how values are checked against them.

A group of keys is a class derived from :class:`Keys`; a line of it is a key:

    beam_size: Annotated[int, Ge(1)] = key("Beams of the search")

The annotation is the type, in which ``Literal`` gives choices and a class derived from :class:`Keys` the keys inside a
dictionary; :mod:`recbole_mgr.settings.values` has further types. From this line come the check, the comment in the
property file, the table of ``recbole-mgr settings`` and the page ``docs/settings.md``. The default value is the
property file's. Rules that involve two keys stand in :mod:`recbole_mgr.integration.validation` and in the models'
``check_settings``.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property
from types import MappingProxyType, UnionType
from typing import Annotated, Any, ClassVar, NamedTuple, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from recbole_mgr.hints import near_miss
from recbole_mgr.settings.wording import range_of, rule, type_name, words_of

_CHECKS = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
_LONGEST_VALUE = 120  # characters of a wrong value that an error repeats
_ANY_DICTIONARY = "{'word': 5, 'other word': 'text'}"


class Keys(BaseModel):
    """A group of keys, or the keys inside a dictionary.

    Attributes:
        unread: names of keys that the models of the group never read although they belong to it, as RecBole's learning
            rate of a model that learns nothing by gradients. To give one to such a model alone is an error.
    """

    model_config = _CHECKS
    unread: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def all(cls) -> Mapping[str, Key]:
        """The keys of this group, and after them those of the groups that it derives from."""
        return _keys_of(cls)

    @classmethod
    def own(cls) -> dict[str, Key]:
        """The keys that this group declares itself."""
        return {name: cls.all()[name] for name in inspect.get_annotations(cls) if name in cls.model_fields}


@cache
def _keys_of(group: type[Keys]) -> Mapping[str, Key]:
    ancestors = (ancestor for ancestor in group.__mro__ if issubclass(ancestor, Keys))
    names = dict.fromkeys(name for ancestor in ancestors for name in inspect.get_annotations(ancestor))
    fields = {name: group.model_fields[name] for name in names if name in group.model_fields}
    return MappingProxyType({name: Key.of_field(name, field) for name, field in fields.items()})


def key(meaning: str) -> Any:
    """Declare a key.

    Args:
        meaning: what it does, in one or two sentences without the last full stop; its range is added to it.
    """
    return Field(default=None, description=meaning)


class Key:
    """One key: its type, its range and its meaning.

    Args:
        name: as in a property file.
        annotation: its type, with limits in ``Annotated``.
        meaning: see :func:`key`.
    """

    def __init__(self, name: str, annotation: Any, meaning: str) -> None:
        self.name, self.annotation, self.meaning = name, annotation, meaning

    @classmethod
    def of_field(cls, name: str, field: Any) -> Key:
        """The key that pydantic keeps as ``field``."""
        limits = tuple(field.metadata)
        return cls(name, Annotated[(field.annotation, *limits)] if limits else field.annotation, field.description)

    @property
    def rule(self) -> str:
        """What a value must be."""
        return rule(self.annotation)

    @property
    def type(self) -> str:
        """The type in short, such as ``int or None``."""
        return type_name(self.annotation)

    @property
    def range(self) -> str:
        """The legal range or the choices in short; empty where there is none."""
        return range_of(self.annotation)

    @property
    def about(self) -> str:
        """Meaning and range, as comments and tables show them; the range is left out where the meaning names it."""
        allowed = self.range
        named = words_of(self.annotation) if "one of" in allowed else [allowed]
        told = all(words in self.meaning for words in named)
        return self.meaning if not allowed or told else f"{self.meaning}; {allowed}"

    @property
    def inner(self) -> Mapping[str, Key]:
        """The keys inside the dictionary that this key holds; empty for other types."""
        group = _group_of(self.annotation)
        return group.all() if group else {}

    def checked(self, value: Any) -> Any:
        """The value in its own type: a bool for ``no``, a list for a single name.

        Raises:
            ValueError: If the type or range does not hold it: names key, value and rule.
        """
        if _beyond_64_bits(value):
            raise ValueError(f"{self.name}: {shown(value)} must be {rule(self.annotation)}, and fit 64 bits")
        try:
            return self._adapter.dump_python(self._adapter.validate_python(_plain(value)), exclude_unset=True)
        except ValidationError as error:
            raise ValueError(_sentence(self, value, error.errors(include_url=False))) from None

    @cached_property
    def _adapter(self) -> TypeAdapter:
        return TypeAdapter(self.annotation, config=None if _is_class_of(self.annotation, BaseModel) else _CHECKS)


def check_values(values: Mapping[str, Any], keys: Mapping[str, Key]) -> dict[str, Any]:
    """Check the type and range of every value that has a key.

    Args:
        values: settings; those without a key are left out of the result.
        keys: by name.

    Returns:
        The values in their own types.

    Raises:
        ValueError: One sentence for each wrong value.
    """
    checked, problems = {}, []
    for name, value in values.items():
        if name in keys:
            try:
                checked[name] = keys[name].checked(value)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return checked


def shown(value: Any) -> str:
    """A value as an error repeats it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


class _Wrong(NamedTuple):
    """Where a value is wrong: names down to the innermost dictionary key, the type there and the value there."""

    path: list[str]
    annotation: Any
    value: Any
    unknown: str | None  # a name that the dictionary there must not have
    found: str  # what a type of our own says


def _sentence(key: Key, value: Any, errors: Iterable[Mapping[str, Any]]) -> str:
    """What is wrong, told of the innermost place that pydantic's errors name."""
    wrong = max(
        (_located(key, value, error) for error in errors),
        key=lambda wrong: (len(wrong.path), wrong.unknown is not None),
    )
    name, hint = ": ".join(wrong.path), ""
    if wrong.unknown is not None:
        known = _group_of(wrong.annotation).all()
        hint = near_miss(wrong.unknown, known) or ";"
        return f"{name} has no key {wrong.unknown!r}{hint} it has {', '.join(known)}"
    if isinstance(wrong.value, str):
        hint = near_miss(wrong.value, words_of(wrong.annotation))
        if wrong.value.startswith("{") and len(wrong.path) == 1:
            hint = f"; on a command line with quotes: {_typed(name, wrong.value)}"
    found = f" ({wrong.found})" if wrong.found else ""
    return f"{name}: {shown(wrong.value)} must be {rule(wrong.annotation)}{found}{hint}"


def _typed(name: str, text: str) -> str:
    """A dictionary as a shell passes it on, made of one whose words lack their quotes, or of any where that fails."""
    quoted = re.sub(r"\b(?!(?:True|False|None)\b)[^\W\d]\w*", r"'\g<0>'", text)
    try:
        legal = isinstance(ast.literal_eval(quoted), dict) and not set(text) & set("\"'$`\\!")
    except (ValueError, SyntaxError):
        legal = False
    return f'--{name}="{quoted if legal else _ANY_DICTIONARY}"'


def _located(key: Key, value: Any, error: Mapping[str, Any]) -> _Wrong:
    path, annotation, unknown = [key.name], key.annotation, None
    for step in error["loc"]:
        group = _group_of(annotation)
        if group is None or not isinstance(value, Mapping):
            break
        if step not in value:  # pydantic's name of one type among several
            continue
        if step not in group.model_fields:
            unknown = str(step)
            break
        path.append(step)
        annotation, value = group.all()[step].annotation, value[step]
    found = str(error["ctx"]["error"]) if error["type"] == "value_error" else ""
    return _Wrong(path, annotation, value, unknown, found)


def _is_class_of(annotation: Any, parent: type) -> bool:
    """Whether an annotation is a class that derives from another; to Python 3.10 ``list[int]`` is a type, too."""
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, parent)


def _group_of(annotation: Any) -> type[Keys] | None:
    """The class of the keys inside, where an annotation is one, or one or None."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    options: Iterable[Any] = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    groups = [option for option in options if _is_class_of(option, Keys)]
    return groups[0] if groups else None


def _beyond_64_bits(value: Any) -> bool:
    """Whether a whole number somewhere in a value is larger than tensors can hold."""
    if isinstance(value, Mapping):
        return any(map(_beyond_64_bits, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_beyond_64_bits, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _plain(value: Any) -> Any:
    """A value without tuples and NumPy's scalars, as which hyperparameter searches give numbers."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.item() if isinstance(value, np.generic) else value
