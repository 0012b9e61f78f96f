"""``PersonalData``: what UniMP's tasks know of items and users, and what a run directory keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from transformers import PreTrainedTokenizerFast

from recbole_mgr.files import write_text
from recbole_mgr.model.unimp.catalogue import ItemCatalogue, RaggedTokenIds, tokenize
from recbole_mgr.model.unimp.tokenizer import load_tokenizer
from recbole_mgr.model.unimp.user_sequences import UserSequence
from recbole_mgr.model.unimp.vocabulary import PromptVocabulary
from recbole_mgr.semantic_id.table import SemanticIdTable

if TYPE_CHECKING:
    from recbole_mgr.model.unimp.pictures.item_pictures import ItemPictures

_ABOUT, _TOKENIZER, _PICTURES = "personal.yaml", "tokenizer", "pictures"


class PersonalData:
    """Items, tokens, users' sequences, and what users said of n interactions.

    An interaction is a row number; -1 stands for one that nobody has a record of (of a loaded run, all): it has no
    rating and no review.

    Args:
        catalogue, vocabulary, tokenizer, table: of the items; the table's rows are the catalogue's.
        pictures: codes of the items' pictures; None without image generation.
        rating_values: float64 [R], the rating scale, ascending; empty without ratings.
        seed: of everything drawn from these data.
        sequences: part -> users' sequences; empty in a loaded run.
        ratings: float64 [n], nan where there is none.
        reviews: n texts, "" where there is none; None where the data have none at all.
    """

    def __init__(
        self,
        *,
        catalogue: ItemCatalogue,
        vocabulary: PromptVocabulary,
        tokenizer: PreTrainedTokenizerFast,
        table: SemanticIdTable,
        pictures: ItemPictures | None,
        rating_values: np.ndarray,
        seed: int,
        sequences: Mapping[str, list[UserSequence]] | None = None,
        ratings: np.ndarray | None = None,
        reviews: list[str] | None = None,
    ) -> None:
        self.catalogue, self.vocabulary, self.tokenizer, self.table = catalogue, vocabulary, tokenizer, table
        self.pictures, self.rating_values, self.seed = pictures, rating_values, seed
        self.has_ratings, self.has_reviews = len(rating_values) > 0, reviews is not None
        self._sequences = sequences or {}
        # one more than there are interactions: what -1 finds
        self._ratings = np.append([] if ratings is None else ratings, np.nan)
        between = (rating_values[1:] + rating_values[:-1]) / 2
        unrated = np.isnan(self._ratings) | (not self.has_ratings)
        self._rating_places = np.where(unrated, -1, np.searchsorted(between, self._ratings))
        self._reviews = [""] * len(self._ratings) if reviews is None else [*reviews, ""]

    def sequences(self, part: str) -> list[UserSequence]:
        """Users' items in a part: ``train``, or ``valid`` and ``test``, where the last item is the target."""
        return self._sequences.get(part, [])

    def rating(self, interactions: np.ndarray) -> np.ndarray:
        """Ratings float64, nan where there is none, of interactions int64 [...]."""
        return self._ratings[interactions]

    def rating_index(self, interactions: np.ndarray) -> np.ndarray:
        """Places of the ratings in ``rating_values``, and so in ``vocabulary.rating_ids``.

        A rating that training has never seen takes the nearest place.

        Args:
            interactions: int64 [...].

        Returns:
            int64 [...], -1 where there is no rating.
        """
        return self._rating_places[interactions]

    def review_text(self, interaction: int) -> str:
        """What the user wrote, "" where nothing."""
        return self._reviews[interaction]

    def review_token_ids(self, interaction: int) -> np.ndarray:
        """Token ids int64 [n] of the same; empty where there is nothing."""
        return self._review_token_ids[interaction]

    @cached_property
    def _review_token_ids(self) -> RaggedTokenIds:
        written = [index for index, review in enumerate(self._reviews) if review]
        token_ids: list[list[int]] = [[] for _ in self._reviews]
        if written:
            for index, tokens in zip(
                written, tokenize(self.tokenizer, [self._reviews[i] for i in written]), strict=True
            ):
                token_ids[index] = tokens
        return RaggedTokenIds.of(token_ids)

    def save(self, folder: Path) -> None:
        """Write what a trained run needs of it: items and tokens, nothing of any user."""
        folder.mkdir(parents=True, exist_ok=True)
        self.catalogue.save(folder)
        self.tokenizer.save_pretrained(str(folder / _TOKENIZER))
        if self.pictures is not None:
            self.pictures.save(folder / _PICTURES)
        about = {
            "vocabulary": self.vocabulary.state(),
            "rating_values": self.rating_values.tolist(),
            "has_reviews": self.has_reviews,
            "has_pictures": self.pictures is not None,
            "seed": self.seed,
            "semantic_id_fingerprint": self.table.fingerprint,
        }
        write_text(folder / _ABOUT, yaml.safe_dump(about, sort_keys=False))  # last: then the others are complete

    @classmethod
    def load(cls, folder: Path, table: SemanticIdTable) -> PersonalData:
        """Read what `save` wrote: no sequences, ratings or reviews, but whether there were any.

        Args:
            folder: the run directory's.
            table: the run's semantic IDs.

        Raises:
            ValueError: Naming the file: it is missing, damaged, or belongs to other semantic IDs.
        """
        path = Path(folder) / _ABOUT
        try:
            about = yaml.safe_load(path.read_text(encoding="utf-8"))
            vocabulary = PromptVocabulary.from_state(about["vocabulary"], table)
            rating_values = np.array(about["rating_values"], dtype=np.float64)
            has_reviews, has_pictures = about["has_reviews"], about["has_pictures"]
            seed, fingerprint = about["seed"], about["semantic_id_fingerprint"]
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: missing or damaged ({error}); copy the run directory whole") from error
        if fingerprint != table.fingerprint:
            raise ValueError(f"{path}: belongs to other semantic IDs than the run's; copy the run directory whole")
        pictures = None
        if has_pictures:
            from recbole_mgr.model.unimp.pictures.item_pictures import ItemPictures  # imports diffusers, seconds

            pictures = ItemPictures.load(folder / _PICTURES)
        return cls(
            catalogue=ItemCatalogue.load(folder),
            vocabulary=vocabulary,
            tokenizer=load_tokenizer(folder / _TOKENIZER),
            table=table,
            pictures=pictures,
            rating_values=rating_values,
            seed=seed,
            reviews=[] if has_reviews else None,
        )
