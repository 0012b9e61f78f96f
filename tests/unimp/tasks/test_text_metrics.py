"""Text metrics against the libraries' own corpus functions and by hand."""

import math

import numpy as np
import pytest
import sacrebleu

from recbole_mgr.unimp.tasks.text_metrics import bleu, distinct, feature_match, grounded, lower_words, rouge_l, variety

TEXTS = ["the cat sat on the mat", "a dog ran far away today", "the red scarf is warm and soft", "hello there"]
REFERENCES = ["the cat sat on a mat", "a dog ran away today", "this red scarf is warm and so soft", "goodbye now"]


def test_bleu_is_sacrebleus_corpus_bleu():
    expected = sacrebleu.corpus_bleu(TEXTS, [REFERENCES]).score
    estimate = bleu(TEXTS, REFERENCES)
    assert estimate.value == pytest.approx(expected)
    assert estimate.low < expected < estimate.high


def test_bleu_of_no_match_and_of_empty_texts():
    assert bleu(["", ""], ["one two", "three"]).value == 0
    assert bleu(REFERENCES, REFERENCES).value == pytest.approx(100)


def test_rouge_l_by_hand():
    # longest common subsequence "red scarf is warm": 4 of 5 and 4 of 4 words
    assert rouge_l(["red scarf is very warm"], ["Red scarf is warm."]).value == pytest.approx(8 / 9)


def test_rouge_l_reads_other_scripts():
    assert rouge_l(["тёплый красный шарф"], ["тёплый шарф"]).value == pytest.approx(0.8)


def test_distinct_counts_bigrams_over_all_texts():
    assert distinct(["a b c", "a b d", "e"]).value == pytest.approx(3 / 4)
    assert math.isnan(distinct(["a b"]).low)
    assert distinct([""]).value == 0


def test_feature_match_is_the_share_of_the_named():
    estimate = feature_match(["red and warm", "soft", "what"], [{"red", "cold"}, {"soft"}, set()])
    assert estimate.value == pytest.approx((0.5 + 1) / 2)
    assert math.isnan(feature_match(["red"], [set()]).value)


def test_grounded_is_the_share_of_what_a_text_names_that_is_so():
    texts = ["red and warm", "green soft", "what"]
    estimate = grounded(texts, {"red", "green", "warm", "soft"}, [{"red", "soft"}, {"green", "soft"}, {"red"}])
    assert estimate.value == pytest.approx((0.5 + 1) / 2)
    assert math.isnan(grounded(["what"], {"red"}, [{"red"}]).value)


def test_variety_is_between_users_of_the_same_item():
    assert variety(["a b", "b c", "b a", "else"], [1, 1, 1, 2]).value == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert variety(["", ""], [1, 1]).value == 0
    assert math.isnan(variety(["a", "b"], [1, 2]).value)


def test_the_interval_of_variety_is_over_items():
    same, different = ["a"] * 6, list("abcdef")  # 15 pairs each, of 0 and of 1
    estimate = variety([*same, *different], [1] * 6 + [2] * 6)
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0, 1)  # a quarter of the resamples have one item only
    alone = variety(different, [1] * 6)
    assert alone.value == 1 and math.isnan(alone.low) and math.isnan(alone.high)


def test_the_interval_of_variety_is_as_wide_as_its_spread_over_worlds():
    generator = np.random.default_rng(0)
    widths, values = [], []
    for _ in range(100):  # worlds of 40 items, each with its own chance that a user is told something else
        chances = generator.random(40)
        texts = [f"word{n if generator.random() < chance else 0}" for chance in chances for n in range(8)]
        estimate = variety(texts, np.repeat(np.arange(40), 8).tolist())
        values.append(estimate.value)
        widths.append(estimate.high - estimate.low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.2)


def test_words_in_lower_case_without_punctuation():
    assert lower_words("Rosé, 30 ml!") == ["rosé", "30", "ml"]
    assert lower_words("हिन्दी की, ที่นี่") == ["हिन्दी", "की", "ที่นี่"]
    assert lower_words("I ❤\ufe0f it") == ["i", "it"]  # the mark that makes a sign an emoji was a word
