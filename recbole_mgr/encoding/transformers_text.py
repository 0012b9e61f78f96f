"""Texts by a language model of transformers: one vector from the vectors of a text's tokens.

Source: pooling as in sentence-transformers (Reimers and Gurevych, 2019): the mean over tokens, the first token
(``cls``), or the last (decoders).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from recbole_mgr.encoding.encoder import (
    POOLINGS,
    PRECISIONS,
    Encoder,
    EncoderRequest,
    data_fingerprint,
    weights_fingerprint,
)

LONGEST = 512  # tokens read where neither tokenizer nor model names a limit
_NOT_IDENTITY = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}  # where from and how saved


class TransformersText(Encoder):
    """Args:
    name: of a model on the hub, or a folder with a saved model and tokenizer.
    pooling: ``mean``, ``cls`` or ``last``.
    max_tokens: longer texts are cut there; None = what tokenizer and model allow, LONGEST at most.
    normalize: give vectors length 1.
    device, precision: where and in what the model runs.

    Raises:
        ValueError: If the model cannot be loaded, **or** there is no such pooling, **or** max_tokens is below 1 or
            more than the model has positions for.
    """

    reads = "text"
    libraries = ("torch", "transformers")

    def __init__(
        self, *, name: str, pooling: str, max_tokens: int | None, normalize: bool, device: str, precision: str
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"--pooling {pooling}: expected one of {', '.join(POOLINGS)}")
        try:
            self._tokenizer, model = load_encoder(name)
        except ValueError as error:
            raise ValueError(
                f"transformers:{error}, or the name of a model on the hub (on a machine without network, download it "
                "elsewhere and copy its folder)"
            ) from error
        self._max_tokens = self._checked_length(max_tokens, positions_of(model))
        self._name = name
        self.identity = {
            "family": "transformers",
            "configuration": data_fingerprint(
                {key: value for key, value in model.config.to_dict().items() if key not in _NOT_IDENTITY}
            ),
            "weights": weights_fingerprint(model),
            "vocabulary": data_fingerprint(self._tokenizer.get_vocab()),
            "pooling": pooling,
            "max_tokens": self._max_tokens,
            "normalize": normalize,
            "precision": precision,
        }
        self._model = model.to(device, PRECISIONS[precision])
        self._pooling, self._normalize, self._device = pooling, normalize, device

    @classmethod
    def of(cls, request: EncoderRequest) -> TransformersText:
        return cls(
            name=request.name.partition(":")[2],
            pooling=request.pooling,
            max_tokens=request.max_tokens,
            normalize=request.normalize,
            device=request.device,
            precision=request.precision,
        )

    @property
    def settings(self) -> dict[str, Any]:
        return {"encoder": f"transformers:{self._name}", **self.identity}

    def _checked_length(self, asked: int | None, positions: int | None) -> int:
        most = positions or LONGEST
        if asked is None:
            return min(self._tokenizer.model_max_length, most, LONGEST)
        if not 1 <= asked <= (positions or asked):
            raise ValueError(f"--max_tokens {asked}: the model reads 1 to {positions} tokens")
        return asked

    @torch.inference_mode()
    def encode(self, contents: Sequence[str]) -> np.ndarray:
        tokens = self._tokenizer(
            list(contents), padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        states = self._model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        pooled = pool(states.float(), tokens.attention_mask, self._pooling)  # [B, L, H] -> [B, H]
        if self._normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        return pooled.cpu().numpy().astype(np.float16)


def load_encoder(name: str | Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """The tokenizer of a saved model, and the model as far as it reads texts.

    Raises:
        ValueError: If they cannot be loaded.
    """
    try:
        # without an answer transformers would ask at the terminal whether code that lies there may run
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = AutoModel.from_pretrained(name, trust_remote_code=False).eval()
    except Exception as error:  # a parser may raise anything on damaged bytes
        raise ValueError(f"{name} cannot be loaded ({error}); give a folder made by save_pretrained") from error
    if tokenizer.pad_token is None:  # decoders have none; what it is does not matter, it is masked
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.get_encoder() if model.config.is_encoder_decoder else model


def positions_of(model: PreTrainedModel) -> int | None:
    """The most tokens of one text that a model has positions for; None where it knows no limit."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.num_embeddings - module.padding_idx - 1  # RoBERTa's family begins after the padding's row
    return getattr(model.config, "max_position_embeddings", None)


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """One vector of each text.

    Args:
        states: float [B, L, H], a vector of each token.
        mask: int [B, L], 1 at tokens and 0 at padding, on whichever side that is; each row has a 1.
        pooling: ``mean``, ``cls`` or ``last``.

    Returns:
        float [B, H].
    """
    if pooling == "mean":
        weights = mask.unsqueeze(2).to(states.dtype)  # [B, L, 1]
        return (states * weights).sum(1) / weights.sum(1)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)  # [B, L]
    if pooling == "cls":
        chosen = places.masked_fill(mask == 0, mask.shape[1]).min(dim=1).values  # [B]
    else:
        chosen = places.masked_fill(mask == 0, -1).max(dim=1).values  # [B]
    return states[torch.arange(len(states), device=states.device), chosen]
