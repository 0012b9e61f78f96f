"""The Python API: load a run directory, recommend, let new items in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recbole_mgr.data.item_file import ItemText
from recbole_mgr.generation.trie import Narrowing
from recbole_mgr.model.backbone.branches import moved_branches
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.model.priors import with_new_items
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.tokenizer import missing_rows
from recbole_mgr.serving.beams import Beams, beams_of
from recbole_mgr.serving.hub import fetched
from recbole_mgr.serving.messages import NewItems, Recommendations, Request
from recbole_mgr.serving.new_items import extend_table, last_codes_by_distance, widened_weights
from recbole_mgr.serving.run_directory import Run, make_network, read_run

logger = logging.getLogger(__name__)
NAMES_SHOWN = 10


def load(run_dir: str | Path, *, device: str | torch.device | None = None) -> Recommender:
    """Load a trained run; needs nothing but its folder, and executes nothing in it.

    Args:
        run_dir: folder of a finished run of one of our models.
        device: e.g. "cpu" or "cuda:1"; default: a GPU where there is one.

    Raises:
        ValueError: If the folder is incomplete, damaged or of a newer version, or there is no such device.
    """
    run = read_run(Path(run_dir))
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        run.network.to(device)
        run.network.device = torch.device(device)  # RecBole's models tell it themselves
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {device} cannot be used here ({reason}); try cpu") from error
    return Recommender(run, run_dir=Path(run_dir))


class _Catalogue(NamedTuple):
    """What one call works with from its beginning to its end, though another thread lets new items in meanwhile.

    Attributes:
        network: ranks the items.
        texts: of the items, in the order of the network's table.
        id_of: item ids by token.
    """

    network: GenerativeRecommender
    texts: list[ItemText]
    id_of: dict[str, int]

    @classmethod
    def of(cls, network: GenerativeRecommender, texts: list[ItemText]) -> _Catalogue:
        tokens = network.semantic_ids.item_tokens
        return cls(network, texts, {token: item_id for item_id, token in enumerate(tokens, start=1)})

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device


class _Asked(NamedTuple):
    """The options of one :meth:`Recommender.stream`, checked."""

    catalogue: _Catalogue
    k: int
    mask_history: bool
    narrowing: Narrowing | None
    beam_size: int
    unknown: str


class Recommender:
    """A trained run in use. Threads may share it: a call changes nothing, but for :meth:`add_items`, which calls that
    began before do not see.

    Args:
        run: as read from its folder; the network decides the device.
        run_dir: the folder, for messages.
    """

    def __init__(self, run: Run, *, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._settings = run.settings
        self._histories = run.histories
        self._tokenizer = run.tokenizer
        self._catalogue = _Catalogue.of(run.network, list(run.item_texts))

    @property
    def run_dir(self) -> Path:
        """The folder that the run was read from."""
        return self._run_dir

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str | torch.device | None = None, **hub: Any) -> Recommender:
        """Load a run from a folder or from the Hugging Face hub.

        Args:
            name: a folder, or ``owner/name`` on the hub.
            device: as of :func:`load`.
            **hub: ``revision``, ``token``, ``local_files_only``; see `hub.fetched`.

        Raises:
            ValueError: As :func:`load`; also if the name is neither a folder nor to be had from the hub.
        """
        return load(fetched(name, **hub), device=device)

    @property
    def item_ids(self) -> list[str]:
        """Tokens of all items that can be recommended."""
        return list(self._catalogue.id_of)

    @property
    def num_items(self) -> int:
        """How many items can be recommended."""
        return len(self._catalogue.id_of)

    @property
    def beam_size(self) -> int:
        """The usual width of the search."""
        return self._settings["beam_size"]

    @property
    def about(self) -> dict[str, Any]:
        """Model, items and modalities, as plain data."""
        table = self._catalogue.network.semantic_ids
        return {
            "model": type(self._catalogue.network).__name__,
            "items": table.num_items,
            "users": 0 if self._histories is None else len(self._histories),
            "modalities": self.modalities,
            "digits": [digit.name for digit in table.digits],
        }

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
        tokens = self._catalogue.network.semantic_ids.item_tokens
        return None if history is None else [tokens[item_id - 1] for item_id in history.tolist()]

    def codes_of(self, token: str) -> list[int]:
        """The semantic ID of an item.

        Raises:
            KeyError: If there is no such item.
        """
        catalogue = self._catalogue
        return catalogue.network.semantic_ids.codes[catalogue.id_of[token]].tolist()

    def find_items(self, query: str, *, offset: int = 0, limit: int = 50) -> dict[str, Any]:
        """Items whose token and title have all words of a query (as parts, in any case), in the catalogue's order.

        Returns:
            ``total`` and ``items``: token, title and codes of those from ``offset`` on, ``limit`` at most.
        """
        catalogue = self._catalogue
        words = query.casefold().split()
        found = [
            (token, text.title)
            for token, text in zip(catalogue.id_of, catalogue.texts, strict=True)
            if all(word in token.casefold() or word in text.title.casefold() for word in words)
        ]
        table = catalogue.network.semantic_ids
        return {
            "total": len(found),
            "items": [
                {"item_id": token, "title": title, "codes": table.codes[catalogue.id_of[token]].tolist()}
                for token, title in found[offset : offset + limit]
            ],
        }

    def explain(
        self,
        history: Sequence[str],
        *,
        k: int = 10,
        mask_history: bool = False,
        only: Iterable[str] | None = None,
    ) -> tuple[Beams, SemanticIdTable]:
        """How the list for a history comes about: the beams, digit by digit, and the table that their ids refer to.

        Raises:
            ValueError: As :meth:`recommend`.
        """
        catalogue = self._catalogue
        narrowing = None if only is None else _narrow(catalogue, only, "fail")
        asked = _Asked(catalogue, k, mask_history, narrowing, max(self.beam_size, k), "fail")
        item_ids = self._history_ids(Request("1", history), asked, {}).tolist()
        exclude = item_ids if mask_history else ()
        return beams_of(
            catalogue.network, item_ids, k, exclude=exclude, narrowing=narrowing
        ), catalogue.network.semantic_ids

    @property
    def modalities(self) -> list[str]:
        """Modalities of which :meth:`add_items` takes vectors; none where the semantic IDs were brought."""
        return [] if self._tokenizer is None else self._tokenizer.modalities

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
        beam_size = max(self._settings["beam_size"], k) if beam_size is None else beam_size
        if beam_size < k:
            raise ValueError(f"beam_size: {beam_size} is below k: {k}; widen the search or ask for fewer items")
        if unknown not in ("fail", "skip"):
            raise ValueError(f"unknown: {unknown!r} must be fail or skip")
        catalogue = self._catalogue
        narrowing = None if only is None else _narrow(catalogue, only, unknown)
        asked = _Asked(catalogue, k, mask_history, narrowing, beam_size, unknown)
        requests = iter(requests)
        while batch := list(islice(requests, batch_size)):
            yield self._recommend_batch(batch, asked)

    def add_items(
        self,
        tokens: Sequence[str],
        features: Mapping[str, np.ndarray],
        *,
        titles: Sequence[str] | None = None,
    ) -> NewItems:
        """Let new items in: the trained quantisers give them semantic IDs, the model stays as it is.

        Scores of the other items change only where a new item joins their branch of the code tree. Nothing is
        written: the next :func:`load` knows the trained catalogue alone.

        Args:
            tokens: n item tokens, none of them in the catalogue.
            features: modality -> float [n, dim], encoded as the catalogue's were. A row of NaN, or a modality left
                out, is a missing vector, treated as the run's ``missing_modality`` says; an item without any vector
                is left out.
            titles: n titles to show.

        Returns:
            What became of each.

        Raises:
            ValueError: If the run was trained on semantic IDs that were brought, tokens repeat or are known, the
                features do not fit, or (without a dedup digit) no code is left.
        """
        if self._tokenizer is None:
            raise ValueError(
                f"{self._run_dir}: this run was trained on semantic IDs that were brought (semantic_ids), so nothing "
                "can give new items theirs; train on feature files to add items"
            )
        tokens = [str(token) for token in tokens]
        features = {modality: np.asarray(matrix) for modality, matrix in features.items()}
        titles = [""] * len(tokens) if titles is None else list(titles)
        catalogue = self._catalogue
        self._check_new(catalogue, tokens, features, titles)
        there = self._has_vectors(features, len(tokens))
        added = [token for token, is_there in zip(tokens, there, strict=True) if is_there]
        left_out = [token for token, is_there in zip(tokens, there, strict=True) if not is_there]
        if not added:
            return NewItems([], left_out, [])

        vectors = self._tokenizer.complete({modality: matrix[there] for modality, matrix in features.items()})
        blocks = self._tokenizer.encode(vectors)
        table = catalogue.network.semantic_ids
        modality = table.modalities[-1]
        used = np.unique(table.codes[1:, table.block(modality)][:, -1].numpy())

        def nearest_last_codes(row: int) -> list[int]:
            quantizer = self._tokenizer.quantizers[modality]
            return last_codes_by_distance(quantizer, vectors[modality][row], blocks[modality][row], used)

        extended = extend_table(table, blocks, added, nearest_last_codes=nearest_last_codes)
        last_codes = extended.codes[1 + table.num_items :, table.block(modality)][:, -1].numpy()
        moved = [
            token for token, was, is_ in zip(added, blocks[modality][:, -1], last_codes, strict=True) if was != is_
        ]

        network = make_network(self._settings, extended)
        network.to(catalogue.device)
        weights = moved_branches(catalogue.network.trie, network.trie, catalogue.network.state_dict())
        weights = with_new_items(weights, network.state_dict())
        network.load_state_dict(widened_weights(weights, network.state_dict(), dedup_size=table.sizes[-1]))
        new_texts = [ItemText(str(title), "") for title, is_there in zip(titles, there, strict=True) if is_there]
        self._catalogue = _Catalogue.of(network, catalogue.texts + new_texts)
        return NewItems(added, left_out, moved)

    # --- recommending

    def _recommend_batch(self, batch: list[Request], asked: _Asked) -> Recommendations:
        missing: dict[str, None] = {}
        histories = [self._history_ids(request, asked, missing) for request in batch]
        served = [row for row, history in enumerate(histories) if len(history)]
        result = Recommendations(
            [request.name for request in batch], *([[] for _ in batch] for _ in range(3)), [*missing]
        )
        if not served:
            return result
        ranked = self._rank([histories[row] for row in served], asked)
        texts, tokens = asked.catalogue.texts, asked.catalogue.network.semantic_ids.item_tokens
        for row, item_ids, scores in zip(served, *ranked, strict=True):
            items = [item_id for item_id in item_ids if item_id]  # 0 where there are fewer than k
            result.item_ids[row] = [tokens[item_id - 1] for item_id in items]
            result.scores[row] = scores[: len(items)]
            result.titles[row] = [texts[item_id - 1].title for item_id in items]
        return result

    def _rank(self, histories: list[np.ndarray], asked: _Asked) -> tuple[list[list[int]], list[list[float]]]:
        network, device = asked.catalogue.network, asked.catalogue.device
        longest = self._settings["MAX_ITEM_LIST_LENGTH"]
        whole = _padded(histories)  # [B, X]
        recent = _padded([history[-longest:] for history in histories])  # [B, L]
        lengths = torch.tensor([min(len(history), longest) for history in histories])
        interaction = Interaction({network.ITEM_SEQ: recent, network.ITEM_SEQ_LEN: lengths}).to(device)
        exclude = whole.to(device) if asked.mask_history else None
        ranked = network.generate(
            interaction, asked.k, beam_size=asked.beam_size, exclude=exclude, narrowing=asked.narrowing
        )
        return ranked.item_ids.tolist(), ranked.scores.tolist()

    def _history_ids(self, request: Request, asked: _Asked, missing: dict[str, None]) -> np.ndarray:
        """Item ids of a request's history; what is not known goes to ``missing``."""
        if request.history is None:
            if self._histories is None:
                raise ValueError(
                    f"{self._run_dir} keeps no histories of its users (keep_histories: False); give histories instead"
                )
            history = self._histories.of_user(request.name)
            if history is None:
                if asked.unknown == "fail":
                    raise ValueError(
                        f"user {request.name!r} is not in the training data; correct the id, give a history, or skip "
                        "unknown ids (unknown: skip)"
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
            raise ValueError(f"history {request.name}: {problem}; correct it, or skip unknown ids (unknown: skip)")
        missing.update(dict.fromkeys(not_there))
        return np.array([id_of[token] for token in request.history if token in id_of], dtype=np.int64)

    # --- new items

    def _check_new(
        self, catalogue: _Catalogue, tokens: list[str], features: Mapping[str, np.ndarray], titles: list[str]
    ) -> None:
        known = [token for token in tokens if token in catalogue.id_of]
        if known:
            raise ValueError(f"add_items: {len(known)} items are in the catalogue already, e.g. {known[:NAMES_SHOWN]}")
        if len(set(tokens)) < len(tokens) or "" in tokens:
            raise ValueError("add_items: item ids must be distinct and not empty")
        for what, rows in (("titles", titles), *features.items()):
            if len(rows) != len(tokens):
                raise ValueError(f"add_items: {len(rows)} rows of {what} for {len(tokens)} items; give one for each")
        self._tokenizer.check(features)

    def _has_vectors(self, features: Mapping[str, np.ndarray], num_items: int) -> np.ndarray:
        """Which items have the vectors they need, bool [n]."""
        none = np.zeros(num_items, dtype=bool)
        present = [~missing_rows(features[name]) if name in features else none for name in self.modalities]
        needs_all = self._settings["missing_modality"] == "drop"
        return np.all(present, axis=0) if needs_all else np.any(present, axis=0)


def _narrow(catalogue: _Catalogue, only: Iterable[str], unknown: str) -> Narrowing:
    only = list(dict.fromkeys(only))
    not_there = [token for token in only if token not in catalogue.id_of]
    if not_there:
        text = f"only: {len(not_there)} of {len(only)} items are not in the catalogue: "
        text += ", ".join(map(repr, not_there[:NAMES_SHOWN])) + (", ..." if len(not_there) > NAMES_SHOWN else "")
        if unknown == "fail":
            raise ValueError(f"{text}; correct them, or skip unknown ids (unknown: skip)")
        logger.warning(text)
    kept = [catalogue.id_of[token] for token in only if token in catalogue.id_of]
    if not kept:
        raise ValueError("only: names no item of the catalogue, so nothing could be recommended")
    return catalogue.network.trie.narrow(torch.tensor(kept, device=catalogue.device))


def _padded(histories: list[np.ndarray]) -> Tensor:
    """Item ids int64 [B, longest], padded on the right with 0."""
    return pad_sequence([torch.from_numpy(history.astype(np.int64)) for history in histories], batch_first=True)
