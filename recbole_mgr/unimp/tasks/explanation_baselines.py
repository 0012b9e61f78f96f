"""What the training reviews alone can say of an item, and which of their words tell something of it."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tasks.cases import Case
from recbole_mgr.unimp.tasks.text_metrics import lower_words

_MOST_ITEMS = 0.5  # share of items beyond which a word says nothing of one


class ExplanationBaselines:
    """Texts that need no model.

    Args:
        data: whose training reviews are read, at least one.

    Attributes:
        most_frequent: the training review that most users wrote, the first in order of the alphabet among equals.
        feature_words: all words that tell something of an item: those about at most half the items.
    """

    most_frequent: str
    feature_words: set[str]

    def __init__(self, data: PersonalData) -> None:
        self._data = data
        self._of_item: dict[int, list[tuple[int, str]]] = defaultdict(list)  # item id -> user ids and texts
        self._of_category: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for sequence in data.sequences("train"):
            for item_id, interaction in zip(sequence.item_ids.tolist(), sequence.interactions, strict=True):
                if text := data.review_text(interaction):
                    self._of_item[item_id].append((sequence.user_id, text))
                    self._of_category[int(data.catalogue.category[item_id])].append((sequence.user_id, text))
        counts = Counter(text for reviews in self._of_item.values() for _, text in reviews)
        self.most_frequent = min(counts, key=lambda text: (-counts[text], text))
        self._item_words = {item_id: self._words_about(item_id) for item_id in range(1, len(data.table.codes))}
        items_with = Counter(word for words in self._item_words.values() for word in words)
        most = _MOST_ITEMS * len(self._item_words)
        self.feature_words = {word for word, count in items_with.items() if count <= most}

    def of_another(self, case: Case) -> str:
        """A training review of the case's item, else of its category, by another user; else the most frequent one."""
        category = int(self._data.catalogue.category[case.target])
        for reviews in (self._of_item.get(case.target, []), self._of_category.get(category, [])):
            texts = [text for user_id, text in reviews if user_id != case.user_id]
            if texts:
                return texts[np.random.default_rng([case.user_id, case.target]).integers(len(texts))]
        return self.most_frequent

    def features(self, case: Case, reference: str) -> set[str]:
        """The words of the true text that tell something of the item."""
        return set(lower_words(reference)) & self.features_of(case.target)

    def features_of(self, item_id: int) -> set[str]:
        """The words that tell something of an item: they stand in its attributes or in its training reviews, and in
        those of at most half the items."""
        return self._item_words[item_id] & self.feature_words

    def _words_about(self, item_id: int) -> set[str]:
        attributes = self._data.tokenizer.decode(self._data.catalogue.text_token_ids(item_id))
        return set(lower_words(" ".join([attributes, *(text for _, text in self._of_item.get(item_id, []))])))
