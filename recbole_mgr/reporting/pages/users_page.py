"""The page of users: history, target, the lists of several models side by side, and how each list came about."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recbole_mgr.cleaners import for_terminal
from recbole_mgr.integration.registry import is_generative
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.reporting.pages.items import ShownItems
from recbole_mgr.reporting.pages.sequences import TestedUsers
from recbole_mgr.reporting.pages.site import Site
from recbole_mgr.run.comparison import Comparison
from recbole_mgr.serving.beams import beams_of, plain_beams
from recbole_mgr.serving.recommender import load
from recbole_mgr.serving.run_directory import read_run
from recbole_mgr.serving.run_files import ABOUT_FILE, read_about

PER_CHUNK = 20  # users
_LENGTH = 10  # of a list
_HISTORY = 40  # items of a history that are shown, the last ones
_NOTHING = {"items": [], "scores": [], "levels": [], "kept": [], "lost": None, "priors": [], "parts": {}}  # of a list

logger = logging.getLogger(__name__)


class _Row(NamedTuple):
    label: str
    ranks: np.ndarray  # [U], of the first seed
    run_dir: Path


def add_users_page(
    site: Site,
    comparison: Comparison,
    run_dirs: Sequence[Path],
    tested: TestedUsers,
    items: ShownItems,
    shown: Mapping[str, Any],
    *,
    num_users: int,
) -> None:
    """Add ``users.html`` and its chunks.

    Args:
        site: gets the page.
        comparison: results.
        run_dirs: of the results, in their order.
        tested: the users' histories and targets, in the order of the first result.
        items: all items.
        shown: what `write_items` returned.
        num_users: how many are shown at most; half of them such that the rows disagree, as far as there are any.
    """
    rows = _rows(comparison, run_dirs)
    users = comparison.ranked[0].users
    chosen = _sample(rows, comparison.cut, num_users)
    histories, targets = [tested.histories[place] for place in chosen], tested.targets[chosen]
    networks = [_network(row.run_dir) for row in rows]
    lists = [
        _lists_without_beams(row.run_dir, users[chosen].tolist(), histories, items)
        if network is None
        else _lists(network, histories, targets, items)
        for row, network in zip(rows, networks, strict=True)
    ]
    shown_users = [
        {
            "history": history[-_HISTORY:].tolist(),
            "length": len(history),
            "seen": sorted(set(history.tolist())),
            "lists": [found[place] if found else None for found in lists],
        }
        for place, history in enumerate(histories)
    ]
    for chunk, start in enumerate(range(0, len(shown_users), PER_CHUNK)):
        site.chunk(f"lists-{chunk}", shown_users[start : start + PER_CHUNK])
    index = {
        "users": users[chosen].tolist(),
        "targets": targets.tolist(),
        "repeated": [bool(target in history) for history, target in zip(histories, targets.tolist(), strict=True)],
        "ranks": [row.ranks[chosen].tolist() for row in rows],
    }
    site.chunk("users", index)
    config = {
        "items": shown,
        "rows": [row.label for row in rows],
        "cut": comparison.cut,
        "deepest": max(comparison.ranked[0].settings["topk"]),
        "per_chunk": PER_CHUNK,
        "digits": [[] if network is None else _digits(network) for network in networks],
    }
    site.page("users", "Users", "users.html", config=config, shown=len(chosen), users=len(users), cut=comparison.cut)


def _rows(comparison: Comparison, run_dirs: Sequence[Path]) -> list[_Row]:
    """The first seed of each row, users in the order of the first result."""
    order = comparison.ranked[0].users.tolist()
    folder_of = {id(result): folder for result, folder in zip(comparison.results, run_dirs, strict=True)}
    rows = []
    for label, runs in comparison.rows.items():
        own = dict(zip(runs[0].users.tolist(), runs[0].ranks.tolist(), strict=True))
        rows.append(_Row(label, np.array([own[user] for user in order]), folder_of[id(runs[0])]))
    return rows


def _sample(rows: Sequence[_Row], cut: int, num_users: int) -> np.ndarray:
    """Places of the users to show, ascending."""
    found = np.stack([(row.ranks > 0) & (row.ranks <= cut) for row in rows])  # [R, U]
    generator = np.random.default_rng(0)
    order = generator.permutation(found.shape[1])
    disagree = found.any(axis=0) & ~found.all(axis=0)
    first = order[disagree[order]][: num_users // 2]
    rest = order[~np.isin(order, first)][: num_users - len(first)]
    return np.sort(np.concatenate([first, rest]))


def _generates(run_dir: Path) -> bool:
    """Whether a run directory holds one of our generating models, and not one of RecBole's."""
    return (run_dir / ABOUT_FILE).is_file() and is_generative(read_about(run_dir).get("model"))


def _network(run_dir: Path) -> GenerativeRecommender | None:
    """Of a run; None for a model that does not generate, or a run that cannot be read."""
    try:
        return read_run(run_dir).network if _generates(run_dir) else None
    except ValueError as error:
        _warn(run_dir, error)
        return None


def _warn(run_dir: Path, error: ValueError) -> None:
    logger.warning("%s: its lists are not shown: %s", run_dir, for_terminal(str(error)))


def _lists_without_beams(
    run_dir: Path, users: Sequence[str], histories: Sequence[np.ndarray], items: ShownItems
) -> list[dict[str, Any]] | None:
    """The list for each history by a model that scores every item; None where the run cannot be used."""
    if _generates(run_dir):  # what kept it from being read has been told
        return None
    try:
        recommender = load(run_dir, device="cpu")
        asked = {"histories": [[items.tokens[number] for number in history.tolist()] for history in histories]}
        if not recommender.reads_histories:
            asked = {"users": users}
        found = recommender.recommend(**asked, k=_LENGTH, unknown="skip")
    except ValueError as error:
        _warn(run_dir, error)
        return None
    number_of = items.number_of()
    return [
        _NOTHING | {"items": [number_of[token] for token in tokens], "scores": scores}
        for tokens, scores in zip(found.item_ids, found.scores, strict=True)
    ]


def _digits(network: GenerativeRecommender) -> list[dict[str, str]]:
    return [
        {"name": digit.name, "modality": digit.modality, "kind": digit.kind} for digit in network.semantic_ids.digits
    ]


def _lists(
    network: GenerativeRecommender, histories: Sequence[np.ndarray], targets: np.ndarray, items: ShownItems
) -> list[dict[str, Any]]:
    """List and beams for each history."""
    tokens = network.semantic_ids.item_tokens
    number_of, id_of = items.number_of(), {token: item_id for item_id, token in enumerate(tokens, start=1)}
    numbers = [-1, *(number_of[token] for token in tokens)]
    found = []
    for history, target in zip(histories, targets.tolist(), strict=True):
        known = [id_of[items.tokens[number]] for number in history.tolist() if items.tokens[number] in id_of]
        wanted = id_of.get(items.tokens[target])
        if not known:
            found.append(_NOTHING)
            continue
        beams = beams_of(network, known, _LENGTH, wanted=wanted)
        found.append(plain_beams(beams, numbers.__getitem__))
    return found
