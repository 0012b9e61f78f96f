"""A causal transformer over sequences of very different length."""

import torch
from torch import Tensor, nn

from recbole_mgr.model.backbone.dropout import Dropout


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
        starts = lengths.cumsum(0) - lengths  # [B]
        outputs, places = [], []
        for rows in _rows_of_similar_length(lengths):
            longest = int(lengths[rows].max())
            position = torch.arange(longest, device=vectors.device)
            place = starts[rows, None] + position  # [b, l]
            # behind a sequence's end stand others' vectors: causality keeps them from being seen
            hidden = self._causal(vectors[place.clamp(max=len(vectors) - 1)])  # [b, l, H]
            real = position < lengths[rows, None]
            outputs.append(hidden[real])
            places.append(place[real])
        return torch.cat(outputs)[torch.cat(places).argsort()]

    def _causal(self, vectors: Tensor) -> Tensor:
        """[b, l, H] -> [b, l, H]."""
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
