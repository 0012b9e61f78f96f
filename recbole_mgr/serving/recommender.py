"""The Python API: load a run directory, recommend, let new items in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.data.item_file import ItemText
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.generation.beam_search import RankedList
from recbole_mgr.generation.trie import AllowedItems
from recbole_mgr.model.backbone.branches import moved_branches
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.model.joined_items import with_new_items
from recbole_mgr.model.memory import COLLABORATIVE
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.tokenizer import missing_rows
from recbole_mgr.serving.base_recommender import (
    NAMES_SHOWN,
    Asked,
    BaseRecommender,
    Catalogue,
    padded,
)
from recbole_mgr.serving.baseline_directory import read_baseline
from recbole_mgr.serving.baseline_recommender import BaselineRecommender
from recbole_mgr.serving.beams import Beams, beams_of, history_of
from recbole_mgr.serving.hub import fetched
from recbole_mgr.serving.messages import NewItems, Request
from recbole_mgr.serving.new_items import extend_table, last_codes_by_distance, mean_of_alike, widened_weights
from recbole_mgr.serving.product_encoders import ProductEncoders
from recbole_mgr.serving.run_directory import Run, make_network, read_run
from recbole_mgr.serving.run_files import is_generative_run


def load(run_dir: str | Path, *, device: str | torch.device | None = None) -> BaseRecommender:
    """Load a trained run; needs nothing but its folder, and executes nothing in it.

    Args:
        run_dir: folder of a finished run, of one of our models or of RecBole's.
        device: e.g. "cpu" or "cuda:1"; default: a GPU where there is one.

    Returns:
        A `Recommender`, which takes new items too, or a `BaselineRecommender`.

    Raises:
        ValueError: If the folder is incomplete, damaged or of a newer version, the model cannot be built from it, or
            there is no such device.
    """
    run_dir = Path(run_dir)
    device = _device(device)
    if not is_generative_run(run_dir):
        return BaselineRecommender(read_baseline(run_dir, device), run_dir=run_dir)
    run = read_run(run_dir)
    run.network.to(device)
    run.network.device = device  # RecBole's models tell it themselves
    return Recommender(run, run_dir=run_dir)


def _device(asked: str | torch.device | None) -> torch.device:
    if asked is None:
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device: {asked} cannot be used here ({reason}); try cpu") from error
    return device


class Recommender(BaseRecommender):
    """A trained run of one of our models in use.

    Args:
        run: as read from its folder; the network decides the device.
        run_dir: the folder, for messages and for how its vectors were made.

    Attributes:
        encoders: make vectors of new products as the catalogue's were made.
    """

    def __init__(self, run: Run, *, run_dir: Path) -> None:
        device = next(run.network.parameters()).device
        catalogue = _catalogue_of(run.network, run.item_texts)
        super().__init__(catalogue, run.histories, run_dir=run_dir, device=device)
        self._run = run
        self._settings = run.settings
        self._tokenizer = run.tokenizer
        self.encoders = ProductEncoders(run_dir, self.modalities)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, device: str | torch.device | None = None, **hub: Any
    ) -> BaseRecommender:
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
    def run(self) -> Run:
        """As it was read: without new items."""
        return self._run

    @property
    def beam_size(self) -> int:
        """The usual width of the search."""
        return self._settings["beam_size"]

    @property
    def about(self) -> dict[str, Any]:
        """Model, items, modalities and tasks, as plain data."""
        table = self._catalogue.network.semantic_ids
        return {
            "model": type(self._catalogue.network).__name__,
            "items": table.num_items,
            "users": 0 if self._histories is None else len(self._histories),
            "modalities": self.modalities,
            "digits": [digit.name for digit in table.digits],
            "tasks": list(self._catalogue.network.task_names),
            "encodes": self.encoders.fields,
        }

    def codes_of(self, token: str) -> list[int]:
        """The semantic ID of an item.

        Raises:
            KeyError: If there is no such item.
        """
        catalogue = self._catalogue
        return catalogue.network.semantic_ids.codes[catalogue.id_of[token]].tolist()

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
        allowed_items = None if only is None else self._allowed(catalogue, tuple(only), "fail")
        asked = Asked(catalogue, k, mask_history, allowed_items, self._beam_size(None, k), "fail")
        item_ids = self._history_ids(Request("1", history), asked, {}).tolist()
        exclude = item_ids if mask_history else ()
        return beams_of(
            catalogue.network, item_ids, k, exclude=exclude, allowed_items=allowed_items
        ), catalogue.network.semantic_ids

    @property
    def format(self) -> AtomicFormat:
        return AtomicFormat.of(self._settings)

    @property
    def modalities(self) -> list[str]:
        """Modalities of which :meth:`add_items` takes vectors; none where the semantic IDs are user-supplied."""
        return [] if self._tokenizer is None else self._tokenizer.modalities

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
            ValueError: If the run was trained on semantic IDs that the user supplied, tokens repeat or are known, the
                features do not fit, or (without a dedup digit) no code is left.
        """
        if self._tokenizer is None:
            raise ValueError(
                f"{self._run_dir}: this run was trained on semantic IDs that the user supplied (semantic_ids), so "
                "nothing can give new items theirs; train on feature files to add items"
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

        features = {modality: matrix[there] for modality, matrix in features.items()}
        vectors = self._tokenizer.complete(features)
        table, trained = catalogue.network.semantic_ids, self._run.network.semantic_ids.num_items
        likeness = self._run.content.likeness_of(vectors, joined=table.num_items - trained)
        if likeness is not None and COLLABORATIVE in vectors:
            codes = table.codes[1:, table.block(COLLABORATIVE)].numpy()
            known = self._tokenizer.quantizers[COLLABORATIVE].reconstruct(codes)
            missing = _is_missing(COLLABORATIVE, features, len(added))
            alike = likeness[1 + table.num_items :, 1 : 1 + table.num_items]
            vectors[COLLABORATIVE][missing] = mean_of_alike(alike[missing], known)
        blocks = self._tokenizer.encode(vectors)
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
        network.to(self._device)
        weights = moved_branches(catalogue.network.trie, network.trie, catalogue.network.state_dict())
        weights = with_new_items(weights, network.state_dict())
        network.load_state_dict(widened_weights(weights, network.state_dict(), dedup_size=table.sizes[-1]))
        if likeness is not None:
            earlier = catalogue.network.joined.likeness
            if earlier is not None:
                earlier = earlier.copy()
                earlier.resize(likeness.shape)
                likeness = likeness + earlier
            offsets = torch.zeros(1 + extended.num_items, device=self._device)
            offsets[1 + trained :] = self._run.content.offset(self._run.network)
            network.let_in(network.joining(likeness, offsets))
        new_texts = [ItemText(str(title), "") for title, is_there in zip(titles, there, strict=True) if is_there]
        self._catalogue = _catalogue_of(network, [*catalogue.texts, *new_texts])
        self._allowed.cache_clear()  # the sets belong to the catalogue of before
        return NewItems(added, left_out, moved)

    def _beam_size(self, asked: int | None, k: int) -> int:
        beam_size = self._run.network.beam_width(k, asked)
        if beam_size < k:
            raise ValueError(f"beam_size: {beam_size} is below k: {k}; widen the search or ask for fewer items")
        return beam_size

    def _allow(self, catalogue: Catalogue, item_ids: Tensor) -> AllowedItems:
        return catalogue.network.trie.allow(item_ids.to(self._device))

    def _rank(self, requests: list[Request], histories: list[np.ndarray], asked: Asked) -> RankedList:
        network = asked.catalogue.network
        interaction = history_of(network, histories)
        exclude = padded(histories).to(self._device) if asked.mask_history else None
        return network.generate(
            interaction, asked.k, beam_size=asked.beam_size, exclude=exclude, allowed_items=asked.allowed
        )

    # --- new items

    def _check_new(
        self, catalogue: Catalogue, tokens: list[str], features: Mapping[str, np.ndarray], titles: list[str]
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
        needs_all = self._settings["missing_modality"] == "drop"
        # a collaborative vector can be had from items that are alike by content
        needed = [name for name in self.modalities if name != COLLABORATIVE] or self.modalities
        present = [~_is_missing(name, features, num_items) for name in (needed if needs_all else self.modalities)]
        return np.all(present, axis=0) if needs_all else np.any(present, axis=0)


def _is_missing(modality: str, features: Mapping[str, np.ndarray], num_items: int) -> np.ndarray:
    """Which items have no vector of a modality, bool [n]."""
    return missing_rows(features[modality]) if modality in features else np.ones(num_items, dtype=bool)


def _catalogue_of(network: GenerativeRecommender, texts: Sequence[ItemText]) -> Catalogue:
    return Catalogue(network, network.semantic_ids.item_tokens, texts)
