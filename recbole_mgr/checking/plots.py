"""Pages of plots that need no network to look at."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from recbole_mgr.checking.check import Checked
from recbole_mgr.cleaners import for_html
from recbole_mgr.files import replacing

_BINS = 60
_POINTS = 2000  # of a curve, so that a page of ten million items stays small


def write_plots(checked: Checked, folder: Path) -> list[Path]:
    """Write a page for each plot: lengths of histories, popularity of items, interactions over time, norms.

    Returns:
        The pages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    label = for_html(checked.verdict.label)
    figures: dict[str, go.Figure] = {}
    interactions = checked.interactions
    if interactions.item_counts is not None:
        figures["history_lengths"] = _bars(interactions.history_lengths, f"{label}: interactions of a user", "users")
        counts = interactions.item_counts["len"].to_numpy()  # descending
        ranks = np.unique(np.geomspace(1, len(counts), _POINTS).astype(np.int64))
        figure = go.Figure(go.Scatter(x=ranks, y=counts[ranks - 1], mode="lines"))
        figure.update_layout(title=f"{label}: popularity of items", xaxis_title="rank", yaxis_title="interactions")
        figure.update_xaxes(type="log").update_yaxes(type="log")
        figures["item_popularity"] = figure
        figures["interactions_over_time"] = _bars(
            interactions.times, f"{label}: time of interactions", "interactions", dates=interactions.unix
        )
    for modality, vectors in checked.vectors.items():
        if len(vectors.norms):
            figures[f"norms_{modality}"] = _bars(vectors.norms, f"{label}: norms of {modality} vectors", "items")
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.html")
        with replacing(paths[-1]) as part:
            figure.write_html(part, include_plotlyjs="directory")
    return paths


def _bars(values: np.ndarray, title: str, counted: str, *, dates: bool = False) -> go.Figure:
    """A histogram, counted here: the page holds bars and not every value."""
    counts, edges = np.histogram(values, bins=_BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    places = [datetime.fromtimestamp(middle, tz=timezone.utc) for middle in middles] if dates else middles
    return go.Figure(go.Bar(x=places, y=counts)).update_layout(title=title, yaxis_title=counted, bargap=0)
