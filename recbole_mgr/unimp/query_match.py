"""How well items match the words of a query, whoever asks: a search of its own, and what UniMP's search starts from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from recbole_mgr.unimp.catalogue import ItemCatalogue

_SHARPNESS = 100.0  # of the match beside the popularity, which so decides among nearly equal matches


class QueryMatch:
    """Scores every item by the words that it shares with a query and by its popularity.

    The match of a query and an item is the number of tokens that both have, of all that one of them has (Jaccard): 1
    where the item's own query has the same words, and less for an item that matches in more words than were asked for.
    The score is 100 times the match plus log(1 + popularity), the logarithm of a query's likelihood times a prior of
    the items, up to a constant.

    Args:
        catalogue: whose items' own queries are the words that they are found by.
        vocabulary_size: of the catalogue's token ids.
    """

    def __init__(self, catalogue: ItemCatalogue, vocabulary_size: int) -> None:
        self._vocabulary_size = vocabulary_size
        queries = [catalogue.query_token_ids(item_id) for item_id in range(catalogue.num_items + 1)]
        self._words = self._table(queries)  # [N+1, V]

    def scores(self, queries: Sequence[np.ndarray], popularity: np.ndarray) -> np.ndarray:
        """Scores of all items for B queries.

        Args:
            queries: B times int64 [q] token ids.
            popularity: float or int [N+1], how often each item was taken.

        Returns:
            float64 [B, N+1], by item id.
        """
        asked = self._table(queries)  # [B, V]
        shared = (asked @ self._words.T).toarray()  # [B, N+1]
        either = asked.sum(axis=1)[:, None] + self._words.sum(axis=1)[None] - shared
        return _SHARPNESS * shared / np.maximum(either, 1) + np.log1p(popularity)

    def _table(self, queries: Sequence[np.ndarray]) -> sparse.csr_array:
        """Which token each query has, float64 [n, V] of 0 and 1."""
        distinct = [np.unique(query) for query in queries]
        starts = np.cumsum([0, *map(len, distinct)])
        columns = np.concatenate([*distinct, np.empty(0, dtype=np.int64)])
        return sparse.csr_array((np.ones(len(columns)), columns, starts), shape=(len(queries), self._vocabulary_size))
