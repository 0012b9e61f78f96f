"""Types of settings that Python's own do not describe: yes or no, numbers, intervals, lists of names.

Each is an annotation for pydantic. ``Says`` gives the words for it; the other annotations are put into words by
:mod:`recbole_mgr.settings.wording`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Lt
from pydantic import AfterValidator, BeforeValidator, Strict

from recbole_mgr.files import is_text_encoding


class Says(NamedTuple):
    """The words for a type: what a value ``must be``, and its short name in comments and tables."""

    rule: str
    name: str


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf"
_INTERVAL = re.compile(rf"\s*[\[(]\s*({_NUMBER})\s*,\s*({_NUMBER})\s*[\])]\s*")


def _where(legal: Callable[[str], bool]) -> AfterValidator:
    """Accept the texts that ``legal`` says; the error has no words of its own, as ``Says`` has the rule."""

    def check(text: str) -> str:
        if not legal(text):
            raise ValueError
        return text

    return AfterValidator(check)


def _are_intervals(text: str) -> bool:
    ends = [_INTERVAL.fullmatch(part) for part in text.split(";")]
    return all(end and float(end[1]) <= float(end[2]) for end in ends)


def _one_is_a_list(value: Any) -> Any:
    return [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def _joined_ids(value: Any) -> Any:
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool) or not isinstance(part, (int, str)) for part in parts):
        return value
    return ",".join(map(str, parts))


# Any spelling of yes and no: True, yes, on, 1 and False, no, off, 0, as words too.
Switch = Annotated[bool, Strict(False), Says("True or False (yes or no, on or off, 1 or 0)", "bool")]
Number = int | float  # finite; a whole number stays one
Positive = Annotated[Number, Gt(0)]
Probability = Annotated[Number, Ge(0), Lt(1)]
Whole = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
Name = Annotated[str, _where(lambda text: bool(text.strip())), Says("a name", "str")]
Names = Annotated[list[Name], BeforeValidator(_one_is_a_list)]  # a single name may stand for the list of it
Counts = Annotated[list[Count], BeforeValidator(_one_is_a_list)]
ColumnLists = Annotated[
    dict[str, Literal["*"] | Names],
    Says("a dictionary of lists of columns such as {inter: [user_id, item_id]}", "dict"),
]
Interval = Annotated[
    str, _where(_are_intervals), Says("an interval such as [5,inf) or (0,10], or several parted by ;", "str")
]
Encoding = Annotated[str, _where(is_text_encoding), Says("an encoding that Python knows, such as utf-8", "str")]
Separator = Annotated[
    str,
    BeforeValidator(lambda value: "\t" if value == "\\t" else value),  # as a shell passes it on
    _where(lambda text: len(text) == 1 and text not in '\r\n"'),
    Says("one character, such as a tab (written \\t) or a comma", "str"),
]
Mode = Annotated[
    str,
    _where(lambda text: bool(re.fullmatch(r"full|labeled|(uni|pop)[1-9]\d*", text))),
    Says("full, labeled, or uniN or popN with N sampled items, such as uni100", "str"),
]
DeviceIds = Annotated[
    str,
    BeforeValidator(_joined_ids),
    _where(lambda text: bool(re.fullmatch(r"(\d+(\s*,\s*\d+)*)?", text))),
    Says("numbers of GPUs such as 0 or 0,1, or '' for none", "str"),
]
