"""Figures of the analyses, as pages that need no network to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from recbole_mgr.cleaners import for_html
from recbole_mgr.files import replacing
from recbole_mgr.reporting.analysis.overlap import Overlap

MOST_SETS = 25  # of an UpSet figure, the largest ones
_DOT, _NO_DOT = "#1f4e79", "#dddddd"


def grouped_bars(
    title: str, axis: str, categories: Sequence[str], series: Mapping[str, Sequence[tuple[float, float]]]
) -> go.Figure:
    """Bars with standard deviations.

    Args:
        title, axis: of the figure and of what the bars measure.
        categories: one group of bars each.
        series: name -> mean and standard deviation in each category; NaN leaves a bar or its deviation out.
    """
    figure = go.Figure(layout={"title": title, "yaxis_title": axis, "barmode": "group"})
    for name, values in series.items():
        means, deviations = zip(*values, strict=True)
        error = {"array": [0 if math.isnan(deviation) else deviation for deviation in deviations]}
        figure.add_bar(
            name=for_html(name), x=[for_html(category) for category in categories], y=list(means), error_y=error
        )
    return figure


def upset(found: Overlap, title: str) -> go.Figure:
    """Bars of the shares of users found by exactly the variants that are dotted below each bar; those that none finds
    would dwarf all others, so the title tells of them."""
    sets = [(names, share) for names, share in found.exclusive.items() if names][:MOST_SETS]
    title = f"{title} (none finds {found.exclusive.get((), 0.0):.1%} of users)"
    places = list(range(len(sets)))
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.02)
    shares = [share for _, share in sets]
    labels = [f"{share:.2%}" for share in shares]
    figure.add_bar(x=places, y=shares, text=labels, textposition="outside", marker_color=_DOT, row=1, col=1)
    for label in found.labels:
        colours = [_DOT if label in names else _NO_DOT for names, _ in sets]
        dots = {"color": colours, "size": 12}
        figure.add_scatter(x=places, y=[for_html(label)] * len(sets), mode="markers", marker=dots, row=2, col=1)
    figure.update_layout(title=title, showlegend=False, yaxis_title="share of users", yaxis2_autorange="reversed")
    return figure.update_xaxes(showticklabels=False)


def write_figure(figure: go.Figure, path: Path) -> None:
    """Write a page; plotly's script stands once beside all pages of a folder."""
    with replacing(path) as part:
        figure.write_html(part, include_plotlyjs="directory")
