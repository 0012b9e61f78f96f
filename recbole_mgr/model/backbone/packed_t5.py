"""transformers' T5, run over packed tokens.

Papers: Raffel et al., T5 (arXiv 1910.10683).
Reference code: ``T5ForConditionalGeneration`` of transformers. It supplies the parameters, their names and
their initialisation. The passes over them are written out here, because its own also compute the padding, the
logits of the whole vocabulary, and the encoder's keys and values once per beam; the tests compare the two.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from recbole_mgr.model.backbone.layers import Dropout, random_keep
from recbole_mgr.model.backbone.packing import Packing


class PackedTokens(NamedTuple):
    """The real tokens of a batch, its rows in groups of similar length that attend together.

    Attributes:
        token_ids: int64 [M].
        groups: where the tokens stand, in consecutive groups of rows.
    """

    token_ids: Tensor
    groups: list[Packing]


class Memory(NamedTuple):
    """What the decoder sees of the encoder, in the encoder's groups of rows.

    Attributes:
        keys, values: per layer and group float [b, heads, S, head_size].
        biases: per group float32 [b, 1, 1, S], hides the padding.
    """

    keys: list[list[Tensor]]
    values: list[list[Tensor]]
    biases: list[Tensor]


class PackedT5(T5ForConditionalGeneration):
    """T5 with passes that take packed tokens; everything else is transformers'.

    Args:
        config: sizes; ``feed_forward_proj`` and ``tie_word_embeddings`` as T5 has them by default.
    """

    def __init__(self, config: T5Config):
        super().__init__(config)
        self.head_size = config.d_kv
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Dropout):
                    setattr(module, name, Dropout(child.p))

    def encode(self, tokens: PackedTokens) -> Tensor:
        """Encoder output [M, H] of the packed tokens [M]."""
        encoder, groups = self.encoder, tokens.groups
        group_sizes = [group.size for group in groups]
        device = tokens.token_ids.device
        relative_bias = self.relative_bias(encoder, max(group.length for group in groups))  # [1, heads, S, S]
        biases = [relative_bias[:, :, : group.length, : group.length] + group.key_bias(device) for group in groups]
        hidden = encoder.dropout(encoder.embed_tokens(tokens.token_ids))  # [M, H]
        for self_attention, feed_forward in (block.layer for block in encoder.block):
            attention = self_attention.SelfAttention
            projected = project(self_attention.layer_norm(hidden), attention.q, attention.k, attention.v)
            contexts = []
            for group, part, bias in zip(groups, projected.split(group_sizes), biases, strict=True):
                queries, keys, values = split_heads(group.pad(part), 3, self.head_size)
                contexts.append(group.pack(self.attend(queries, keys, values, bias)))
            hidden = hidden + self_attention.dropout(attention.o(torch.cat(contexts)))
            hidden = feed_forward(hidden)
        return encoder.dropout(encoder.final_layer_norm(hidden))

    def read(self, tokens: PackedTokens) -> Memory:
        """Encode, and project the output to the keys and values of every decoder layer."""
        encoded = self.encode(tokens)  # [M, H]
        keys, values = [], []
        for block in self.decoder.block:
            attention = block.layer[1].EncDecAttention
            parts = project(encoded, attention.k, attention.v).split([group.size for group in tokens.groups])
            pairs = [
                split_heads(group.pad(part), 2, self.head_size)
                for group, part in zip(tokens.groups, parts, strict=True)
            ]
            layer_keys, layer_values = zip(*pairs, strict=True)
            keys.append(list(layer_keys))
            values.append(list(layer_values))
        return Memory(keys, values, [group.key_bias(encoded.device) for group in tokens.groups])

    def decode(self, tokens: PackedTokens, memory: Memory, attend_to_self: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Decoder output at the places of each row: those of one sequence, or the beams of one user.

        Args:
            tokens: [M], in the memory's groups of rows.
            memory: what they attend to.
            attend_to_self: (layer, queries, keys and values [M, 3 * heads * head_size]) -> what each place sees
                of its own sequence [M, heads * head_size].

        Returns:
            float [M, H].
        """
        decoder, groups = self.decoder, tokens.groups
        group_sizes = [group.size for group in groups]
        hidden = decoder.dropout(decoder.embed_tokens(tokens.token_ids))  # [M, H]
        for layer, block in enumerate(decoder.block):
            self_attention, cross_attention, feed_forward = block.layer
            attention = self_attention.SelfAttention
            projected = project(self_attention.layer_norm(hidden), attention.q, attention.k, attention.v)
            hidden = hidden + self_attention.dropout(attention.o(attend_to_self(layer, projected)))
            attention = cross_attention.EncDecAttention
            projected = attention.q(cross_attention.layer_norm(hidden))  # [M, heads * head_size]
            contexts = []
            for group, part, keys, values, bias in zip(
                groups,
                projected.split(group_sizes),
                memory.keys[layer],
                memory.values[layer],
                memory.biases,
                strict=True,
            ):
                (queries,) = split_heads(group.pad(part), 1, self.head_size)
                contexts.append(group.pack(self.attend(queries, keys, values, bias)))
            hidden = hidden + cross_attention.dropout(attention.o(torch.cat(contexts)))
            hidden = feed_forward(hidden)
        return decoder.dropout(decoder.final_layer_norm(hidden))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """[b, heads, Q, head_size], twice [b, heads, S, head_size] -> [b, Q, heads * head_size]."""
        dropout = self.config.dropout_rate if self.training else 0.0
        bias = bias.to(queries.dtype)
        if queries.device.type == "cpu" and torch.is_grad_enabled():
            # what torch falls back to for a bias that learns, less its scaling and its guards against NaN
            weights = (queries @ keys.transpose(-1, -2)).add_(bias).softmax(dim=-1)  # [b, heads, Q, S]
            if dropout:
                weights = weights * random_keep(weights, dropout)
            context = weights.to(values.dtype) @ values
        else:
            context = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=bias, dropout_p=dropout, scale=1.0
            )
        return context.transpose(1, 2).flatten(2)

    def relative_bias(self, stack: nn.Module, length: int) -> Tensor:
        """T5's learned bias by distance [1, heads, S, S]; the first layer holds it for all."""
        return stack.block[0].layer[0].SelfAttention.compute_bias(length, length)


def project(hidden: Tensor, *layers: nn.Linear) -> Tensor:
    """Several bias-free projections of one input in one product: [..., H] -> [..., sum of their widths]."""
    return F.linear(hidden, torch.cat([layer.weight for layer in layers]))


def split_heads(projected: Tensor, parts: int, head_size: int) -> tuple[Tensor, ...]:
    """[B, S, parts * heads * head_size] -> ``parts`` tensors [B, heads, S, head_size]."""
    return projected.unflatten(-1, (parts, -1, head_size)).permute(2, 0, 3, 1, 4).unbind(0)
