"""A softmax over the items themselves, beside the one over codes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.generation.priors import DENSE_ITEMS, SCORES_AT_A_TIME, DensePrior, Prior, SearchedPrior
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.layers import ResidualMLP, random_keep
from recbole_mgr.model.backbone.repeats import STRETCH
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary

VALUES_IN_CACHE = 2**19  # scores that a CPU holds at once in training: 2 MiB


class AlikeItems(NamedTuple):
    """Which known items stand for items that joined after the training.

    A new item is as probable as the known items most like it are on average. A mean of their vectors would say less: it
    scores as high as the best of them for nobody.

    Attributes:
        new_items: int64 [n], ascending.
        known: int64 [n, k], the known items that each is like; any where there are fewer.
        log_shares: float32 [n, k], logarithms of what each of them counts, -inf where there are fewer.
    """

    new_items: Tensor
    known: Tensor
    log_shares: Tensor

    @classmethod
    def none(cls, device: torch.device) -> AlikeItems:
        """No new items."""
        return cls.of(sparse.csr_matrix((1, 1)), device)

    @classmethod
    def of(cls, likeness: sparse.csr_matrix, device: torch.device) -> AlikeItems:
        """From CSR [N + 1, N + 1], of each new item to known ones, rows that sum to 1; one without entries keeps the
        score of its codes."""
        counts = likeness.getnnz(axis=1)
        new = np.flatnonzero(counts)
        is_one = np.arange(counts.max(initial=0)) < counts[new, None]  # [n, k], of the known items of each
        known, log_shares = np.ones(is_one.shape, dtype=np.int64), np.full(is_one.shape, -np.inf, dtype=np.float32)
        rows = likeness[new]
        known[is_one], log_shares[is_one] = rows.indices, np.log(rows.data)
        return cls(*(torch.from_numpy(part).to(device) for part in (new.astype(np.int64), known, log_shares)))

    def among(self, item_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Which items are new, bool [...], and the places of these in :attr:`new_items`."""
        if not len(self.new_items):
            return torch.zeros_like(item_ids, dtype=torch.bool), item_ids.new_empty(0)
        place = torch.searchsorted(self.new_items, item_ids.contiguous()).clamp(max=len(self.new_items) - 1)
        is_new = self.new_items[place] == item_ids
        return is_new, place[is_new]


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
        vector_dropout: share of the items whose own vector is left out in a training step, in [0, 1), so that codes
            learn to stand alone, as they do for a new item.
    """

    token_ids: Tensor

    def __init__(
        self,
        *,
        table: SemanticIdTable,
        hidden_size: int,
        inner_size: int,
        dropout: float,
        item_vectors: bool,
        vector_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        vocabulary = CodeVocabulary(table.sizes)
        says_something = torch.tensor([digit.kind != "transition" for digit in table.digits])
        token_ids = vocabulary.token_ids(table.codes)[1:, says_something]
        self.register_buffer("token_ids", token_ids, persistent=False)  # [N, digits]
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.item_vectors = nn.Parameter(torch.randn(table.num_items, hidden_size) * 0.02) if item_vectors else None
        self.vector_dropout = vector_dropout
        self.item_bias = nn.Parameter(torch.zeros(table.num_items))
        self.repeat_score = nn.Parameter(torch.zeros(()))
        self.mix = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.query = nn.Sequential(nn.LayerNorm(hidden_size), nn.Linear(hidden_size, hidden_size))

    def keys(self, item_ids: Tensor | None = None) -> Tensor:
        """[N, H], of the items 1..N in their order; or of ``item_ids`` [...], [..., H], where padding gets any."""
        if item_ids is None:
            keys = F.embedding(self.token_ids, self.embedding).sum(dim=1)
            return keys if self.item_vectors is None else keys + self._own_vectors()
        rows = (item_ids - 1).clamp(min=0).flatten()
        keys = F.embedding_bag(self.token_ids[rows], self.embedding, mode="sum")
        keys = keys if self.item_vectors is None else keys + self.item_vectors[rows]
        return keys.view(*item_ids.shape, -1)

    def loss(self, hidden: Tensor, item_ids: Tensor, history: Tensor, counted: Tensor | None = None) -> Tensor:
        """Mean of -log p(item | position), a scalar, over positions ``hidden`` [M, H], items [M] and what stood before
        [M, L], distinct items and 0; with ``counted`` float [M], 0 or 1, over those that count."""
        query = self.query(self.mix(hidden)).float()
        return _MeanLoss.apply(query, self.keys(), self.item_bias, self.repeat_score, history, item_ids, counted)

    def scores(self, hidden: Tensor, history: Tensor, alike: AlikeItems | None = None) -> Tensor:
        """Logits of every item for states [B, H] and histories [B, L] (distinct items, 0 = none): [B, N + 1], -inf at
        PAD; those of new items by those ``alike``."""
        logits = torch.addmm(self.item_bias, self.query(self.mix(hidden)), self.keys().T)
        if alike is not None:
            logits[:, alike.new_items - 1] = (logits[:, alike.known - 1] + alike.log_shares).logsumexp(dim=2)
        return F.pad(_with_repeats(logits, self.repeat_score, history), (1, 0), value=-torch.inf)

    def prior(self, trie: PrefixTrie, hidden: Tensor, history: Tensor, alike: AlikeItems | None = None) -> Prior:
        """The distribution over items as the searches take it; of a large catalogue no [B, N] scores are held. The
        arguments are those of :meth:`scores`."""
        if len(self.item_bias) <= DENSE_ITEMS:
            return DensePrior(trie, self.scores(hidden, history, alike))
        alike = alike or AlikeItems.none(hidden.device)
        query, repeated = self.query(self.mix(hidden)), STRETCH * self.repeat_score  # [B, H], scalar
        seen = trie.leaf(history)  # [B, L]

        def score(leaves: slice) -> Tensor:
            """[B, n]"""
            item_ids = trie.leaf_items[leaves].long()
            scores = torch.addmm(self.item_bias[item_ids - 1], query, self.keys(item_ids).T)
            is_new, place = alike.among(item_ids)
            if len(place):
                known = alike.known[place]  # [n', k]
                of_known = query @ self.keys(known).flatten(0, 1).T + self.item_bias[known - 1].flatten()
                scores[:, is_new] = (of_known.view(-1, *known.shape) + alike.log_shares[place]).logsumexp(dim=2)
            is_here = (seen >= leaves.start) & (seen < leaves.stop)
            return scores.scatter_add(1, (seen - leaves.start) * is_here, (repeated * is_here).to(scores.dtype))

        def score_of(item_ids: Tensor) -> Tensor:
            """[B, M] of items [B, M], a few columns at a time."""
            columns = item_ids.split(max(1, SCORES_AT_A_TIME // query.numel()), dim=1)
            return torch.cat([score_columns(part) for part in columns], dim=1)

        def score_columns(item_ids: Tensor) -> Tensor:
            scores = (self.keys(item_ids) @ query.unsqueeze(-1)).squeeze(-1)
            scores = scores + self.item_bias[(item_ids - 1).clamp(min=0)]
            is_new, place = alike.among(item_ids)
            if len(place):
                known = alike.known[place]  # [m, k]
                of_user = query[is_new.nonzero()[:, 0]].unsqueeze(-1)  # [m, H, 1]
                of_known = (self.keys(known) @ of_user).squeeze(-1) + self.item_bias[known - 1]
                scores[is_new] = (of_known + alike.log_shares[place]).logsumexp(dim=1)
            is_seen = (item_ids.unsqueeze(2) == history.unsqueeze(1)).any(dim=2)
            return scores + repeated * is_seen

        return SearchedPrior(trie, len(query), score, score_of)

    def _own_vectors(self) -> Tensor:
        if not (self.training and self.vector_dropout):
            return self.item_vectors
        return self.item_vectors * random_keep(self.item_vectors[:, :1], self.vector_dropout)


def _scores(query: Tensor, keys: Tensor, bias: Tensor, repeat_score: Tensor, history: Tensor) -> Tensor:
    """[M, N], by item id - 1."""
    return _with_repeats(torch.addmm(bias, query, keys.T), repeat_score, history)


def _with_repeats(scores: Tensor, repeat_score: Tensor, history: Tensor) -> Tensor:
    """Scores [M, N] with what is learned of items of the history, in place."""
    is_item = (history > 0).to(scores.dtype)  # [M, L]
    return scores.scatter_add_(1, (history - 1).clamp(min=0), STRETCH * repeat_score * is_item)


class _MeanLoss(torch.autograd.Function):
    """Mean cross-entropy of the item softmax over all rows, and its gradients at once, a few rows at a time.

    So the scores [M, N] are never held: a large catalogue needs no more memory, and on a CPU what is held stays in its
    cache, which takes less than half the time.
    """

    @staticmethod
    def forward(ctx, query, keys, bias, repeat_score, history, item_ids, counted):
        """Arguments of :func:`_scores`, the items that follow, [M], and which rows count, float [M]; None = all."""
        gradients = [torch.zeros_like(tensor) for tensor in (query, keys, bias, repeat_score)]
        of_query, of_keys, of_bias, of_repeats = gradients
        total = query.new_zeros(())
        held = VALUES_IN_CACHE if query.device.type == "cpu" else SCORES_AT_A_TIME
        step = max(1, held // len(keys))
        for start in range(0, len(query), step):
            rows = slice(start, start + step)
            target = (item_ids[rows] - 1).unsqueeze(1)  # [m, 1]
            scores = _scores(query[rows], keys, bias, repeat_score, history[rows]).float()  # [m, N]
            best, own = scores.amax(dim=1, keepdim=True), scores.gather(1, target)  # [m, 1]
            slope = scores.sub_(best).exp_()  # in place, into the gradient: probabilities, less 1 at the target
            mass = slope.sum(dim=1, keepdim=True)
            slope.div_(mass).scatter_add_(1, target, slope.new_full(target.shape, -1.0))
            losses = best + mass.log() - own
            if counted is not None:
                losses = losses * counted[rows, None]
                slope.mul_(counted[rows, None])
            total += losses.sum()
            of_query[rows] = slope @ keys
            of_keys.addmm_(slope.T, query[rows])
            of_bias += slope.sum(dim=0)
            at_history = slope.gather(1, (history[rows] - 1).clamp(min=0)) * (history[rows] > 0)
            of_repeats += STRETCH * at_history.sum()
        count = len(query) if counted is None else counted.sum()
        ctx.save_for_backward(*[gradient / count for gradient in gradients])
        return total / count

    @staticmethod
    def backward(ctx, slope):
        return *(slope * gradient for gradient in ctx.saved_tensors), None, None, None
