"""Images for a language model: a Perceiver resampler and gated cross-attention before its layers.

The language model stays as it is: the cross-attention blocks hang on forward hooks of its decoder layers, so its
modules keep their names and ``generate`` works with its cache. What a token may see is fine-grained: a token of an
item's text sees that item's image and no other.

Source: Alayrac et al., Flamingo (arXiv 2204.14198), as Wei et al., UniMP (arXiv 2403.10667) use it by OpenFlamingo.
Deviations: a token names the image it sees, which stands for OpenFlamingo's "the latest image before it" and lets a
closing question see them all; image features come as vectors, so there are no position embeddings of pictures; an
image that occurs several times in a batch is resampled once; latents start small, see ``LATENT_SCALE``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from recbole_mgr.integration.transformers_models import cached_tokens, unexpected
from recbole_mgr.unimp.language_model import decoder_layers
from recbole_mgr.unimp.rows import SEES_ALL

# Flamingo's latents start at scale 1 and drown the image: what an untrained resampler says of 50 images then has a
# standard deviation of 0.04 over the images and 0.9 over the latents. At 0.02 it is 0.27 and 0.31.
LATENT_SCALE = 0.02


def visible_images(sees: Tensor, images: Tensor, image_positions: Tensor) -> Tensor:
    """Which image each token sees.

    Args:
        sees: int64 [B, S], the index of an image of the row, or SEES_NOTHING, or SEES_ALL: all that stand at or
            before the token.
        images: int64 [B, M], item ids, 0 where there is no image.
        image_positions: int64 [B, M], where the image's token stands.

    Returns:
        bool [B, S, M].
    """
    position = torch.arange(sees.shape[1], device=sees.device)
    own = sees.unsqueeze(-1) == torch.arange(images.shape[1], device=sees.device)  # [B, S, M]
    earlier = image_positions.unsqueeze(1) <= position.unsqueeze(-1)  # [B, S, M]
    return (own | ((sees == SEES_ALL).unsqueeze(-1) & earlier)) & (images > 0).unsqueeze(1)


def feed_forward(hidden_size: int, inner_size: int, dropout: float) -> nn.Sequential:
    """Norm, widen, GELU, narrow; without biases, as in Flamingo."""
    return nn.Sequential(
        nn.LayerNorm(hidden_size),
        nn.Linear(hidden_size, inner_size, bias=False),
        nn.GELU(),
        nn.Linear(inner_size, hidden_size, bias=False),
        nn.Dropout(dropout),
    )


class CrossAttention(nn.Module):
    """Multi-head attention of normed queries to keys and values made elsewhere from normed sources.

    Args:
        hidden_size: H.
        heads: must divide H.
        dropout: of attention weights, in [0, 1).
    """

    def __init__(self, hidden_size: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.key_value = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, queries: Tensor, key_value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            queries: float [n, Q, H], not normed yet.
            key_value: float [n, T, 2H], from ``self.key_value``.
            mask: bool [n, Q, T], whom a query may attend to; None stands for all.

        Returns:
            float [n, Q, H], exactly 0 where a query may attend to nothing.
        """
        attended = F.scaled_dot_product_attention(
            self._split(self.query(self.norm(queries))),  # [n, heads, Q, H / heads]
            *(self._split(part) for part in key_value.chunk(2, dim=-1)),
            # A softmax over nothing is NaN, so such a query attends to all and its result is dropped.
            attn_mask=None if mask is None else (mask | ~mask.any(-1, keepdim=True)).unsqueeze(1),
            dropout_p=self.dropout if self.training else 0.0,
        )
        attended = self.output(attended.transpose(1, 2).flatten(2))  # [n, Q, H]
        return attended if mask is None else attended * mask.any(-1, keepdim=True)

    def _split(self, hidden: Tensor) -> Tensor:
        return hidden.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [n, heads, Q, H / heads]


class PerceiverResampler(nn.Module):
    """Any number of patch features of an image to a fixed number of latents.

    Args:
        dim: size of a patch feature.
        hidden_size: H, of the latents.
        latents: how many, >= 1.
        layers: >= 1, each cross-attention to patches and latents, and a feed-forward layer.
        heads: must divide H.
        dropout: in [0, 1).
    """

    def __init__(
        self, *, dim: int, hidden_size: int, latents: int, layers: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden_size))
        self.latents = nn.Parameter(LATENT_SCALE * torch.randn(latents, hidden_size))
        self.attention = nn.ModuleList(CrossAttention(hidden_size, heads, dropout=dropout) for _ in range(layers))
        self.feed_forward = nn.ModuleList(feed_forward(hidden_size, 4 * hidden_size, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        """Features [n, P, dim] to latents [n, latents, H]."""
        patches = self.project(features)  # [n, P, H]
        latents = self.latents.expand(len(features), -1, -1)
        for attention, feed in zip(self.attention, self.feed_forward, strict=True):
            sources = torch.cat([patches, attention.norm(latents)], dim=1)  # [n, P + latents, H]
            latents = latents + attention(latents, attention.key_value(sources))
            latents = latents + feed(latents)
        return self.norm(latents)


class GatedCrossAttention(nn.Module):
    """Cross-attention to image latents and a feed-forward layer, each behind a tanh gate.

    Args:
        hidden_size: H.
        heads: must divide H.
        inner_size: width of the feed-forward layer.
        dropout: in [0, 1).
        gate_start: where both gates start; at 0 the layer changes nothing.
    """

    def __init__(
        self, *, hidden_size: int, heads: int, inner_size: int, dropout: float = 0.0, gate_start: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = CrossAttention(hidden_size, heads, dropout=dropout)
        self.feed_forward = feed_forward(hidden_size, inner_size, dropout)
        self.attention_gate = nn.Parameter(torch.tensor([float(gate_start)]))  # [1]; FSDP shares no number
        self.feed_forward_gate = nn.Parameter(torch.tensor([float(gate_start)]))

    def forward(self, hidden: Tensor, key_value: Tensor, visible: Tensor) -> Tensor:
        """Hidden states [n, S, H] and what they see: key_value [n, T, 2H], visible bool [n, S, T]."""
        if visible.shape[-1]:
            hidden = hidden + self.attention_gate.tanh() * self.attention(hidden, key_value, visible)
        return hidden + self.feed_forward_gate.tanh() * self.feed_forward(hidden)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in (f"{prefix}attention_gate", f"{prefix}feed_forward_gate"):
            if name in state_dict and not state_dict[name].dim():  # earlier gates were numbers
                state_dict[name] = state_dict[name].view(1)
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Shown(NamedTuple):
    """The images of a batch: latents [U, latents, H] of distinct images, which [B, M] of them, visible [B, S, M]."""

    latents: Tensor
    which: Tensor
    visible: Tensor


@dataclass
class _View:
    """What the forward passes of one thread see, and where they are: hooks take no arguments of a call.

    Attributes:
        of: the conditioning that shows it.
        shown: None where nothing is.
        keys_values: of the blocks so far, by index, float [B, M * latents, 2H].
        cached: tokens in the cache of the forward pass that runs.
        origin: how many of them stand before those that `sees` speaks of.
        read: tokens read since then, by our own count; None before the first pass.
        position: of the first token of the forward pass that runs, counted from the origin.
        blocks_run: of the forward pass that runs.
    """

    of: VisualConditioning
    shown: _Shown | None = None
    keys_values: dict[int, Tensor] = field(default_factory=dict)
    cached: int = 0
    origin: int = 0
    read: int | None = None
    position: int = 0
    blocks_run: int = 0


_VIEW: ContextVar[_View | None] = ContextVar("what a language model sees", default=None)


class VisualConditioning(nn.Module):
    """Lets a language model see images, inside ``with conditioning.showing(...)``; outside it sees none. What is shown
    is the affair of the thread that shows it.

    Args:
        lm: any causal language model of transformers; it gets forward hooks, and stays no part of this module.
        every_n: a cross-attention block stands before the n-th, 2n-th, ... decoder layer, as in OpenFlamingo.
        visual_dim: size of a patch feature.
        latents: per image, >= 1.
        resampler_layers: >= 1.
        heads: of both attentions; must divide the hidden size of the language model.
        inner_size: of the blocks' feed-forward layers; None is 4 times the hidden size.
        dropout: in [0, 1).
        gate_start: of the blocks' gates; 0 leaves the language model as it is until they are trained.

    Raises:
        ValueError: If the language model has no layer for a block, or heads do not divide its hidden size.
    """

    def __init__(
        self,
        lm: PreTrainedModel,
        *,
        every_n: int,
        visual_dim: int,
        latents: int,
        resampler_layers: int,
        heads: int,
        inner_size: int | None = None,
        dropout: float = 0.0,
        gate_start: float = 0.0,
    ) -> None:
        super().__init__()
        layers = decoder_layers(lm)[every_n - 1 :: every_n] if every_n >= 1 else []
        hidden_size = lm.config.get_text_config().hidden_size
        if not layers:
            raise ValueError(
                f"cross_attention_every: {every_n} is not in 1..{len(decoder_layers(lm))}, the LM's layers"
            )
        if hidden_size % heads:
            raise ValueError(f"n_heads: {heads} heads do not divide the language model's hidden size {hidden_size}")
        shape = {"hidden_size": hidden_size, "heads": heads, "dropout": dropout}
        self.resampler = PerceiverResampler(dim=visual_dim, latents=latents, layers=resampler_layers, **shape)
        self.blocks = nn.ModuleList(
            GatedCrossAttention(inner_size=inner_size or 4 * hidden_size, gate_start=gate_start, **shape)
            for _ in layers
        )
        lm.base_model.register_forward_pre_hook(self._before_model, with_kwargs=True)
        lm.base_model.register_forward_hook(self._after_model)
        for index, layer in enumerate(layers):
            layer.register_forward_pre_hook(partial(self._before_layer, index))

    @contextmanager
    def showing(
        self, features: Callable[[Tensor], Tensor], *, images: Tensor, image_positions: Tensor, sees: Tensor
    ) -> Iterator[None]:
        """Show the images of a batch to every forward pass inside, ``generate`` included.

        ``sees`` speaks of the tokens of the first pass; those read after it, as ``generate`` does, see what the last
        of them sees. A pass may have a multiple of B rows: beams, those of a user beside each other.

        Args:
            features: item ids int64 [U] -> float [U, P, dim], anything for those of no image.
            images: int64 [B, M], item ids, 0 where there is no image.
            image_positions: int64 [B, M], where the image's token stands in the row.
            sees: int64 [B, S], see :func:`visible_images`.
        """
        distinct, which = images.unique(return_inverse=True)  # [U], [B, M]
        weight = self.resampler.latents
        chosen = features(distinct).to(weight.device, weight.dtype)  # [U, P, dim]
        shown = _Shown(self.resampler(chosen), which, visible_images(sees, images, image_positions))
        before = _VIEW.set(_View(self, shown))
        try:
            yield
        finally:
            _VIEW.reset(before)

    @property
    def _view(self) -> _View:
        """This thread's."""
        view = _VIEW.get()
        if view is None or view.of is not self:
            _VIEW.set(view := _View(self))
        return view

    def _before_model(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        view = self._view
        view.cached, view.blocks_run = cached_tokens(args, kwargs), 0

    def _after_model(self, model: nn.Module, args: tuple, output: Any) -> None:
        view = self._view
        if view.blocks_run != len(self.blocks):
            raise unexpected(model, f"passed {view.blocks_run} of the {len(self.blocks)} places where it sees pictures")
        if view.shown is None:
            _VIEW.set(None)  # it would keep the model alive

    @staticmethod
    def _begin(view: _View, layer: nn.Module, num_tokens: int) -> None:
        """Find the place of a forward pass that reads ``num_tokens``, by the cache and by our own count.

        A pass goes on where the last one ended, or reads whole rows anew (``generate`` without a cache). A cache that
        hides from us would look like a pass from the start with fewer tokens than were read already.
        """
        if view.read is None:
            view.origin = view.cached
        view.position = view.cached - view.origin
        if view.read is not None and view.position != view.read and (view.position or num_tokens < view.read):
            raise unexpected(
                layer,
                f"reads {num_tokens} tokens with {view.position} in its cache after {view.read} were read, so which "
                "pictures they see is not known",
            )
        view.read = view.position + num_tokens

    def _before_layer(self, index: int, layer: nn.Module, args: tuple) -> tuple:
        view = self._view
        hidden = args[0] if args else None  # [B * beams, T, H]
        if not isinstance(hidden, Tensor) or view.blocks_run != index:
            raise unexpected(layer, "does not get the hidden states as its first argument, layer after layer")
        if index == 0 and view.shown is not None:
            self._begin(view, layer, hidden.shape[1])
        view.blocks_run += 1
        block, weight = self.blocks[index], self.resampler.latents
        rows, visible, key_value = self._seen_by(view, hidden, index)
        conditioned = block(rows.to(weight.dtype), key_value, visible).to(hidden.dtype)
        return conditioned.view_as(hidden), *args[1:]

    def _seen_by(self, view: _View, hidden: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Beams folded into the tokens of their user: hidden [B, beams * T, H], visible, key_value [B, M * latents]."""
        if view.shown is None:
            width = 2 * hidden.shape[-1]
            return hidden, hidden.new_zeros(*hidden.shape[:2], 0, dtype=torch.bool), hidden.new_zeros(0, 0, width)
        latents, which, visible = view.shown
        batch_size, prompt_length, _ = visible.shape
        if len(hidden) % batch_size:
            raise ValueError(f"a batch of {len(hidden)} rows cannot see the images of {batch_size} users")
        beams, num_tokens = len(hidden) // batch_size, hidden.shape[1]
        position = view.position + torch.arange(num_tokens, device=hidden.device)
        visible = visible[:, position.clamp(max=prompt_length - 1)]  # [B, T, M]
        visible = visible.repeat(1, beams, 1).repeat_interleave(latents.shape[1], dim=2)  # [B, beams * T, M * latents]
        if index not in view.keys_values:
            of_distinct = self.blocks[index].attention.key_value(latents)  # [U, latents, 2H]
            view.keys_values[index] = of_distinct[which].flatten(1, 2)  # [B, M * latents, 2H]
        return hidden.reshape(batch_size, beams * num_tokens, -1), visible, view.keys_values[index]
