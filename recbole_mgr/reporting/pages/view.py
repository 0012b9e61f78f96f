"""From what is named on the command line (data sets, runs, tables of results) to a site."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_mgr.checking.vectors import find_modalities
from recbole_mgr.data.features import FeatureFile, read_feature_file
from recbole_mgr.data.interactions import Interactions
from recbole_mgr.data.item_file import read_all_item_texts
from recbole_mgr.data.provenance import read_provenance
from recbole_mgr.data.semantic_id_file import read_table_file
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat
from recbole_mgr.documents import read_yaml
from recbole_mgr.reporting.analysis.runs import read_runs
from recbole_mgr.reporting.pages import data_facts
from recbole_mgr.reporting.pages.comparison_page import add_comparison_page
from recbole_mgr.reporting.pages.data_page import add_data_page
from recbole_mgr.reporting.pages.ids_page import NEAR, LabelledTable, add_ids_page, write_neighbours
from recbole_mgr.reporting.pages.items import ShownItems, items_of_data, items_of_run, write_items
from recbole_mgr.reporting.pages.neighbours import Nearest, nearest_by_vectors
from recbole_mgr.reporting.pages.sequences import TestedUsers, sequences_of_data, sequences_of_run, tested_users
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.reporting.pages.tasks_page import add_tasks_page
from recbole_mgr.reporting.pages.users_page import add_users_page
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.run.results import RunResult
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.serving.run_directory import Run, read_run
from recbole_mgr.serving.run_files import ITEMS_FILE, SETTINGS_FILE, TABLE_FILE, read_about


class DataFolder(NamedTuple):
    """A data set on disk, and how its atomic files are written."""

    path: Path
    name: str
    format: AtomicFormat = DEFAULT_FORMAT


class View(NamedTuple):
    """Pages that have been written: the one to open first, and the items by their numbers on the pages."""

    first: Path
    item_tokens: list[str]


def find_targets(
    targets: Sequence[str], data_path: Path, format: AtomicFormat = DEFAULT_FORMAT
) -> tuple[DataFolder | None, list[Path]]:
    """Tell data sets from runs.

    Args:
        targets: names of data sets, folders of data sets, run directories, folders above them, or results.
        data_path: folder of data sets.
        format: of the atomic files of a data set that is named.

    Returns:
        The data set (where none is named: the one that the first run was trained on, if it is there), and the folders
        of runs.

    Raises:
        ValueError: If a target is none of these, or two data sets are named.
    """
    data: list[DataFolder] = []
    runs: list[Path] = []
    for target in targets:
        path = Path(target)
        if (found := _data_folder(path, format)) or (found := _data_folder(data_path / target, format)):
            data.append(found)
        elif path.is_dir():
            runs.append(path)
        else:
            raise ValueError(
                f"{target}: no data set ({data_path / target}/{path.name}.inter), no run directory and no folder of "
                "results; name one of these (--data_path says where data sets are)"
            )
    if len(data) > 1:
        raise ValueError(f"{data[0].name} and {data[1].name}: one view shows one data set; call it for each")
    return (data[0] if data else None), runs


def _data_folder(path: Path, format: AtomicFormat) -> DataFolder | None:
    name = path.resolve().name
    return DataFolder(path, name, format) if (path / f"{name}.inter").is_file() else None


def write_view(
    data: DataFolder | None,
    run_paths: Sequence[Path],
    output: Path,
    *,
    single_file: bool = False,
    num_users: int = 200,
    service_runs: Sequence[str] = (),
) -> View:
    """Write the pages.

    Args:
        data: the data set, or None for that of the runs.
        run_paths: run directories, folders above them, or tables of results.
        output: folder of the pages.
        single_file: write one page that holds everything.
        num_users: test users shown one by one at most; 0 for none.
        service_runs: names of the runs of a service that the pages will be a part of; they get a page to try it.

    Returns:
        Where the pages are.

    Raises:
        ValueError: If there is nothing to show, or a file is damaged; naming it.
    """
    runs: list[tuple[Path, RunResult]] = []
    comparison: Comparison | None = None
    if run_paths:
        comparison, found = read_runs(run_paths)
        runs = [(run.folder, run.result) for run in found]
    data = data or next(filter(None, (_data_of_run(folder) for folder, _ in runs)), None)
    label = read_provenance(data.path, data.name).label if data else runs[0][1].data
    site = Site(output, label=label, single_file=single_file)
    tables = _tables(data, runs)
    interactions = data_facts.read_data_interactions(*data) if data else None
    items = _items(data, interactions, runs, tables)
    counts = None if interactions is None else _counts(interactions, items)
    vectors = _vectors(data) if data else {}
    shown = write_items(site, items, counts)
    nearest: dict[str, Nearest] = {}
    for modality, file in vectors.items():
        nearest[modality] = nearest_by_vectors(file, items.tokens, NEAR)
        write_neighbours(site, modality, nearest[modality])
    shown |= {"modalities": list(vectors), "tables": len(tables)}
    if data:
        add_data_page(site, *data, interactions, items, shown, vectors, nearest)
    if tables:
        add_ids_page(site, tables, items, shown, counts)
    if comparison is not None and comparison.ranked:
        run_dirs = [folder for folder, _ in runs]
        tested = _tested(comparison, run_dirs, interactions, items)
        add_comparison_page(site, comparison, run_dirs, tested)
        if tested is not None and num_users:
            add_users_page(site, comparison, run_dirs, tested, items, shown, num_users=num_users)
    if num_users and (personal := _personal_runs(runs)):
        add_tasks_page(site, personal, items, shown)
    if not site.pages:
        raise ValueError("nothing to show: no data set, and no run with semantic IDs")
    if service_runs:
        config = {"items": shown, "runs": list(service_runs)}
        site.page("try", "Try it", "try.html", config=config, runs=list(service_runs))
        site.pages.insert(0, site.pages.pop())
    return View(site.write(), items.tokens)


def _data_of_run(folder: Path) -> DataFolder | None:
    """The data set that a run was trained on, where its folder still is what its settings say."""
    settings = read_yaml(folder / SETTINGS_FILE, remedy="copy the run directory again")
    path, name = Path(str(settings.get("data_path"))), str(settings.get("dataset"))
    return DataFolder(path, name, AtomicFormat.of(settings)) if (path / f"{name}.inter").is_file() else None


def _personal_runs(runs: Sequence[tuple[Path, RunResult]]) -> dict[str, Run]:
    """Label -> the first run of each row of UniMP that keeps its users' histories."""
    found: dict[str, Run] = {}
    for folder, result in runs:
        if result.label not in found and read_about(folder)["model"] == "UniMP":
            run = read_run(folder)
            if run.histories is not None:
                found[result.label] = run
    return found


def _tables(data: DataFolder | None, runs: Sequence[tuple[Path, RunResult]]) -> list[LabelledTable]:
    """Different tables of semantic IDs, named by the rows that have them."""
    found: dict[str, tuple[list[str], SemanticIdTable]] = {}
    files = [(result.label, folder / TABLE_FILE) for folder, result in runs]
    if data:
        files.append((f"{data.name}.semantic_ids.tsv", data.path / f"{data.name}.semantic_ids.tsv"))
    for label, path in files:
        if path.is_file():
            table = SemanticIdTable.load(path, item_tokens=read_table_file(path).item_tokens)
            labels, _ = found.setdefault(table.fingerprint, ([], table))
            if label not in labels:
                labels.append(label)
    return [LabelledTable(" / ".join(labels), table) for labels, table in found.values()]


def _items(
    data: DataFolder | None,
    interactions: Interactions | None,
    runs: Sequence[tuple[Path, RunResult]],
    tables: Sequence[LabelledTable],
) -> ShownItems:
    tokens = [token for labelled in tables for token in labelled.table.item_tokens]
    if data:
        return items_of_data(data.path, data.name, [*interactions.item_tokens, *tokens], data.format)
    texts = {}
    for folder, _ in runs:
        if (folder / ITEMS_FILE).is_file():
            texts = {**read_all_item_texts(folder / ITEMS_FILE).by_token(), **texts}
    return items_of_run(list(texts), list(texts.values()), None)


def _counts(interactions: Interactions, items: ShownItems) -> np.ndarray:
    """How often each item was taken, by its number."""
    counts = dict(zip(interactions.item_tokens, data_facts.item_counts(interactions).tolist(), strict=True))
    return np.array([counts.get(token, 0) for token in items.tokens], dtype=np.int64)


def _tested(
    comparison: Comparison,
    run_dirs: Sequence[Path],
    interactions: Interactions | None,
    items: ShownItems,
) -> TestedUsers | None:
    """What is known of the tested users: from the data set, or else from a run that keeps histories."""
    number_of = items.number_of()
    first = comparison.ranked[0]
    users, tokens = first.users.tolist(), first.targets.tolist()
    if any(token not in number_of for token in tokens):
        return None
    targets = [number_of[token] for token in tokens]
    sources = [] if interactions is None else [lambda: sequences_of_data(interactions, number_of)]
    sources += [partial(sequences_of_run, folder, users, number_of) for folder in run_dirs]
    for source in sources:
        if (tested := tested_users(source(), users, targets, len(items.tokens))) is not None:
            return tested
    return None


def _vectors(data: DataFolder) -> dict[str, FeatureFile]:
    """Modality -> vectors, of those that can be read as one vector an item; `check` names the others."""
    files = {}
    for modality in find_modalities(data.path, data.name):
        try:
            files[modality] = read_feature_file(data.path, data.name, modality, data.format)
        except ValueError:
            continue
    return files
