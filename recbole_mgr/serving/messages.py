"""What goes into a recommender and what comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Request(NamedTuple):
    """Someone to recommend to: ``history`` (item tokens, oldest first), or None for a user whom the run knows."""

    name: str
    history: Sequence[str] | None = None


class Recommendations(NamedTuple):
    """Ranked items of B requests, best first; at most k each, fewer only where fewer are allowed.

    Attributes:
        users: B names; of histories without names their number, from "1".
        item_ids: B lists of item tokens.
        scores: B lists, descending: log-probabilities of a generating model, or, where it ranks by more than codes,
            their weighted sums; scores of its own of a model that scores every item.
        titles: B lists of titles, "" where unknown.
        unknown: users and items asked with that the run does not know, each once in order; a request with nothing
            else has empty lists.
    """

    users: list[str]
    item_ids: list[list[str]]
    scores: list[list[float]]
    titles: list[list[str]]
    unknown: list[str]


class NewItems(NamedTuple):
    """What became of items given to ``Recommender.add_items``.

    Attributes:
        added: tokens that can now be recommended.
        left_out: tokens without a vector in any modality, or, with ``missing_modality: drop``, in one of them
            other than the collaborative one.
        moved: of the added ones, those whose codes another item had, in a run without a dedup digit: their last
            code is the nearest one that was free.
    """

    added: list[str]
    left_out: list[str]
    moved: list[str]
