"""The whole check of a data folder: every section, what each model can use, and the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from recbole_mgr.checking.interactions import CheckedInteractions, check_interaction_file
from recbole_mgr.checking.items import check_item_file
from recbole_mgr.checking.models import Inputs, model_needs
from recbole_mgr.checking.vectors import Vectors, check_vectors, find_modalities
from recbole_mgr.checking.verdict import (
    ERROR,
    LEVELS,
    NOTE,
    WARNING,
    Part,
    Problem,
    Verdict,
    found_faults,
    match_problems,
)
from recbole_mgr.data.interactions import ITEM, USER
from recbole_mgr.data.provenance import Provenance, no_such_data, read_provenance, require_data_name
from recbole_mgr.data.reviews import REVIEW, judged_reviews
from recbole_mgr.data.semantic_id_file import read_table_file
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat, read_header
from recbole_mgr.semantic_id.collisions import group_sizes
from recbole_mgr.semantic_id.table import described_sizes


class Checked(NamedTuple):
    """The verdict, and what plots are drawn from."""

    verdict: Verdict
    interactions: CheckedInteractions
    vectors: dict[str, Vectors]


def check_dataset(
    folder: Path, name: str, *, k: int = 5, pictures: int | None = 1000, format: AtomicFormat = DEFAULT_FORMAT
) -> Checked:
    """Check the files of a data set; what is wrong is collected, never raised.

    Args:
        folder: of the data set.
        name: of the data set.
        k: users and items with fewer interactions are counted.
        pictures: how many pictures are opened and decoded, drawn at random; None = all.
        format: how the atomic files are written.

    Raises:
        ValueError: If there is no such folder.
    """
    require_data_name(name)
    if not folder.is_dir():
        raise ValueError(no_such_data(folder / f"{name}.inter"))
    parts: dict[str, Part] = {}
    provenance, parts["provenance"] = _provenance(folder, name)
    interactions = check_interaction_file(folder / f"{name}.inter", k=k, format=format)
    parts["interactions"] = interactions.part
    items_of_inter = pl.Series([], dtype=pl.String)
    if interactions.item_counts is not None:
        items_of_inter = interactions.item_counts[ITEM]
        parts["provenance"].problems.extend(_wrong_counts(name, provenance, interactions.part.facts))
    items = check_item_file(folder / f"{name}.item", items_of_inter, pictures=pictures, format=format)
    parts["items"] = items.part
    tokens = set(items_of_inter)
    vectors = {
        modality: check_vectors(folder, name, modality, tokens, format) for modality in find_modalities(folder, name)
    }
    parts |= {f"vectors: {modality}": checked.part for modality, checked in vectors.items()}
    semantic_ids = folder / f"{name}.semantic_ids.tsv"
    blocks: list[str] = []
    if semantic_ids.is_file():
        blocks, parts["semantic IDs"] = _semantic_ids(semantic_ids, tokens)
    review = folder / f"{name}.review"
    if review.is_file():
        parts["reviews"] = _reviews(review, interactions, format)
    usable = interactions.item_counts is not None and all(p.level != ERROR for p in interactions.part.problems)
    inputs = Inputs(
        folder=folder,
        name=name,
        interactions=usable,
        modalities=[modality for modality, checked in vectors.items() if checked.usable and not checked.grid],
        grids=[modality for modality, checked in vectors.items() if checked.usable and checked.grid],
        semantic_ids=semantic_ids if blocks else None,
        coded=blocks,
        fields=items.fields,
        pictures=items.pictures,
        ratings=usable and read_header(folder / f"{name}.inter", format).get(format.rating) == "float",
        reviews=review.is_file(),
    )
    problems = sorted((p for part in parts.values() for p in part.problems), key=lambda p: LEVELS.index(p.level))
    sections = {section: part.facts for section, part in parts.items() if part.facts}
    verdict = Verdict(provenance.label if provenance else name, sections, model_needs(inputs), problems)
    return Checked(verdict, interactions, vectors)


def _provenance(folder: Path, name: str) -> tuple[Provenance | None, Part]:
    where = f"{name}.provenance.yaml"
    try:
        provenance = read_provenance(folder, name)
    except ValueError as error:
        return None, Part({}, [Problem(ERROR, where, str(error), "write 'key: value' lines")])
    problems = []
    if not provenance.details:
        remedy = "write source, licence and synthetic: true or false"
        problems.append(Problem(NOTE, where, "does not say where the data comes from", remedy))
    said = {key: provenance.details[key] for key in ("source", "licence", "synthetic") if key in provenance.details}
    return provenance, Part({**said, "fingerprint": provenance.fingerprint}, problems)


def _wrong_counts(name: str, provenance: Provenance | None, facts: dict[str, Any]) -> list[Problem]:
    details = provenance.details if provenance else {}
    return [
        Problem(
            WARNING,
            f"{name}.provenance.yaml",
            f"says {details[key]} {key}, .inter has {facts[key]}",
            "correct one of them",
        )
        for key in ("users", "items", "interactions")
        if key in details and details[key] != facts[key]
    ]


def _semantic_ids(path: Path, interaction_items: set[str]) -> tuple[list[str], Part]:
    """Modalities whose codes can be used, and the section."""
    try:
        table = read_table_file(path)
        described_sizes(path, table)  # a run refuses another content than is described
    except (ValueError, OSError) as error:
        return [], Part({}, [Problem(ERROR, path.name, str(error), "correct the file, or take it away")])
    facts: dict[str, Any] = {"items": len(table.item_tokens)}
    problems: list[Problem] = []
    for modality, codes in table.blocks.items():
        sizes = group_sizes(codes)
        facts[modality] = {"digits": codes.shape[1], "largest code": int(codes.max()), "distinct IDs": len(sizes)}
        colliding, largest = int(sizes[sizes > 1].sum()), int(sizes.max())
        facts[modality] |= {"colliding items": colliding, "largest group": largest}
        if colliding:
            what = (
                f"{colliding:,} of {len(codes):,} items share all {modality} codes with another, up to {largest:,} one "
                "ID; a last digit, which says nothing of the item, tells them apart"
            )
            remedy = "more codes or levels, or vectors that differ"
            problems.append(Problem(WARNING if colliding * 10 > len(codes) else NOTE, path.name, what, remedy))
    absent = match_problems(
        path.name,
        interaction_items,
        table.item_tokens,
        lacking="items of .inter have no semantic ID",
        remedy="add a row for each",
        level=ERROR,
    )
    return [] if absent else list(table.blocks), Part(facts, problems + absent)


def _reviews(path: Path, interactions: CheckedInteractions, format: AtomicFormat) -> Part:
    try:
        rows, faults = judged_reviews(path, format)
    except ValueError as error:
        return Part({}, [Problem(ERROR, path.name, str(error), "write the file as dataset_atomic/README.md says")])
    facts = {"rows": rows.height, "empty": int((rows[REVIEW] == "").sum()), "users": rows[USER].n_unique()}
    problems = found_faults(path, faults)
    if interactions.item_counts is not None and not rows.is_empty():
        known = rows[ITEM].is_in(interactions.item_counts[ITEM].implode())
        facts["of items that .inter has"] = int(known.sum())
        if not known.any():
            what = f"no review is of an item of .inter, which has {interactions.item_counts[ITEM].min()!r}; "
            remedy = "write the ids alike in both files: leading zeros, upper and lower case"
            problems.append(Problem(ERROR, path.name, f"{what}this file has {rows[ITEM].min()!r}", remedy))
    return Part(facts, problems)
