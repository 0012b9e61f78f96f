"""What every trained model in use shares: who asks, what they took, which items are allowed, and the lists."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import ItemText, ItemTexts, read_item_fields
from recbole_mgr.data.table import DEFAULT_FORMAT, AtomicFormat
from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.serving.messages import NewItems, Recommendations, Request
from recbole_mgr.serving.run_files import ITEMS_FILE

logger = logging.getLogger(__name__)
_SKIP = "--unknown skip, in Python unknown='skip'"
NAMES_SHOWN = 10
_SETS_KEPT = 4  # of allowed items; one takes some bytes for each item of the catalogue


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What one call works with from its beginning to its end, though another thread lets new items in meanwhile.

    Attributes:
        network: ranks the items.
        tokens: of the items, in the order of their ids from 1.
        texts: of the items, likewise.
    """

    network: nn.Module
    tokens: list[str]
    texts: Sequence[ItemText]

    @cached_property
    def id_of(self) -> dict[str, int]:
        """Item ids by token. Made for the first history that comes as tokens: .4 s for a million items, which those who
        ask for users of the training do not wait for."""
        return dict(zip(self.tokens, range(1, len(self.tokens) + 1), strict=True))

    @cached_property
    def titles(self) -> list[str]:
        """Of the items, likewise."""
        return self.texts.titles if isinstance(self.texts, ItemTexts) else [text.title for text in self.texts]


class Asked(NamedTuple):
    """The options of one :meth:`BaseRecommender.stream`, checked; ``allowed`` is what `_allow` made of ``only``;
    ``beam_size`` is None where the model has no beams."""

    catalogue: Catalogue
    k: int
    mask_history: bool
    allowed: Any
    beam_size: int | None
    unknown: str


class BaseRecommender(ABC):
    """A trained run in use. Threads may share it: a call changes nothing, but for letting new items in, which calls
    that began before do not see.

    Args:
        catalogue: network and items.
        histories: of the users whom the run knows; None where it keeps none.
        run_dir: the folder.
        device: where the network is.
    """

    def __init__(
        self, catalogue: Catalogue, histories: UserHistories | None, *, run_dir: Path, device: torch.device
    ) -> None:
        self._catalogue, self._histories, self._run_dir, self._device = catalogue, histories, run_dir, device
        self._allowed = self._remembered()

    def _remembered(self) -> Callable[..., Any]:
        # clients tend to allow the same items again and again, and to look them up takes longer than a search
        return lru_cache(_SETS_KEPT)(self._allow_tokens)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_allowed"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._allowed = self._remembered()

    @property
    def catalogue(self) -> Catalogue:
        """The items as they are now; another object once new ones are let in."""
        return self._catalogue

    @property
    def run_dir(self) -> Path:
        """The folder that the run was read from."""
        return self._run_dir

    @property
    def item_ids(self) -> list[str]:
        """Tokens of all items that can be recommended."""
        return list(self._catalogue.tokens)

    @property
    def num_items(self) -> int:
        """How many items can be recommended."""
        return len(self._catalogue.tokens)

    def knows(self, token: str) -> bool:
        """Whether an item can be recommended."""
        return token in self._catalogue.id_of

    def unknown_in(self, request: Request) -> list[str]:
        """Items of a request's history, or its user, that the run does not know."""
        if request.history is not None:
            return [token for token in request.history if token not in self._catalogue.id_of]
        known = self._histories is not None and self._histories.of_user(request.name) is not None
        return [] if known else [request.name]

    def history_of(self, user: str) -> list[str] | None:
        """Item tokens of a user of the training data, oldest first; None if the run does not know them."""
        history = None if self._histories is None else self._histories.of_user(user)
        tokens = self._catalogue.tokens
        return None if history is None else [tokens[item_id - 1] for item_id in history.tolist()]

    @property
    def beam_size(self) -> int | None:
        """The usual width of the search; None of a model that scores every item."""
        return None

    @property
    @abstractmethod
    def about(self) -> dict[str, Any]:
        """Model, items, users and modalities, as plain data."""

    def codes_of(self, token: str) -> list[int]:
        """The semantic ID of an item, of a model that has them.

        Raises:
            KeyError: If there is no such item.
        """
        return []

    @property
    def format(self) -> AtomicFormat:
        """How the atomic files of new items are written: as those that the run was trained on."""
        return DEFAULT_FORMAT

    @property
    def modalities(self) -> list[str]:
        """Modalities of which new items need vectors; none of a model that takes no new items."""
        return []

    def add_items(self, tokens: Sequence[str], features: Mapping[str, np.ndarray], **options: Any) -> NewItems:
        """Let new items in, of a model that gives them semantic IDs."""
        raise ValueError(
            f"{self._run_dir}: {self.about['model']} takes no new items, it has learned those of its training; "
            "recommend with one of the generating models"
        )

    def explain(self, history: Sequence[str], **options: Any) -> Any:
        """How a list comes about, of a model that generates it digit by digit."""
        raise ValueError(
            f"{self.about['model']} scores every item: it has no beams that would tell how a list comes about"
        )

    def find_items(self, query: str, *, offset: int = 0, limit: int = 50) -> dict[str, Any]:
        """Items whose token and title have all words of a query (as parts, in any case), in the catalogue's order.

        Returns:
            ``total`` and ``items``: token, title and codes of those from ``offset`` on, ``limit`` at most.
        """
        catalogue = self._catalogue
        words = query.casefold().split()
        found = [
            (token, text.title)
            for token, text in zip(catalogue.tokens, catalogue.texts, strict=True)
            if all(word in token.casefold() or word in text.title.casefold() for word in words)
        ]
        return {
            "total": len(found),
            "items": [
                {"item_id": token, "title": title, "codes": self.codes_of(token)}
                for token, title in found[offset : offset + limit]
            ],
        }

    def item_fields(self, names: Sequence[str]) -> dict[str, list[str]]:
        """What else the run directory knows of the items, such as their brand or colour.

        Args:
            names: of fields.

        Returns:
            Item token -> a value for each name, "" where nothing is known; items that were let in later are not there.

        Raises:
            ValueError: For a field that the items do not have.
        """
        fields = read_item_fields(self._run_dir / ITEMS_FILE, tokens := self.item_ids)
        for name in names:
            if name not in fields:
                raise ValueError(
                    f"--fields {name}: {self._run_dir / ITEMS_FILE} has {', '.join(fields) or 'none but the title'}"
                )
        return dict(zip(tokens, map(list, zip(*(fields[name] for name in names), strict=True)), strict=True))

    @abstractmethod
    def _beam_size(self, asked: int | None, k: int) -> int | None:
        """The width of the search for lists of k items; raises ValueError where what is asked cannot be."""

    def _allow_tokens(self, catalogue: Catalogue, only: tuple[str, ...], unknown: str) -> Any:
        return self._allow(catalogue, known_items(catalogue, only, unknown))

    @abstractmethod
    def _allow(self, catalogue: Catalogue, item_ids: Tensor) -> Any:
        """What :meth:`_rank` needs to recommend none but these items, int64 [n]; made once for all batches."""

    @abstractmethod
    def _rank(self, requests: list[Request], histories: list[np.ndarray], asked: Asked) -> RankedList:
        """Lists [B, k'] for B requests with their histories, of at least one item each; 0 and -inf fill up."""

    def recommend(
        self,
        *,
        users: Iterable[str] | None = None,
        histories: Iterable[Sequence[str]] | None = None,
        **options: Any,
    ) -> Recommendations:
        """Rank items for users of the training data, or for histories.

        Args:
            users: user tokens; their whole history counts, what was held out for validation and test included.
            histories: item tokens of each, oldest first; the last MAX_ITEM_LIST_LENGTH of them count.
            **options: of :meth:`stream`.

        Returns:
            One entry for each user or history, in order.

        Raises:
            ValueError: As :meth:`stream`; also unless one of ``users`` and ``histories`` is given.
        """
        if (users is None) == (histories is None):
            raise ValueError("recommend: give either users or histories")
        if isinstance(users, str) or isinstance(histories, str):
            raise ValueError("recommend: users is a list of user ids, histories a list of lists of item ids")
        if users is not None:
            requests = (Request(str(user)) for user in users)
        else:
            requests = (Request(str(number), history) for number, history in enumerate(histories, start=1))
        total = Recommendations([], [], [], [], [])
        for batch in self.stream(requests, **options):
            for column, rows in zip(total, batch, strict=True):
                column.extend(rows)
        return total._replace(unknown=list(dict.fromkeys(total.unknown)))

    def stream(
        self,
        requests: Iterable[Request],
        *,
        k: int = 10,
        mask_history: bool = False,
        only: Iterable[str] | None = None,
        beam_size: int | None = None,
        unknown: Literal["fail", "skip"] = "fail",
        batch_size: int = 256,
    ) -> Iterator[Recommendations]:
        """Rank items batch by batch, for more requests than fit into memory.

        Args:
            requests: whom to recommend to.
            k: items each, >= 1.
            mask_history: leave out what is in the history.
            only: recommend none but these items, e.g. those in stock.
            beam_size: width of the search, >= k; default the run's, or k; the number of items makes it exact.
            unknown: what to do about users and items that the run does not know: "fail", or "skip" them.
            batch_size: requests at a time.

        Yields:
            The recommendations of each batch.

        Raises:
            ValueError: If something is unknown or a history empty (and unknown is "fail"), an option is out of
                range, or users are asked for by id and the run keeps no histories.
        """
        for name, value in (("k", k), ("beam_size", beam_size), ("batch_size", batch_size)):
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name}: {value!r} must be a whole number >= 1")
        k = min(k, self.num_items)
        beam_size = self._beam_size(None if beam_size is None else min(beam_size, max(self.num_items, 1)), k)
        if unknown not in ("fail", "skip"):
            raise ValueError(f"unknown: {unknown!r} must be fail or skip")
        catalogue = self._catalogue
        allowed = None if only is None else self._allowed(catalogue, tuple(only), unknown)
        asked = Asked(catalogue, k, mask_history, allowed, beam_size, unknown)
        requests = iter(requests)
        while batch := list(islice(requests, batch_size)):
            yield self._recommend_batch(batch, asked)

    def _recommend_batch(self, batch: list[Request], asked: Asked) -> Recommendations:
        missing: dict[str, None] = {}
        histories = [self._history_ids(request, asked, missing) for request in batch]
        served = [row for row, history in enumerate(histories) if len(history)]
        result = Recommendations(
            [request.name for request in batch], *([[] for _ in batch] for _ in range(3)), [*missing]
        )
        if not served:
            return result
        with torch.inference_mode():
            ranked = self._rank([batch[row] for row in served], [histories[row] for row in served], asked)
        tokens, titles = asked.catalogue.tokens, asked.catalogue.titles
        for row, item_ids, scores in zip(served, ranked.item_ids.tolist(), ranked.scores.tolist(), strict=True):
            items = [item_id for item_id in item_ids if item_id]  # 0 where there are fewer than k
            result.item_ids[row] = [tokens[item_id - 1] for item_id in items]
            result.scores[row] = scores[: len(items)]
            result.titles[row] = [titles[item_id - 1] for item_id in items]
        return result

    def _history_ids(self, request: Request, asked: Asked, missing: dict[str, None]) -> np.ndarray:
        """Item ids of a request's history; what is not known goes to ``missing``."""
        if request.history is None:
            if self._histories is None:
                raise ValueError(
                    f"{self._run_dir} keeps no histories of its users (keep_histories: False, or shared without them); "
                    "give histories instead"
                )
            history = self._histories.of_user(request.name)
            if history is None:
                if asked.unknown == "fail":
                    raise ValueError(
                        f"user {request.name!r} is not in the training data; correct the id, give a history, or skip "
                        f"unknown ids ({_SKIP})"
                    )
                missing[request.name] = None
                return np.empty(0, dtype=np.int64)
            return history
        if isinstance(request.history, str):
            raise ValueError(f"history {request.name}: {request.history!r} must be a list of item ids")
        id_of = asked.catalogue.id_of
        not_there = [token for token in request.history if token not in id_of]
        if asked.unknown == "fail" and (not_there or not len(request.history)):
            problem = f"no such items: {', '.join(map(repr, not_there[:NAMES_SHOWN]))}" if not_there else "it is empty"
            if any("," in token and all(part in id_of for part in token.split(",")) for token in not_there):
                problem += " (blanks part the ids, not commas)"
            raise ValueError(f"history {request.name}: {problem}; correct it, or skip unknown ids ({_SKIP})")
        missing.update(dict.fromkeys(not_there))
        return np.array([id_of[token] for token in request.history if token in id_of], dtype=np.int64)


def known_items(catalogue: Catalogue, only: Iterable[str], unknown: str) -> Tensor:
    """Ids of the items that ``only`` names, each once; unknown ones fail, or are left out with a warning."""
    only = list(dict.fromkeys(only))
    not_there = [token for token in only if token not in catalogue.id_of]
    if not_there:
        text = f"only: {len(not_there)} of {len(only)} items are not in the catalogue: "
        text += ", ".join(map(repr, not_there[:NAMES_SHOWN])) + (", ..." if len(not_there) > NAMES_SHOWN else "")
        if unknown == "fail":
            raise ValueError(f"{text}; correct them, or skip unknown ids ({_SKIP})")
        logger.warning(text)
    kept = [catalogue.id_of[token] for token in only if token in catalogue.id_of]
    if not kept:
        raise ValueError("only: names no item of the catalogue, so nothing could be recommended")
    return torch.tensor(kept)


def padded(histories: list[np.ndarray]) -> Tensor:
    """Item ids int64 [B, longest], padded on the right with 0."""
    return pad_sequence([torch.from_numpy(history.astype(np.int64)) for history in histories], batch_first=True)
