"""How like the true texts generated ones are, and how they differ from each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from recbole_mgr.data.words import words_of
from recbole_mgr.integration.task_results import Estimate, estimate

_ORDERS = 4  # BLEU's n-grams: 1 to 4


def lower_words(text: str) -> list[str]:
    """Its words in lower case, in any writing."""
    return words_of(text.lower())


def bleu(texts: Sequence[str], references: Sequence[str]) -> Estimate:
    """Corpus BLEU (0 to 100) by sacrebleu, in its default form: 4-grams, tokenizer 13a, exponential smoothing.

    Args:
        texts, references: n of each, n >= 1.
    """
    from sacrebleu.metrics import BLEU

    metric = BLEU(effective_order=True)  # so that single sentences can be counted; the score below is the corpus's
    scores = [metric.sentence_score(text, [reference]) for text, reference in zip(texts, references, strict=True)]
    counts = np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores])

    def of_mean(mean: np.ndarray) -> float:
        *grams, length, reference_length = np.rint(mean * len(scores)).astype(int).tolist()
        right, all_grams = grams[:_ORDERS], grams[_ORDERS:]
        return BLEU.compute_bleu(right, all_grams, length, reference_length, smooth_method="exp").score

    return estimate(counts, of_mean)


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> Estimate:
    """Mean F-measure (0 to 1) of the longest common subsequence of words, by rouge_score."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    pairs = zip(texts, references, strict=True)
    return estimate([scorer.score(reference, text)["rougeL"].fmeasure for text, reference in pairs])


def distinct(texts: Sequence[str], order: int = 2) -> Estimate:
    """Different n-grams of words by all of them (0 to 1), over all texts together; 0 where there are none.

    There is no interval: a resample repeats texts, and so always has fewer different ones.
    """
    grams = [gram for text in texts for gram in _grams(lower_words(text), order)]
    return Estimate(len(set(grams)) / max(len(grams), 1), np.nan, np.nan)


def feature_match(texts: Sequence[str], features: Sequence[set[str]]) -> Estimate:
    """Mean share (0 to 1) of the feature words that a text has; texts without features to match are left out."""
    shares = [
        len(named & set(lower_words(text))) / len(named) for text, named in zip(texts, features, strict=True) if named
    ]
    return estimate(shares) if shares else Estimate(np.nan, np.nan, np.nan)


def grounded(texts: Sequence[str], features: set[str], true: Sequence[set[str]]) -> Estimate:
    """Mean share (0 to 1) of the feature words in a text that are true of its item; the rest is made up. Texts without
    a feature word are left out.

    Args:
        texts: n texts.
        features: words that tell something of some item.
        true: of n items, those that tell something of it.
    """
    named = [features & set(lower_words(text)) for text in texts]
    shares = [len(words & own) / len(words) for words, own in zip(named, true, strict=True) if words]
    return estimate(shares) if shares else Estimate(np.nan, np.nan, np.nan)


def variety(texts: Sequence[str], items: Sequence[int]) -> Estimate:
    """How different the texts for different users of the same item are: the mean over pairs of 1 - the share of words
    that both have (Jaccard); 0 where all users are told the same. Items with one text are left out.

    The interval is over items, since the pairs of an item share texts; there is none for a single item.

    Args:
        texts: n texts.
        items: n item ids, what they are about.
    """
    of_item: dict[int, list[set[str]]] = {}
    for text, item in zip(texts, items, strict=True):
        of_item.setdefault(item, []).append(set(lower_words(text)))
    statistics = []  # of each item: the sum over its pairs, and how many they are
    for words in of_item.values():
        pairs = list(itertools.combinations(words, 2))
        if pairs:
            statistics.append((sum(len(one ^ other) / max(1, len(one | other)) for one, other in pairs), len(pairs)))
    if len(statistics) > 1:
        return estimate(statistics, lambda mean: mean[0] / mean[1])
    return Estimate(statistics[0][0] / statistics[0][1] if statistics else np.nan, np.nan, np.nan)


def _grams(words: list[str], order: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(order)), strict=False))


class _Words:
    """rouge_score's own tokenizer drops all letters but a to z."""

    def tokenize(self, text: str) -> list[str]:
        return lower_words(text)
