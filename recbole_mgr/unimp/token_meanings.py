"""Words of a pretrained language model that say what UniMP's new tokens mean, to start them from.

A random row is an unlikely word to a language model that has read much: on the bundled sample the marks began at 10 to
18 nats beside reviews at 2.7, and rows at the mean of all words at 13 to 18.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from recbole_mgr.unimp.catalogue import ItemCatalogue
from recbole_mgr.unimp.personal_data import PersonalData

_TYPICAL = 3  # words of a code


def meanings_of_new_tokens(data: PersonalData) -> list[np.ndarray]:
    """The words for each new token, in the order of the vocabulary.

    Marks have a word each, ratings their number, candidates a letter; a code of a semantic ID has the words that its
    items have more often than others. Codes of pictures have none.

    Args:
        data: items, semantic IDs, and the vocabulary with the tokenizer of the pretrained language model.

    Returns:
        int64 [n] token ids of the language model for each of ``vocabulary.num_new`` tokens; n is 0 where there are no
        words.
    """
    vocabulary = data.vocabulary
    letters = [chr(ord("A") + index % 26) for index in range(len(vocabulary.candidate_ids))]
    words = [" picture", ":", "\n", *(f"{value:g}" for value in data.rating_values), *letters]
    token_ids = data.tokenizer(words, add_special_tokens=False)["input_ids"]
    meanings = [np.array(token_ids_of, dtype=np.int64) for token_ids_of in token_ids]
    meanings += [np.empty(0, dtype=np.int64)] * len(vocabulary.picture_ids)
    codes = data.table.codes.numpy()[1:]  # [N, D]
    for depth, size in enumerate(data.table.sizes):
        meanings += _typical_words(data.catalogue, codes[:, depth], size)
    return meanings


def _typical_words(catalogue: ItemCatalogue, codes: np.ndarray, size: int) -> list[np.ndarray]:
    """For each of ``size`` codes the tokens of its items' texts that tell it from others; codes int64 [N]."""
    texts = [catalogue.text_token_ids(item_id) for item_id in range(1, len(codes) + 1)]
    tokens = pl.DataFrame({"code": np.repeat(codes, [len(text) for text in texts]), "token": np.concatenate(texts)})
    counts = tokens.group_by("code", "token").agg(here=pl.len().cast(pl.Float64))
    share = pl.col("here") / pl.col("here").sum().over("code")
    overall = pl.col("here").sum().over("token") / pl.col("here").sum()
    # what the token adds to the divergence of the code's words from all words
    typical = counts.with_columns(weight=share * (share / overall).log()).sort("weight", "token", descending=True)
    chosen = dict(typical.group_by("code").agg(pl.col("token").head(_TYPICAL)).iter_rows())
    return [np.array(chosen.get(code, []), dtype=np.int64) for code in range(size)]
