"""A UniMP run of six items whose network has learned nothing, for tests of who is asked what."""

from __future__ import annotations

import numpy as np

from recbole_mgr.data.histories import UserHistories
from recbole_mgr.data.item_file import ItemText
from recbole_mgr.integration.config import make_config, plain_settings
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.serving.run_directory import Run, make_network
from recbole_mgr.unimp.catalogue import ItemCatalogue, RaggedTokenIds, tokenize
from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.pictures.item_pictures import ItemPictures
from recbole_mgr.unimp.tokenizer import train_tokenizer
from recbole_mgr.unimp.visual_features import VisualFeatures
from recbole_mgr.unimp.vocabulary import PromptVocabulary

TITLES = ["red soap", "blue soap", "red comb", "blue comb", "red mask", "blue mask"]
ITEMS = list("abcdef")
HISTORY = ["a", "c", "f"]  # of ann; f has no picture


class GreyCodec:
    """Two codes a picture, the brightness of its halves."""

    num_tokens, num_codes, picture_size = 2, 5, 4

    def decode(self, codes):
        return np.repeat(codes * 50, 24, axis=1).astype(np.uint8).reshape(-1, 4, 4, 3)


def make_run(tasks: str, **said) -> Run:
    """A run that has learned (nothing of) these tasks; ``said``: ratings, reviews and sequences of its users."""
    changes = {
        "data_path": "nowhere",
        "tasks": tasks,
        "hidden_size": 16,
        "inner_size": 16,
        "n_layers": 1,
        "cross_attention_every": 1,
        "n_heads": 2,
        "history_items": 3,
        "selection_candidates": 3,
        "explanation_words": 3,
        "beam_size": 6,
        "topk": [5],
        "valid_metric": "NDCG@5",
        "gpu_id": "",
    }
    config = make_config("UniMP", "tiny", [], changes)
    settings = plain_settings(config)
    table = SemanticIdTable.from_blocks({"item": np.stack([np.arange(6) // 2, np.arange(6) % 2], 1)}, ITEMS)
    tokenizer = train_tokenizer(TITLES, vocabulary_size=300)
    codes = np.array([[-1, -1], *([item % 5, 4 - item % 5] for item in range(5)), [-1, -1]])
    data = PersonalData(
        catalogue=ItemCatalogue(
            text=RaggedTokenIds.of([[], *tokenize(tokenizer, TITLES)]),
            query=RaggedTokenIds.of([[], *tokenize(tokenizer, TITLES)]),
            visual=VisualFeatures(np.ones((5, 1, 3), dtype=np.float32), np.array([-1, 0, 1, 2, 3, 4, -1])),
            category=np.zeros(7, dtype=np.int64),
            category_names=[""],
            titles=["", *TITLES],
            pictures=["", *(f"{item}.jpg" for item in "abcde"), ""],
            queries=["", *TITLES],
        ),
        vocabulary=PromptVocabulary(len(tokenizer), table, num_ratings=3, num_candidates=3, picture_codes=5),
        tokenizer=tokenizer,
        table=table,
        pictures=ItemPictures(GreyCodec(), codes) if "image" in tasks else None,
        rating_values=np.array([1.0, 2.0, 5.0]),
        seed=0,
        **{"reviews": [], **said},
    )
    item_ids = [1 + ITEMS.index(item) for item in HISTORY]
    return Run(
        about={"model": "UniMP"},
        settings=settings,
        network=make_network(settings, table, data),
        item_texts=[ItemText(title, "") for title in TITLES],
        tokenizer=None,
        histories=UserHistories.of(np.array([[1, item] for item in item_ids]), ["ann"]),
    )
