"""The page of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recbole_mgr.checking.check import check_dataset
from recbole_mgr.data.features import FeatureFile
from recbole_mgr.data.interactions import Interactions
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.preparation.filtering import Counts
from recbole_mgr.reporting.pages import data_facts
from recbole_mgr.reporting.pages.figures import Figure, bars, curve, histogram
from recbole_mgr.reporting.pages.items import ShownItems
from recbole_mgr.reporting.pages.neighbours import Nearest, look_alikes
from recbole_mgr.reporting.pages.site import Site

ALIKE = 0.95  # cosine, once what all items have in common is taken away
_PAIRS, _NAMES = 60, 200  # shown at most


def add_data_page(
    site: Site,
    folder: Path,
    name: str,
    format: AtomicFormat,
    data: Interactions,
    items: ShownItems,
    shown: Mapping[str, Any],
    vectors: Mapping[str, FeatureFile],
    nearest: Mapping[str, Nearest],
) -> None:
    """Add ``data.html``.

    Args:
        site: gets the page.
        folder, name, format: of the data set.
        data: its interactions.
        items: all items.
        shown: what `write_items` returned.
        vectors: modality -> its file.
        nearest: modality -> nearest items.
    """
    verdict = check_dataset(folder, name, pictures=200, format=format).verdict
    lengths, counts = data_facts.history_lengths(data), data_facts.item_counts(data)
    targets = data_facts.targets(data)
    cores = data_facts.cores(data)
    site.page(
        "data",
        "Data",
        "data.html",
        provenance=verdict.sections.get("provenance", {}),
        problems=[problem._asdict() for problem in verdict.problems],
        models={model: needs._asdict() for model, needs in verdict.models.items()},
        facts=[
            ("users", len(lengths), f"median of {np.median(lengths):g} interactions"),
            ("items", len(counts), f"median of {np.median(counts):g} interactions"),
            ("interactions", len(data.users), data_facts.time_span(data)),
            ("pictures", shown["pictured"], f"of {len(items.tokens):,} items"),
        ],
        targets=targets,
        figures=_figures(data, lengths, counts, cores),
        alike={modality: look_alikes(found, ALIKE, _PAIRS) for modality, found in nearest.items()},
        alike_at=ALIKE,
        missing=_missing(data, items, vectors),
        items=shown,
    )


def _figures(data: Interactions, lengths: np.ndarray, counts: np.ndarray, cores: list[Counts]) -> list[Figure]:
    kinds = (("users", "--series-1"), ("items", "--series-2"), ("interactions", "--series-3"))
    core = Figure(
        "What each k of the k-core keeps",
        [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": kind,
                "x": list(data_facts.CORES),
                "y": [getattr(entry, kind) / max(1, getattr(cores[0], kind)) for entry in cores],
                "line": {"color": colour},
            }
            for kind, colour in kinds
        ],
        {"xaxis": {"title": {"text": "k"}, "dtick": 1}, "yaxis": {"tickformat": ".0%", "rangemode": "tozero"}},
        ["k", "users", "items", "interactions"],
        [[k, *entry[1:]] for k, entry in zip(data_facts.CORES, cores, strict=True)],
    )
    figures = [core]
    spans = data_facts.over_time(data)
    if spans:
        figures.append(bars("Interactions over time", *spans, x_title="from", y_title="interactions"))
    figures += [
        histogram("Interactions of a user", lengths, x_title="interactions", y_title="users"),
        curve("Popularity of items", np.sort(counts)[::-1], x_title="place", y_title="interactions", log=True),
    ]
    return figures


def _missing(
    data: Interactions, items: ShownItems, vectors: Mapping[str, FeatureFile]
) -> list[tuple[str, int, list[int]]]:
    """What is missing, of how many items that were taken, and the numbers of the most popular ones."""
    number_of = items.number_of()
    taken = np.argsort(-data_facts.item_counts(data), kind="stable")
    numbers = [number_of[data.item_tokens[item]] for item in taken]  # most popular first
    lacking = {
        "picture": [number for number in numbers if items.pictures[number] is None],
        "title": [number for number in numbers if not items.titles[number]],
    }
    for modality, file in vectors.items():
        have = set(file.item_tokens)
        lacking[f"{modality} vector"] = [number for number in numbers if items.tokens[number] not in have]
    return [(what, len(found), found[:_NAMES]) for what, found in lacking.items()]
