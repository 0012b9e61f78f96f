"""Hints at what a mistyped name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near_miss(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` with the known name that is nearest to an unknown one, empty where none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
