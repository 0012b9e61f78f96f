"""Figures of the pages: plain descriptions that plotly.js draws in the page's own colours, with their numbers as a
table for those who read them instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_POINTS = 400  # of a curve
_LABELS, _LETTERS = 8, 45  # below the bars of categories: more would stand upright or on each other


class Figure(NamedTuple):
    """A figure.

    Attributes:
        title: what is seen.
        data, layout: as plotly.js takes them; colours are named ``--text``, ``--image``, ... like the style sheet's.
        columns, rows: its numbers.
    """

    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    columns: list[str]
    rows: list[list[Any]]


def bars(
    title: str, x: Sequence[Any], y: Sequence[float], *, x_title: str, y_title: str, colour: str = "--accent"
) -> Figure:
    """One bar for each category."""
    data = [{"type": "bar", "x": list(x), "y": list(y), "marker": {"color": colour}}]
    layout = {"xaxis": {"title": {"text": x_title}}, "yaxis": {"title": {"text": y_title}}}
    if x and isinstance(x[0], str):
        most = max(2, min(_LABELS, _LETTERS // max(map(len, x))))
        named = list(x)[:: -(-len(x) // most)]
        layout["xaxis"] |= {"type": "category", "tickvals": named, "tickangle": 0, "showgrid": False}
    return Figure(title, data, layout, [x_title, y_title], [list(row) for row in zip(x, y, strict=True)])


def histogram(title: str, values: np.ndarray, *, x_title: str, y_title: str, most: int = 60) -> Figure:
    """Whole numbers counted; those beyond the 99th percentile in one last bar."""
    last = max(1, min(int(np.quantile(values, 0.99)), int(values.max())))
    step = max(1, -(-(last + 1) // most))
    counts = np.bincount(np.minimum(values, last + 1) // step)
    low = int(values.min() // step)
    names = [
        str(place * step) if step == 1 else f"{place * step}–{(place + 1) * step - 1}" for place in range(len(counts))
    ]
    if values.max() > last:
        names[-1] = f"≥ {(len(counts) - 1) * step}"
    return bars(title, names[low:], counts[low:].tolist(), x_title=x_title, y_title=y_title)


def curve(title: str, y: np.ndarray, *, x_title: str, y_title: str, log: bool = False) -> Figure:
    """A line over the places 1, 2, ..., thinned out where it is long."""
    places = np.unique(np.geomspace(1, len(y), min(len(y), _POINTS)).astype(np.int64)) if len(y) else np.empty(0, int)
    values = np.asarray(y)[places - 1]
    mode = "lines" if len(places) > 1 else "markers"
    data = [
        {"type": "scatter", "mode": mode, "x": places.tolist(), "y": values.tolist(), "line": {"color": "--accent"}}
    ]
    scale = {"type": "log", "dtick": 1} if log else {"type": "linear"}
    layout = {"xaxis": {"title": {"text": x_title}, **scale}, "yaxis": {"title": {"text": y_title}, **scale}}
    shown = np.linspace(0, len(places) - 1, min(len(places), 25)).astype(int)
    rows = [[int(places[n]), values[n].item()] for n in shown]
    return Figure(title, data, layout, [x_title, y_title], rows)
