"""T5's encoder-decoder, run over packed tokens.

Papers: Raffel et al., T5 (arXiv 1910.10683), in its first form: ReLU, tied embeddings, attention scores not scaled.
Reference code: ``T5ForConditionalGeneration`` of transformers. The parameters have its names, shapes and distributions
at the start, so weights go from one to the other. Its own passes also compute the padding, the logits of the whole
vocabulary, and the encoder's keys and values once per beam; the tests compare outputs and gradients of the two.
Deviations: none in what is computed. Each weight is drawn once; transformers draws it two or three times, depending on
its version, so that one seed gives other weights with another version.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mgr.model.backbone.layers import Dropout, random_keep
from recbole_mgr.model.backbone.packing import Packing, Padded

DISTANCE_BUCKETS = 32  # T5's: distances share them, small ones exactly, larger ones in steps that grow
LARGEST_DISTANCE = 128  # from here on all distances are one
NORM_EPSILON = 1e-6


class Sizes(NamedTuple):
    """The sizes of a T5.

    Attributes:
        vocabulary_size: token ids, >= 1.
        hidden_size: H, >= 1.
        num_layers: of the encoder, and as many of the decoder, >= 1.
        num_heads: >= 1.
        head_size: >= 1; num_heads * head_size need not be H.
        inner_size: width inside the feed-forward layers, >= 1.
        dropout: in [0, 1), of embeddings, attention weights, inside feed-forward layers, outputs.
    """

    vocabulary_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    head_size: int
    inner_size: int
    dropout: float

    @property
    def of_transformers(self) -> dict[str, Any]:
        """Arguments of transformers' ``T5Config`` for the same T5; token id 0 is the padding and starts the decoder."""
        return {
            "vocab_size": self.vocabulary_size,
            "d_model": self.hidden_size,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "d_kv": self.head_size,
            "d_ff": self.inner_size,
            "dropout_rate": self.dropout,
            "feed_forward_proj": "relu",
            "pad_token_id": 0,
            "decoder_start_token_id": 0,
            "eos_token_id": None,
        }


class PackedTokens(NamedTuple):
    """The real tokens of a batch, its rows in groups of similar length that attend together.

    Attributes:
        token_ids: int64 [M].
        groups: where the tokens stand, in consecutive groups of rows.
    """

    token_ids: Tensor
    groups: list[Packing] | list[Padded]


class Memory(NamedTuple):
    """What the decoder sees of the encoder, in the encoder's groups of rows.

    Attributes:
        keys, values: per layer and group float [b, heads, S, head_size].
        biases: per group float32 [b, 1, 1, S], hides the padding.
    """

    keys: list[list[Tensor]]
    values: list[list[Tensor]]
    biases: list[Tensor]


class Attention(nn.Module):
    """The projections of multi-head attention, and in the first layer of a stack its bias by distance."""

    def __init__(self, hidden_size: int, num_heads: int, head_size: int, *, has_bias: bool = False):
        super().__init__()
        width = num_heads * head_size
        self.q = _linear(hidden_size, width, std=(hidden_size * head_size) ** -0.5)
        self.k = _linear(hidden_size, width, std=hidden_size**-0.5)
        self.v = _linear(hidden_size, width, std=hidden_size**-0.5)
        self.o = _linear(width, hidden_size, std=width**-0.5)
        if has_bias:
            self.relative_attention_bias = nn.Embedding(DISTANCE_BUCKETS, num_heads)
            nn.init.normal_(self.relative_attention_bias.weight, std=hidden_size**-0.5)


class FeedForward(nn.Module):
    """Widen, ReLU, narrow."""

    def __init__(self, hidden_size: int, inner_size: int, dropout: float):
        super().__init__()
        self.wi = _linear(hidden_size, inner_size, std=hidden_size**-0.5)
        self.wo = _linear(inner_size, hidden_size, std=inner_size**-0.5)
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.wo(self.dropout(self.wi(hidden).relu()))


class Residual(nn.Module):
    """What stands around a part of a block: a norm before it, dropout after it.

    Args:
        name: transformers' name of the part.
        part: attention or feed-forward layer, H to H.
        hidden_size: H.
        dropout: in [0, 1).
    """

    def __init__(self, name: str, part: nn.Module, hidden_size: int, dropout: float):
        super().__init__()
        self.add_module(name, part)
        self.layer_norm = nn.RMSNorm(hidden_size, eps=NORM_EPSILON)
        self.dropout = Dropout(dropout)


class Block(nn.Module):
    """Self-attention, in the decoder cross-attention too, and a feed-forward layer."""

    def __init__(self, *, is_decoder: bool, has_bias: bool, sizes: Sizes):
        super().__init__()
        hidden_size, dropout = sizes.hidden_size, sizes.dropout
        heads = (hidden_size, sizes.num_heads, sizes.head_size)
        parts = [("SelfAttention", Attention(*heads, has_bias=has_bias))]
        if is_decoder:
            parts.append(("EncDecAttention", Attention(*heads)))
        parts.append(("DenseReluDense", FeedForward(hidden_size, sizes.inner_size, dropout)))
        self.layer = nn.ModuleList(Residual(name, part, hidden_size, dropout) for name, part in parts)

    def feed_forward(self, hidden: Tensor) -> Tensor:
        """The last layer with what stands around it: [M, H] -> [M, H]."""
        layer = self.layer[-1]
        return hidden + layer.dropout(layer.DenseReluDense(layer.layer_norm(hidden)))


class Stack(nn.Module):
    """Encoder or decoder; its passes are PackedT5's."""

    def __init__(self, embed_tokens: nn.Embedding, *, is_decoder: bool, sizes: Sizes):
        super().__init__()
        self.is_decoder = is_decoder
        self.embed_tokens = embed_tokens
        self.block = nn.ModuleList(
            Block(is_decoder=is_decoder, has_bias=layer == 0, sizes=sizes) for layer in range(sizes.num_layers)
        )
        self.final_layer_norm = nn.RMSNorm(sizes.hidden_size, eps=NORM_EPSILON)
        self.dropout = Dropout(sizes.dropout)

    def relative_bias(self, length: int) -> Tensor:
        """T5's learned bias by distance, float [1, heads, S, S]; the first layer holds it for all."""
        embedding = self.block[0].layer[0].SelfAttention.relative_attention_bias
        buckets = distance_buckets(length, is_decoder=self.is_decoder, device=embedding.weight.device)  # [S, S]
        return embedding(buckets).permute(2, 0, 1).unsqueeze(0)


class PackedT5(nn.Module):
    """T5 with passes that take packed tokens."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes, self.head_size = sizes, sizes.head_size
        self.shared = nn.Embedding(sizes.vocabulary_size, sizes.hidden_size)  # N(0, 1), as T5's
        self.encoder = Stack(self.shared, is_decoder=False, sizes=sizes)
        self.decoder = Stack(self.shared, is_decoder=True, sizes=sizes)
        self.lm_head = nn.Linear(sizes.hidden_size, sizes.vocabulary_size, bias=False)
        self.lm_head.weight = self.shared.weight

    def encode(self, tokens: PackedTokens) -> Tensor:
        """Encoder output [M, H] of the packed tokens [M]."""
        encoder, groups = self.encoder, tokens.groups
        group_sizes = [group.size for group in groups]
        device = tokens.token_ids.device
        relative_bias = encoder.relative_bias(max(group.length for group in groups))  # [1, heads, S, S]
        biases = [relative_bias[:, :, : group.length, : group.length] + group.key_bias(device) for group in groups]
        hidden = encoder.dropout(encoder.embed_tokens(tokens.token_ids))  # [M, H]
        for block in encoder.block:
            self_attention = block.layer[0]
            attention = self_attention.SelfAttention
            projected = project(self_attention.layer_norm(hidden), attention.q, attention.k, attention.v)
            contexts = []
            for group, part, bias in zip(groups, projected.split(group_sizes), biases, strict=True):
                queries, keys, values = split_heads(group.pad(part), 3, self.head_size)
                contexts.append(group.pack(self.attend(queries, keys, values, bias)))
            hidden = hidden + self_attention.dropout(attention.o(torch.cat(contexts)))
            hidden = block.feed_forward(hidden)
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
            self_attention, cross_attention, _ = block.layer
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
            hidden = block.feed_forward(hidden)
        return decoder.dropout(decoder.final_layer_norm(hidden))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """[b, heads, Q, head_size], twice [b, heads, S, head_size] -> [b, Q, heads * head_size]."""
        dropout = self.sizes.dropout if self.training else 0.0
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


def distance_buckets(length: int, *, is_decoder: bool, device: torch.device) -> Tensor:
    """Which bucket the distance from each place to each place falls into, int64 [S, S].

    Half of a direction's buckets hold one distance each; the others grow with its logarithm up to LARGEST_DISTANCE. The
    encoder looks both ways, each with half of the buckets; what the decoder must not see falls into bucket 0.

    Source: T5's relative position bias, as in Mesh TensorFlow.
    """
    place = torch.arange(length, device=device)
    distance = place.unsqueeze(1) - place  # [S, S], > 0 where the place seen comes first
    buckets = DISTANCE_BUCKETS if is_decoder else DISTANCE_BUCKETS // 2
    steps = distance.clamp(min=0) if is_decoder else distance.abs()
    exact = buckets // 2
    growth = torch.log(steps.clamp(min=exact).float() / exact) / math.log(LARGEST_DISTANCE / exact)
    grown = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    bucket = torch.where(steps < exact, steps, grown)
    return bucket if is_decoder else bucket + buckets * (distance < 0)


def project(hidden: Tensor, *layers: nn.Linear) -> Tensor:
    """Several bias-free projections of one input in one product: [..., H] -> [..., sum of their widths]."""
    return F.linear(hidden, torch.cat([layer.weight for layer in layers]))


def split_heads(projected: Tensor, parts: int, head_size: int) -> tuple[Tensor, ...]:
    """[B, S, parts * heads * head_size] -> ``parts`` tensors [B, heads, S, head_size]."""
    return projected.unflatten(-1, (parts, -1, head_size)).permute(2, 0, 3, 1, 4).unbind(0)


def _linear(inputs: int, outputs: int, *, std: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=std)
    return layer
