"""The page of a comparison: the table with its intervals, the tests, learning curves, accuracy by group, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from recbole_mgr.documents import read_json
from recbole_mgr.integration.resume import EPOCHS_FILE
from recbole_mgr.reporting.pages.comparison_facts import (
    Interval,
    RowFacts,
    accuracy_by_group,
    gains,
    row_facts,
)
from recbole_mgr.reporting.pages.figures import Figure
from recbole_mgr.reporting.pages.sequences import TestedUsers, groups_of
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.run.comparison import Comparison

_COLOURS = ("--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6")


def add_comparison_page(
    site: Site, comparison: Comparison, run_dirs: Sequence[Path], tested: TestedUsers | None
) -> None:
    """Add ``comparison.html``.

    Args:
        site: gets the page.
        comparison: results of at least one run that recommends.
        run_dirs: of the comparison's results, in their order.
        tested: what is known of the users, for accuracy by group; None where it is not known.
    """
    facts = row_facts(comparison)
    first = comparison.ranked[0]
    figures = [_means(facts, comparison.cut)]
    if len(facts) > 1:
        figures.append(_differences(facts, comparison.cut))
    figures += _learning(comparison, run_dirs)
    values = gains(comparison)
    groups = []
    if tested is not None:
        for question, answers in groups_of(tested).items():
            groups.append(_by_group(question, answers, values, comparison.cut))
    rows = comparison.full_table()
    columns = list(dict.fromkeys(column for row in rows for column in row))
    site.page(
        "comparison",
        "Comparison",
        "comparison.html",
        facts=facts,
        cut=comparison.cut,
        users=len(first.users),
        num_items=first.num_items,
        split=first.settings["eval_args"],
        tests={label: test._asdict() for label, test in comparison.paired_tests().items()},
        reference=facts[-1].label,
        figures=figures,
        groups=groups,
        columns=columns,
        rows=[[row.get(column, "") for column in columns] for row in rows],
        environment=comparison.results[0].environment,
    )


_LEAST_HEIGHT = 272  # pixels of a figure, that of the style sheet


def _dots(name: str, labels: Sequence[str], found: Sequence[Interval], colour: str, shift: float = 0.0) -> dict:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [interval.mean for interval in found],
        "y": [place + shift for place in range(len(labels))],
        "text": list(labels),
        "hovertemplate": "%{text}: %{x:.4f}<extra>" + "%{fullData.name}" + "</extra>",
        "marker": {"color": colour, "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [interval.high - interval.mean for interval in found],
            "arrayminus": [interval.mean - interval.low for interval in found],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
    }


def _category_axis(labels: Sequence[str]) -> dict:
    places = list(range(len(labels)))
    return {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [_folded(label) for label in labels],
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
    }


def _folded(label: str, width: int = 26) -> str:
    """A label in lines of at most about ``width`` characters; plotly takes <br> for a line break, and what else looks
    like markup is made harmless."""
    lines = [""]
    for word in label.replace("<", "‹").replace(">", "›").split():
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def _means(facts: list[RowFacts], cut: int) -> Figure:
    labels = [row.label for row in facts]
    data = [_dots(f"NDCG@{cut}", labels, [row.ndcg for row in facts], "--accent")]
    layout = {
        "xaxis": {"title": {"text": f"NDCG@{cut}"}, "rangemode": "tozero"},
        "yaxis": _category_axis(labels),
        "showlegend": False,
    }
    rows = [[row.label, f"{row.ndcg.mean:.4f}", f"{row.ndcg.low:.4f} to {row.ndcg.high:.4f}"] for row in facts]
    return Figure(
        f"NDCG@{cut} with its 95 % interval over users", data, layout, ["Model", "mean", "95 % interval"], rows
    )


def _differences(facts: list[RowFacts], cut: int) -> Figure:
    others = facts[:-1]
    labels = [row.label for row in others]
    data = [_dots("difference", labels, [row.difference for row in others], "--accent")]
    layout = {
        "xaxis": {"title": {"text": f"difference of NDCG@{cut}"}},
        "yaxis": _category_axis(labels),
        "showlegend": False,
        "shapes": [
            {
                "type": "line",
                "x0": 0,
                "x1": 0,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "--muted", "width": 1},
            }
        ],
    }
    rows = [
        [row.label, f"{row.difference.mean:+.4f}", f"{row.difference.low:+.4f} to {row.difference.high:+.4f}"]
        for row in others
    ]
    return Figure(
        f"{facts[-1].label} against the others, user by user", data, layout, ["Model", "mean", "95 % interval"], rows
    )


def _learning(comparison: Comparison, run_dirs: Sequence[Path]) -> list[Figure]:
    """Validation metric by epoch, where the run directories have logged it."""
    data, rows, metric = [], [], ""
    labels = list(comparison.rows)
    for result, folder in zip(comparison.results, run_dirs, strict=True):
        path = folder / EPOCHS_FILE
        if not path.is_file() or result.label not in labels:
            continue
        epochs = read_json(path, remedy="remove it; the learning curves go without this run")
        metric = str(result.settings["valid_metric"])
        key = metric.lower()
        points = [(entry["epoch"] + 1, entry["valid"][key]) for entry in epochs if key in entry["valid"]]
        if not points:
            continue
        name = result.label if len(comparison.rows[result.label]) == 1 else f"{result.label}, seed {result.seed}"
        x, y = (list(column) for column in zip(*points, strict=True))
        colour = _COLOURS[labels.index(result.label) % len(_COLOURS)]
        mode = "lines+markers" if len(points) < 40 else "lines"
        data.append(
            {"type": "scatter", "mode": mode, "name": _folded(name, 80), "x": x, "y": y, "line": {"color": colour}}
        )
        best = int(np.argmax(y))
        rows.append([name, len(points), x[best], f"{y[best]:.4f}"])
    if not data:
        return []
    layout = {
        "xaxis": {"title": {"text": "epoch"}, "dtick": max(1, max(max(line["x"]) for line in data) // 8)},
        "yaxis": {"title": {"text": f"{metric} on validation"}, "rangemode": "tozero"},
        "showlegend": True,
    }
    return [Figure("Learning curves", data, layout, ["Run", "validations", "best epoch", metric], rows)]


def _by_group(question: str, answers: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], cut: int) -> Figure:
    sizes = {answer: int(rows.sum()) for answer, rows in answers.items()}
    names = [f"{answer} ({size:,})" for answer, size in sizes.items()]
    found = accuracy_by_group(values, answers)
    spread = np.linspace(-0.25, 0.25, len(found)) if len(found) > 1 else [0.0]
    data = [
        _dots(_folded(label, 80), names, intervals, _COLOURS[place % len(_COLOURS)], float(spread[place]))
        for place, (label, intervals) in enumerate(found.items())
    ]
    layout = {
        "xaxis": {"title": {"text": f"NDCG@{cut}"}, "rangemode": "tozero"},
        "yaxis": _category_axis(names),
        "showlegend": len(found) > 1,
        "height": max(_LEAST_HEIGHT, 60 + 20 * len(found) + (14 * len(found) + 10) * len(names)),
    }
    rows = [
        [name, *(f"{intervals[place].mean:.4f}" for intervals in found.values())] for place, name in enumerate(names)
    ]
    return Figure(question, data, layout, ["Users", *found], rows)
