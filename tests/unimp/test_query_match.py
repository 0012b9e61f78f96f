"""Scores of items by the words of a query, by hand."""

import numpy as np
import pytest

from recbole_mgr.unimp.catalogue import ItemCatalogue, RaggedTokenIds
from recbole_mgr.unimp.query_match import QueryMatch
from recbole_mgr.unimp.visual_features import VisualFeatures


def catalogue_of(queries):
    """Items of these own queries, token ids; nothing else is known of them."""
    names = [""] * (len(queries) + 1)
    return ItemCatalogue(
        text=RaggedTokenIds.of([[]] * (len(queries) + 1)),
        query=RaggedTokenIds.of([[], *queries]),
        visual=VisualFeatures.none(len(queries)),
        category=np.zeros(len(names), dtype=np.int64),
        category_names=[""],
        titles=names,
        pictures=names,
        queries=names,
    )


def test_the_match_is_the_share_of_common_words_and_popularity_is_added():
    match = QueryMatch(catalogue_of([[3, 5], [5], [3, 5, 5, 7], [2]]), vocabulary_size=9)
    popularity = np.array([0, 0, 6, 0, 1])
    scores = match.scores([np.array([5, 3, 3]), np.array([8])], popularity)
    assert scores.shape == (2, 5)
    assert scores[0] == pytest.approx([0, 100, 50 + np.log(7), 200 / 3, np.log(2)])
    assert scores[1] == pytest.approx([0, 0, np.log(7), 0, np.log(2)])  # nobody has this word


def test_a_clearly_better_match_comes_before_any_popularity():
    match = QueryMatch(catalogue_of([[1, 2, 3], [1, 2, 3, 4]]), vocabulary_size=5)
    (scores,) = match.scores([np.array([1, 2, 3])], np.array([0, 0, 1_000_000]))
    assert scores[1] > scores[2]


def test_popularity_decides_between_nearly_equal_matches():
    match = QueryMatch(catalogue_of([[1, 2, 3], [1, 2, 3, 4, 6, 7]]), vocabulary_size=9)
    query = [np.array([1, 2, 3, 4, 5])]  # 3 of 5 words, and 4 of 7
    for popularity, first in (([0, 9, 9], 1), ([0, 0, 99], 2)):
        assert match.scores(query, np.array(popularity)).argmax() == first
