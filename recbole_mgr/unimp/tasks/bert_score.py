"""BERTScore: how like the true texts generated ones are in meaning, by the token vectors of a language model on disk.

Source: Zhang et al., "BERTScore: Evaluating Text Generation with BERT" (ICLR 2020), without weights by rarity and
without rescaling; the vectors are those of the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.encoding.transformers_text import load_encoder
from recbole_mgr.integration.task_results import Estimate, estimate

_TEXTS_AT_ONCE = 64
_LONGEST = 128  # tokens read of a text


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

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], references: Sequence[str]) -> Estimate:
        """Mean F-measure of n pairs, n >= 1: 1 for equal texts; 0 where one of a pair says nothing."""
        scores = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = slice(start, start + _TEXTS_AT_ONCE)
            (of_texts, said), (of_references, meant) = (self._vectors(side[part]) for side in (texts, references))
            alike = of_texts @ of_references.transpose(1, 2)  # [n, S, R], cosines
            alike = alike.masked_fill(~(said.unsqueeze(2) & meant.unsqueeze(1)), -1.0)
            precision = _mean(alike.amax(dim=2), said)
            recall = _mean(alike.amax(dim=1), meant)
            measure = 2 * precision * recall / (precision + recall)
            scores += torch.where(said.any(1) & meant.any(1), measure, 0.0).tolist()
        return estimate(scores)

    def _vectors(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """A vector of length 1 of each token, float [n, S, H], and whether it is one of the text's own, bool [n, S]."""
        batch = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=_LONGEST,
            return_tensors="pt",
            return_special_tokens_mask=True,
        )
        own = batch.attention_mask.bool() & (batch.special_tokens_mask == 0)
        if not own.any():
            return torch.zeros(len(texts), 1, self._model.config.hidden_size), own.new_zeros(len(texts), 1)
        states = self._model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        return F.normalize(states.float(), dim=2), own


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Means [n] of the counted values [n, S]."""
    return (values * counted).sum(1) / counted.sum(1).clamp(min=1)
