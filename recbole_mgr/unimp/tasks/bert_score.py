"""BERTScore: how like the true texts generated ones are in meaning, by the token vectors of a language model on disk.

Source: Zhang et al., "BERTScore: Evaluating Text Generation with BERT" (ICLR 2020). As in their bert_score by default,
there are no weights by rarity and no rescaling, and the tokens that a tokenizer puts around a text may be the nearest
ones of others but have no weight of their own. Deviations: the vectors are those of the last layer, where bert_score
takes one chosen for each known model; LONGEST tokens of a text are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.encoding.transformers_text import load_encoder, positions_of
from recbole_mgr.integration.task_results import Estimate, estimate

_TEXTS_AT_ONCE = 64
LONGEST = 128  # tokens, fewer where the model reads fewer


class _Tokens(NamedTuple):
    """The tokens of n texts, padded to S.

    Attributes:
        vectors: float [n, S, H] of length 1.
        there: bool [n, S], False at padding.
        own: bool [n, S], those of the texts themselves, without what the tokenizer puts around them.
    """

    vectors: Tensor
    there: Tensor
    own: Tensor


class BertScore:
    """Scores texts by an encoder.

    Args:
        folder: of a model and its tokenizer, as ``save_pretrained`` writes them.

    Raises:
        ValueError: If they cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer, self._model = load_encoder(folder)
        except ValueError as error:
            raise ValueError(f"bert_score: {error}") from error
        self._longest = min(LONGEST, positions_of(self._model) or LONGEST)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], references: Sequence[str]) -> Estimate:
        """Mean F-measure of n pairs, n >= 1: 1 for equal texts; 0 where one of a pair says nothing."""
        scores = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            said, meant = (self._read(side[part]) for side in (texts, references))
            alike = said.vectors @ meant.vectors.transpose(1, 2)  # [n, S, R], cosines
            alike = alike.masked_fill(~(said.there.unsqueeze(2) & meant.there.unsqueeze(1)), -1.0)
            precision = _mean(alike.amax(dim=2), said.own)
            recall = _mean(alike.amax(dim=1), meant.own)
            measure = 2 * precision * recall / (precision + recall)
            scores += torch.where(said.own.any(1) & meant.own.any(1), measure, 0.0).tolist()
        return estimate(scores)

    def _read(self, texts: Sequence[str]) -> _Tokens:
        batch = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        there = batch.attention_mask.bool()
        own = there & (batch.special_tokens_mask == 0)
        if not own.any():  # nothing is said, and without a token there is nothing that the model could read
            nothing = own.new_zeros(len(texts), 1)
            return _Tokens(torch.zeros(len(texts), 1, self._model.config.hidden_size), nothing, nothing)
        states = self._model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        return _Tokens(F.normalize(states.float(), dim=2), there, own)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Means [n] of the counted values [n, S]."""
    return (values * counted).sum(1) / counted.sum(1).clamp(min=1)
