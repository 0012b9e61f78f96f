"""What new tokens mean, in words of the language model."""

import pytest
from untrained_unimp import make_run

from recbole_mgr.unimp.token_meanings import meanings_of_new_tokens


@pytest.fixture(scope="module")
def meanings():
    """Items a to f are red and blue soaps, combs and masks: the first digit is the kind, the second the colour."""
    data = make_run("rec,preference,selection,image").network.personal
    return data.vocabulary, [data.tokenizer.decode(words) for words in meanings_of_new_tokens(data)]


def test_there_is_one_for_each_new_token_in_the_order_of_the_vocabulary(meanings):
    vocabulary, words = meanings
    assert len(words) == vocabulary.num_new
    named = {
        token_id: words[token_id - vocabulary.base_size] for token_id in range(vocabulary.base_size, vocabulary.size)
    }
    assert [named[mark] for mark in (vocabulary.image_id, vocabulary.answer_id, vocabulary.end_id)] == [
        " picture",
        " :",
        " \n",
    ]
    assert [named[token_id].strip() for token_id in vocabulary.rating_ids.tolist()] == ["1", "2", "5"]
    assert [named[token_id].strip() for token_id in vocabulary.candidate_ids.tolist()] == ["A", "B", "C"]
    assert {named[token_id] for token_id in vocabulary.picture_ids.tolist()} == {""}


def test_codes_have_the_words_that_tell_their_items_from_others(meanings):
    vocabulary, words = meanings
    kinds, colours = (
        words[slice(part.start - vocabulary.base_size, part.stop - vocabulary.base_size)]
        for part in map(vocabulary.digit_ids, (0, 1))
    )
    for kind, text in zip(("soap", "comb", "mask"), kinds, strict=True):
        assert kind in text
    for colour, text in zip(("red", "blue"), colours, strict=True):
        assert colour in text
