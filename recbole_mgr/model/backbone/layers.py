"""Building blocks of the hierarchical backbone: cheap dropout, a feed-forward block and a causal transformer."""

import torch
from torch import Tensor, nn

LEVELS = 2**16  # the probability is rounded to a multiple of 1 / LEVELS


def random_keep(like: Tensor, probability: float) -> Tensor:
    """A factor per entry: 0 with ``probability``, else 1 / (1 - probability).

    torch draws one 53-bit number per entry on a CPU; 16 bits decide as well, and one draw gives four of them.

    Args:
        like: float, any shape; the result has its shape, dtype and device.
        probability: in [0, 1).
    """
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    dropped = round(probability * LEVELS)
    is_kept = draws.view(torch.int16)[: like.numel()] >= dropped - LEVELS // 2
    return is_kept.view(like.shape).to(like.dtype).mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Dropout):
    """``nn.Dropout``, three times as fast on a CPU; elsewhere torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        return x * random_keep(x, self.p)


def use_cheap_dropout(network: nn.Module) -> None:
    """Put `Dropout` in the place of every ``nn.Dropout`` of a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))


class ResidualMLP(nn.Module):
    """Pre-norm feed-forward block: x + W2 gelu(W1 LN(x + mark)); the mark tells the block what it looks at."""

    def __init__(self, *, hidden_size: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, inner_size),
            nn.GELU(),
            nn.Linear(inner_size, hidden_size),
            Dropout(dropout),
        )

    def forward(self, x: Tensor, mark: Tensor | float = 0.0) -> Tensor:
        return x + self.block(x + mark)


class CausalTransformer(nn.Module):
    """Pre-norm causal transformer over item vectors with learned positions.

    Sequences come without padding, end to end, and are padded in groups of similar length only: most histories are
    short, and padding them to the longest of the batch would be most of the work.
    """

    def __init__(
        self,
        *,
        max_length: int,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        inner_size: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(max_length, hidden_size) * 0.02)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden_size, num_heads, inner_size, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        for layer in self.layers:
            layer.self_attn.dropout = attention_dropout
            layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Contextual vectors; a position sees itself and what stands before it in its sequence.

        Args:
            vectors: [T, H], the sequences one after the other.
            lengths: [B], adding up to T, each >= 1.

        Returns:
            [T, H].
        """
        if len(lengths) == 1:  # nothing to group, and nothing to pad
            return self.padded(vectors.unsqueeze(0)).squeeze(0)
        starts = lengths.cumsum(0) - lengths  # [B]
        outputs, places = [], []
        for rows in _rows_of_similar_length(lengths):
            longest = int(lengths[rows].max())
            position = torch.arange(longest, device=vectors.device)
            place = starts[rows, None] + position  # [b, l]
            # behind a sequence's end stand others' vectors: causality keeps them from being seen
            hidden = self.padded(vectors[place.clamp(max=len(vectors) - 1)])  # [b, l, H]
            real = position < lengths[rows, None]
            outputs.append(hidden[real])
            places.append(place[real])
        return torch.cat(outputs)[torch.cat(places).argsort()]

    def padded(self, vectors: Tensor) -> Tensor:
        """The same for sequences of one length, or padded on the right: [b, l, H] -> [b, l, H]."""
        length = vectors.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=vectors.device, dtype=vectors.dtype)
        hidden = self.dropout(vectors + self.positions[:length])
        for layer in self.layers:
            hidden = layer(hidden, src_mask=mask, is_causal=True)
        return self.norm(hidden)


def _rows_of_similar_length(lengths: Tensor) -> list[Tensor]:
    """Row numbers [b] of each group of sequences whose lengths share the next power of two."""
    bucket = lengths.float().log2().ceil()  # [B]
    return [(bucket == value).nonzero().squeeze(1) for value in bucket.unique()]
