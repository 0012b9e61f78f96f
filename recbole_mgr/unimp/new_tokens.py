"""New tokens for a language model: trainable rows beside its own, in the input and in the output.

The base rows keep their module, and so their names, their tying and whether they are trained; the new rows are
parameters of their own, so a frozen language model still learns what its new tokens mean and how to write them.
UniMP's code relies on ``resize_token_embeddings`` after freezing, which leaves the output rows frozen and random
(with transformers from 4.37 on).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

_NOISE = 0.1  # tells tokens of the same meaning apart


class JoinedEmbedding(nn.Module):
    """Token ids below ``len(base.weight)`` read the base embedding, the others the new rows.

    Args:
        base: the language model's input embedding.
        new: float [num_new, H].
    """

    def __init__(self, base: nn.Embedding, new: Tensor) -> None:
        super().__init__()
        self.base = base
        self.new = nn.Parameter(new)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Vectors [..., H] of token ids [...]."""
        num_base = self.base.num_embeddings
        new = F.embedding((token_ids - num_base).clamp(min=0), self.new)  # [..., H]
        return torch.where((token_ids < num_base).unsqueeze(-1), self.base(token_ids.clamp(max=num_base - 1)), new)


class JoinedHead(nn.Module):
    """Logits of the base tokens by the language model's output layer, then those of the new tokens.

    Args:
        base: the language model's output layer.
        new: float [num_new, H].
    """

    def __init__(self, base: nn.Linear, new: Tensor) -> None:
        super().__init__()
        self.base = base
        self.new = nn.Parameter(new)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., H]."""
        return torch.cat([self.base(hidden), F.linear(hidden, self.new)], dim=-1)

    def logits(self, hidden: Tensor, token_ids: Tensor | slice) -> Tensor:
        """Logits of some tokens, without computing the others.

        Args:
            hidden: float [..., H].
            token_ids: int64 [n], or a slice with start and stop that lies among the new tokens.

        Returns:
            float [..., n].
        """
        num_base = self.base.out_features
        if isinstance(token_ids, slice):
            return F.linear(hidden, self.new[token_ids.start - num_base : token_ids.stop - num_base])
        base_ids, is_base = token_ids.clamp(max=num_base - 1), token_ids < num_base
        new_rows = self.new[(token_ids - num_base).clamp(min=0)]
        rows = torch.where(is_base.unsqueeze(-1), self.base.weight[base_ids], new_rows)  # [n, H]
        bias = None if self.base.bias is None else self.base.bias[base_ids] * is_base  # [n]
        return F.linear(hidden, rows, bias)


def extend_vocabulary(lm: PreTrainedModel, num_new: int, meanings: Sequence[np.ndarray] = ()) -> None:
    """Give a language model ``num_new`` tokens after its own, their input and output rows trainable.

    Call it after :func:`recbole_mgr.unimp.language_model.apply_training`. New rows start as random ordinary
    tokens: normally distributed with the mean and the spread of the base rows, per dimension; those with a meaning as
    the mean of its words' rows, and a little of the random ones. ``config.vocab_size`` follows, so that
    ``lm.generate`` can write them.

    Args:
        lm: a causal language model; changed in place.
        num_new: >= 1.
        meanings: for each new token int64 [n] base tokens that say what it means, n = 0 for none; empty without any.

    Raises:
        ValueError: If the logits of the language model are not simply those of its output layer (some models scale
            or cap them): :meth:`JoinedHead.logits` would then disagree with the model's own forward pass.
    """
    embedding, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    _check_head_is_last(lm, head)
    with torch.no_grad():
        shown = embedding(torch.arange(embedding.num_embeddings, device=embedding.weight.device))
        lm.set_input_embeddings(JoinedEmbedding(embedding, _start(shown, num_new, meanings)))
        lm.set_output_embeddings(JoinedHead(head, _start(head.weight, num_new, meanings)))
    # transformers ties by parameter name; the base rows stay tied because they are one and the same tensor.
    lm.config.tie_word_embeddings = False
    lm.all_tied_weights_keys = {}
    lm.config.get_text_config().vocab_size = embedding.num_embeddings + num_new


def _start(rows: Tensor, number: int, meanings: Sequence[np.ndarray]) -> Tensor:
    """[number, H] random rows with the mean and standard deviation of the given ones [V, H], or those of meanings."""
    noise = rows.std(0) * torch.randn(number, rows.shape[1], dtype=rows.dtype, device=rows.device)
    start = rows.mean(0) + noise
    for index, token_ids in enumerate(meanings):
        if len(token_ids):
            start[index] = rows[torch.from_numpy(token_ids)].mean(0) + _NOISE * noise[index]
    return start


@torch.no_grad()
def _check_head_is_last(lm: PreTrainedModel, head: nn.Module) -> None:
    outputs = []
    hook = head.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    token_ids = torch.arange(min(8, len(head.weight)), device=head.weight.device).unsqueeze(0)
    try:
        logits = lm(input_ids=token_ids, attention_mask=torch.ones_like(token_ids)).logits
    finally:
        hook.remove()
    if not torch.equal(logits, outputs[-1]):
        raise ValueError(
            f"language_model: {type(lm).__name__} changes the logits after its output layer (scaling or capping), "
            "which is not supported; choose one that does not, such as Llama, Qwen, SmolLM or GPT-2"
        )
