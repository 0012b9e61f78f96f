"""A softmax over the items themselves, beside the one over codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recbole_mgr.model.backbone.layers import ResidualMLP
from recbole_mgr.model.backbone.repeats import STRETCH
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary

SCORES_AT_A_TIME = 2**25  # of the training loss: more are computed in parts, and again for the gradient


class ItemSoftmax(nn.Module):
    """The next item chosen among all items at once, by a query from the state that the code decoder reads.

    query = Linear(LN(MLP(state))); an item's key is the sum of an embedding for each of its codes, untied from those
    of encoder and decoder, plus a vector of its own. Score = query . key + the item's bias + a learned score of items
    that the user has already. A code speaks for all items that have it, so an item that was seen rarely, or joins
    later, has a key at once; its own vector holds what is particular to it.

    Source: ours; relatives that score items beside generated codes are LIGER (arXiv 2411.18814) and COBRA (2503.02453).

    Args:
        table: semantic IDs of the catalogue.
        hidden_size, inner_size: H, and the width of the MLP.
        dropout: in the MLP, [0, 1).
        item_vectors: whether keys have a vector of their own.
    """

    token_ids: Tensor

    def __init__(
        self, *, table: SemanticIdTable, hidden_size: int, inner_size: int, dropout: float, item_vectors: bool
    ) -> None:
        super().__init__()
        vocabulary = CodeVocabulary(table.sizes)
        says_something = torch.tensor([digit.kind != "transition" for digit in table.digits])
        token_ids = vocabulary.token_ids(table.codes)[1:, says_something]
        self.register_buffer("token_ids", token_ids, persistent=False)  # [N, digits]
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.item_vectors = nn.Parameter(torch.randn(table.num_items, hidden_size) * 0.02) if item_vectors else None
        self.item_bias = nn.Parameter(torch.zeros(table.num_items))
        self.repeat_score = nn.Parameter(torch.zeros(()))
        self.mix = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.query = nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, hidden_size))

    def keys(self, rows: slice = slice(None)) -> Tensor:
        """[N, H], of the items 1..N in their order, or of some of these rows."""
        keys = F.embedding(self.token_ids[rows], self.embedding).sum(dim=1)
        return keys if self.item_vectors is None else keys + self.item_vectors[rows]

    def negative_log_likelihood(self, hidden: Tensor, item_ids: Tensor, history: Tensor) -> Tensor:
        """-log p(item | position) [M] of positions ``hidden`` [M, H], items [M] and what stood before
        [M, L], distinct items and 0."""
        keys, size = self.keys(), max(1, SCORES_AT_A_TIME // len(self.item_bias))
        if len(hidden) <= size:
            return self._loss(hidden, item_ids, history, keys)
        parts = zip(hidden.split(size), item_ids.split(size), history.split(size), strict=True)
        return torch.cat([checkpoint(self._loss, *part, keys, use_reentrant=False) for part in parts])

    def scores(self, hidden: Tensor, history: Tensor) -> Tensor:
        """Logits of every item for states [B, H] and histories [B, L] (distinct items, 0 = none): [B, N + 1], -inf at
        PAD."""
        return F.pad(self._scores(hidden, history, self.keys()), (1, 0), value=-torch.inf)

    def _loss(self, hidden: Tensor, item_ids: Tensor, history: Tensor, keys: Tensor) -> Tensor:
        scores = self._scores(hidden, history, keys).float()
        return F.cross_entropy(scores, item_ids - 1, reduction="none")

    def _scores(self, hidden: Tensor, history: Tensor, keys: Tensor) -> Tensor:
        """[M, N], by item id - 1."""
        scores = torch.addmm(self.item_bias, self.query(self.mix(hidden)), keys.T)
        is_item = (history > 0).to(scores.dtype)  # [M, L]
        return scores.scatter_add(1, (history - 1).clamp(min=0), STRETCH * self.repeat_score * is_item)
