"""``UniMPDataset``: the generating models' data set that also makes UniMP's `PersonalData`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recbole_mgr.data.features import load_features
from recbole_mgr.data.item_file import picture_file
from recbole_mgr.data.table import AtomicFormat
from recbole_mgr.distributed import processes
from recbole_mgr.integration.dataset import GenerativeDataset, tokens_of
from recbole_mgr.integration.histories import histories_of
from recbole_mgr.semantic_id.report import table_report
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.unimp import user_sequences
from recbole_mgr.unimp.catalogue import ItemCatalogue
from recbole_mgr.unimp.item_words import ItemWords, read_item_words
from recbole_mgr.unimp.language_model import LanguageModelSettings, base_vocabulary_size, load_base_tokenizer
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.ratings_and_reviews import rating_scale, read_ratings, read_reviews
from recbole_mgr.unimp.tasks import instructions, needs_of
from recbole_mgr.unimp.tokenizer import train_tokenizer
from recbole_mgr.unimp.transfer import InitialRun
from recbole_mgr.unimp.visual_features import VisualFeatures, read_visual_features
from recbole_mgr.unimp.vocabulary import PromptVocabulary

ITEMS_PER_INSTRUCTION = 10  # a tokenizer learns the tasks' sentences as words that occur with every tenth item


class UniMPDataset(GenerativeDataset):
    """Sequential data set with semantic IDs and all that UniMP's prompts are made of.

    Attributes (after :meth:`build`, on the data set and its three parts):
        personal (PersonalData): items, tokens, users' sequences, ratings and reviews.

    Attributes (before :meth:`build` too):
        initial_run (InitialRun or None): the trained run that the setting of that name tells to go on from.
    """

    personal: PersonalData
    initial_run: InitialRun | None = None

    def read_initial_run(self, read_run: Callable[[Path], Any]) -> None:
        if self.config["initial_run"] is not None:
            folder = Path(self.config["initial_run"])
            self.initial_run = InitialRun.of(folder, read_run(folder))

    def _filter_by_inter_num(self) -> None:
        super()._filter_by_inter_num()
        self._times = self.inter_feat[self.time_field].to_numpy()  # as in the file: RecBole may normalise them next

    def build(self) -> list[UniMPDataset]:
        """Split, build the semantic IDs, and gather what the tasks need; every text file is read here, once."""
        if self.initial_run is not None:
            self.initial_run.check(self.config)
        users, item_ids, times = histories_of(self).in_time_order()
        if self.histories is not None:
            self._times = times
        parts = super().build()
        self.personal = self._personal_data(users.astype(np.int64), item_ids.astype(np.int64))
        for part in parts:
            part.personal = self.personal
        return parts

    def leave_one_out(self, group_by: str, leave_one_mode: str) -> list[UniMPDataset]:
        """RecBole's split, or by user: all rows of training users, the last one of validation and test users."""
        if self.config["user_split"] == "leave_one_out":
            return super().leave_one_out(group_by, leave_one_mode)
        users = self.inter_feat[group_by].numpy()
        row_part = self._part_of_user[users]
        is_last = np.zeros(len(users), dtype=bool)
        is_last[len(users) - 1 - np.unique(users[::-1], return_index=True)[1]] = True
        self._drop_unused_col()
        kept = (row_part == 0, is_last & (row_part == 1), is_last & (row_part == 2))
        return [self.copy(self.inter_feat[np.flatnonzero(rows)]) for rows in kept]

    @property
    def _part_of_user(self) -> np.ndarray:
        return user_sequences.parts_of_users(tokens_of(self, self.uid_field))

    def _semantic_id_table(self) -> tuple[SemanticIdTable, dict[str, Any]]:
        if self.config["item_ids"] == "semantic":
            return self._table_by_initial_run() if self.initial_run else super()._semantic_id_table()
        codes = np.arange(len(self.item_tokens))[:, None]  # [N, 1]: one digit, a code for each item
        table = SemanticIdTable.from_blocks({"item": codes}, self.item_tokens)
        return table, table_report(table)

    def _table_by_initial_run(self) -> tuple[SemanticIdTable, dict[str, Any]]:
        """The items' IDs by the quantisers of the run that is gone on from, so that its codes mean here what they
        meant there."""
        tokenizer, folder = self.initial_run.tokenizer, Path(self.config["data_path"])
        where = {"policy": self.config["missing_modality"], "format": AtomicFormat.of(self.config)}
        vectors = {}
        for modality in tokenizer.modalities:
            features = load_features(folder, self.dataset_name, modality, self.item_tokens, **where)
            vectors[modality] = np.where(features.present[:, None], features.vectors[:], np.nan)
        complete = tokenizer.complete(vectors)
        table = SemanticIdTable.from_blocks(
            tokenizer.encode(complete),
            self.item_tokens,
            sizes={
                modality: [quantizer.codebook_size] * quantizer.levels
                for modality, quantizer in tokenizer.quantizers.items()
            },
        )
        self.item_tokenizer = tokenizer
        return table, table_report(table, complete, tokenizer.quantizers) if processes.is_owner() else {}

    def _personal_data(self, users: np.ndarray, item_ids: np.ndarray) -> PersonalData:
        """Everything but RecBole's own, for n interactions int64 [n] in time order."""
        config, name, table = self.config, self.dataset_name, self.semantic_ids
        folder = Path(config["data_path"])
        if config["user_split"] == "by_user":
            sequences = user_sequences.by_user(users, item_ids, self._part_of_user)
        else:
            sequences = user_sequences.leave_one_out(users, item_ids)
        trained = user_sequences.training_interactions(sequences)

        ratings, reviews = self._ratings_and_reviews(folder, users, item_ids)
        rating_values = rating_scale(folder / f"{name}.inter", ratings[trained])
        words = read_item_words(
            folder,
            name,
            self.item_tokens,
            text_fields=list(config["text_fields"]),
            category_field=config["category_field"],
            search_title_words=config["search_title_words"],
            format=AtomicFormat.of(config),
        )
        language_model = LanguageModelSettings.from_config(config)
        if language_model.language_model is None and self.initial_run is not None:
            tokenizer = self.initial_run.network.personal.tokenizer
        elif language_model.language_model is None:
            texts = _tokenizer_texts(words, [reviews[index] for index in trained] if reviews else [])
            tokenizer = train_tokenizer(texts, vocabulary_size=config["bpe_vocabulary"])
        else:
            tokenizer = load_base_tokenizer(language_model)
        visual = VisualFeatures.none(len(self.item_tokens))
        if config["image_features"] and config["image_attention"] != "none":
            visual = read_visual_features(
                folder, name, config["image_features"], self.item_tokens, AtomicFormat.of(config)
            )
        pictures = self._pictures(folder, words)
        catalogue = ItemCatalogue.of(words, tokenizer, visual, text_fields=config["text_fields"])
        return PersonalData(
            catalogue=catalogue.with_noise(config["wrong_pictures"], config["wrong_words"]),
            vocabulary=PromptVocabulary(
                base_vocabulary_size(language_model, tokenizer),
                table,
                num_ratings=len(rating_values),
                num_candidates=config["selection_candidates"],
                picture_codes=pictures.num_codes if pictures else 0,
            ),
            tokenizer=tokenizer,
            table=table,
            pictures=pictures,
            rating_values=rating_values,
            seed=config["seed"],
            sequences=sequences,
            ratings=ratings,
            reviews=reviews,
        )

    def _ratings_and_reviews(
        self, folder: Path, users: np.ndarray, item_ids: np.ndarray
    ) -> tuple[np.ndarray, list[str] | None]:
        """Ratings float64 [n] and n reviews, read only where a task wants them; reviews cut to their first words."""
        config, needs = self.config, needs_of(self.config["tasks"])
        rows = pl.DataFrame(
            {
                "user": self.field2id_token[self.uid_field][users].astype(str),
                "item": self.field2id_token[self.iid_field][item_ids].astype(str),
                "time": self._times,
            }
        )
        format = AtomicFormat.of(config)
        ratings, reviews = np.full(len(users), np.nan), None
        if "ratings" in needs:
            ratings = read_ratings(folder, self.dataset_name, rows, format)
        if "reviews" in needs:
            reviews = read_reviews(folder, self.dataset_name, rows, format)
        if reviews is not None:
            reviews = [" ".join(review.split()[: config["explanation_words"]]) for review in reviews]
        return ratings, reviews

    def _pictures(self, folder: Path, words: ItemWords):
        if "pictures" not in needs_of(self.config["tasks"]):
            return None
        from recbole_mgr.unimp.pictures.item_pictures import make_item_pictures

        codec = (self.initial_run and self.initial_run.codec_folder) or self.config["picture_codec"]
        return make_item_pictures(
            [picture_file(folder, picture) for picture in words.pictures],
            settings={**self.config.final_config_dict, "picture_codec": codec},
            seed=self.config["semantic_id_seed"],
            cache_dir=Path(self.config["checkpoint_dir"]) / "picture_codecs",
        )


def _tokenizer_texts(words: ItemWords, training_reviews: list[str]) -> list[str]:
    """What a tokenizer learns from: nothing of what validation and test users wrote."""
    repeats = max(1, len(words.titles) // ITEMS_PER_INSTRUCTION)
    texts = [text for field in words.fields.values() for text in field]
    return [*texts, *words.queries, *(review for review in training_reviews if review), *instructions() * repeats]
