"""``PersonalData``: what UniMP's tasks know of items and users, and what a run directory keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml
from transformers import PreTrainedTokenizerFast

from recbole_mgr.data.arrays import read_arrays, whole
from recbole_mgr.documents import read_yaml
from recbole_mgr.files import replacing, write_text
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp.catalogue import ItemCatalogue, RaggedTokenIds, tokenize
from recbole_mgr.unimp.tokenizer import load_tokenizer
from recbole_mgr.unimp.user_sequences import UserSequence
from recbole_mgr.unimp.vocabulary import PromptVocabulary

if TYPE_CHECKING:
    from recbole_mgr.unimp.pictures.item_pictures import ItemPictures

_ABOUT, _TOKENIZER, _PICTURES = "personal.yaml", "tokenizer", "pictures"
_RATINGS_FILES = ("ratings_and_reviews.npz", "opinions.npz")  # the name, and the one of earlier versions


class PersonalData:
    """Items, tokens, users' sequences, and what users said of n interactions.

    An interaction is a row number; -1 stands for one that nobody has a record of: it has no rating and no review. Row
    numbers of a loaded run are those of its histories.

    Args:
        catalogue, vocabulary, tokenizer, table: of the items; the table's rows are the catalogue's.
        pictures: codes of the items' pictures; None without image generation.
        rating_values: float64 [R], the rating scale, ascending; empty without ratings.
        seed: of everything drawn from these data.
        sequences: part -> users' sequences; empty in a loaded run.
        ratings: float64 [n], nan where there is none.
        reviews: n texts, "" where there is none (all, in a loaded run); None where the data have none at all.
        review_token_ids: of n reviews, in a loaded run; by default they are made of the texts.
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
        review_token_ids: RaggedTokenIds | None = None,
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
        if review_token_ids is not None:
            self._review_token_ids = review_token_ids

    @property
    def num_interactions(self) -> int:
        """n; 0 in a loaded run that keeps nothing of what users said."""
        return len(self._ratings) - 1

    def sequences(self, part: str) -> list[UserSequence]:
        """Users' items in a part: ``train``, or ``valid`` and ``test``, where the last item is the target."""
        return self._sequences.get(part, [])

    def training_popularity(self) -> np.ndarray:
        """How often each item was taken in the training part, int64 [N+1] by item id; 0 in a loaded run."""
        taken = [np.empty(0, dtype=np.int64), *(sequence.item_ids for sequence in self.sequences("train"))]
        return np.bincount(np.concatenate(taken), minlength=len(self.table.codes))

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

    def save(self, folder: Path, interactions: np.ndarray | None = None) -> None:
        """Write what a trained run needs of it: items and tokens, and what users said.

        Args:
            folder: the run directory's.
            interactions: int64 [m], those whose ratings and reviews are kept; in a loaded run they are 0..m-1. None
                keeps nothing of any user.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.catalogue.save(folder)
        self.tokenizer.save_pretrained(str(folder / _TOKENIZER))
        if self.pictures is not None:
            self.pictures.save(folder / _PICTURES)
        if interactions is not None and (self.has_ratings or self.has_reviews):
            reviews = self._review_token_ids.take(interactions)
            with replacing(folder / _RATINGS_FILES[0]) as unfinished:
                np.savez_compressed(
                    unfinished,
                    rating_index=self.rating_index(interactions).astype(np.int8),  # [m], -1 = none
                    review=reviews.values,
                    review_starts=reviews.starts,
                )
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
        """Read what `save` wrote: no sequences, and of what users said the tokens alone, where they were kept.

        Args:
            folder: the run directory's.
            table: the run's semantic IDs.

        Raises:
            ValueError: Naming the file: it is missing, damaged, or belongs to other semantic IDs.
        """
        path = Path(folder) / _ABOUT
        about = read_yaml(path, remedy="copy the run directory whole") if path.is_file() else {}
        try:
            vocabulary = PromptVocabulary.from_state(about["vocabulary"], table)
            rating_values = np.array(about["rating_values"], dtype=np.float64)
            has_reviews, has_pictures = about["has_reviews"], about["has_pictures"]
            seed, fingerprint = about["seed"], about["semantic_id_fingerprint"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: missing or damaged ({error}); copy the run directory whole") from error
        if fingerprint != table.fingerprint:
            raise ValueError(f"{path}: belongs to other semantic IDs than the run's; copy the run directory whole")
        pictures = None
        if has_pictures:
            from recbole_mgr.unimp.pictures.item_pictures import ItemPictures  # imports diffusers, seconds

            pictures = ItemPictures.load(folder / _PICTURES)
        num_tokens = vocabulary.base_size
        ratings, review_token_ids = _load_ratings_and_reviews(folder, rating_values, num_tokens)
        return cls(
            catalogue=ItemCatalogue.load(folder, num_items=table.num_items, num_tokens=num_tokens),
            vocabulary=vocabulary,
            tokenizer=load_tokenizer(folder / _TOKENIZER),
            table=table,
            pictures=pictures,
            rating_values=rating_values,
            seed=seed,
            ratings=ratings,
            reviews=[""] * len(ratings) if has_reviews else None,
            review_token_ids=review_token_ids,
        )


def _load_ratings_and_reviews(
    folder: Path, rating_values: np.ndarray, num_tokens: int
) -> tuple[np.ndarray, RaggedTokenIds]:
    """Ratings float64 [m], nan where there is none, and m reviews; m = 0 where the run keeps none.

    Raises:
        ValueError: Naming the file: it is damaged, or belongs to another rating scale.
    """
    path = next((folder / name for name in _RATINGS_FILES if (folder / name).is_file()), None)
    if path is None:
        return np.empty(0), RaggedTokenIds.of([])
    arrays = read_arrays(path, remedy="copy the run directory whole")
    try:
        rating_index = whole(arrays, "rating_index", None, least=-1, below=len(rating_values))
        reviews = RaggedTokenIds.load(arrays, "review", count=len(rating_index), num_tokens=num_tokens)
        return np.append(rating_values, np.nan)[rating_index], reviews  # -1 finds nan
    except ValueError as error:
        raise ValueError(f"{path}: not readable ratings and reviews ({error}); copy the run directory whole") from error
