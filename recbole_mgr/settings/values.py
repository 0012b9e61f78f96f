"""Types of settings that Python's own do not describe: yes or no, numbers, intervals, lists of names.

Each is an annotation for pydantic. ``Says`` gives the words for it; the other annotations are put into words by
:mod:`recbole_mgr.settings.wording`.
"""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt
from pydantic import AfterValidator, BeforeValidator, Strict


class Says(NamedTuple):
    """The words for a type: what a value ``must be``, and its short name in comments and tables."""

    rule: str
    name: str


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf"
_INTERVAL = re.compile(rf"\s*[\[(]\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])]\s*")


def _interval(text: str) -> str:
    for part in text.split(";"):
        ends = _INTERVAL.fullmatch(part)
        if not ends or float(ends[1]) > float(ends[2]):
            raise ValueError("not an interval")
    return text


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise ValueError("unknown encoding") from error
    return name


def _separator(text: str) -> str:
    text = "\t" if text == "\\t" else text  # as a shell passes it on
    if len(text) != 1 or text in '\r\n"':
        raise ValueError("not a separator")
    return text


def _mode(text: str) -> str:
    if not re.fullmatch(r"full|labeled|(uni|pop)[1-9]\d*", text):
        raise ValueError("unknown mode")
    return text


def _one_is_a_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def _device_ids(value: Any) -> Any:
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool) or not isinstance(part, (int, str)) for part in parts):
        return value
    return ",".join(map(str, parts))


def _device_list(text: str) -> str:
    if not re.fullmatch(r"(\d+(\s*,\s*\d+)*)?", text):
        raise ValueError("not a list of devices")
    return text


# Any spelling of yes and no: True, yes, on, 1 and False, no, off, 0, as words too.
Switch = Annotated[bool, Strict(False), Says("True or False (yes or no, on or off, 1 or 0)", "bool")]
Number = int | float  # finite; a whole number stays one
Positive = Annotated[Number, Gt(0)]
Whole = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
Name = Annotated[str, AfterValidator(lambda text: text if text.strip() else _raise("empty")), Says("a name", "str")]
Names = Annotated[list[Name], BeforeValidator(_one_is_a_list)]  # a single name may stand for the list of it
Counts = Annotated[list[Count], BeforeValidator(_one_is_a_list)]
Interval = Annotated[
    str, AfterValidator(_interval), Says("an interval such as [5,inf) or (0,10], or several parted by ;", "str")
]
ColumnLists = Annotated[
    dict[str, Literal["*"] | Names],
    Says("a dictionary of lists of columns such as {inter: [user_id, item_id]}", "dict"),
]
Encoding = Annotated[str, AfterValidator(_encoding), Says("an encoding that Python knows, such as utf-8", "str")]
Separator = Annotated[
    str, AfterValidator(_separator), Says("one character, such as a tab (written \\t) or a comma", "str")
]
Mode = Annotated[
    str, AfterValidator(_mode), Says("full, labeled, or uniN or popN with N sampled items, such as uni100", "str")
]
DeviceIds = Annotated[
    str,
    BeforeValidator(_device_ids),
    AfterValidator(_device_list),
    Says("numbers of GPUs such as 0 or 0,1, or '' for none", "str"),
]


def _raise(problem: str) -> Any:
    raise ValueError(problem)
