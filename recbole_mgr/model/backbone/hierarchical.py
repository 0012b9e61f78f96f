"""The ``hierarchical`` backbone: one position per item, a code decoder on each position.

A causal transformer reads one vector per history *item* (its codes' embeddings combined) and a small autoregressive
decoder generates the next item's codes from every position at once: one training row per user instead of one per
prefix, for the same objective. This is our extension; the papers' backbone is :mod:`recbole_mgr.model.backbone.t5`.

The decoder has no attention: the state before digit d is the position's hidden vector plus the embeddings of the
d codes chosen so far, so beam search carries one vector per beam and needs no cache.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.dropout import Dropout
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary


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


class ItemEncoder(nn.Module):
    """Item vectors from codes, the modalities kept apart until each has passed a marked, shared block.

    A modality's part is the sum of its code embeddings. Each part passes one shared non-linear block; LF++'s
    transition token marks the part it leads to inside that block (in a plain sum it would be a constant that the
    next bias absorbs). The item vector is the sum of the parts.
    """

    def __init__(self, *, table: SemanticIdTable, hidden_size: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        sizes = [digit.size for digit in table.digits]
        vocabulary = CodeVocabulary(sizes)
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.mix = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.register_buffer("token_ids", vocabulary.token_ids(table.codes), persistent=False)  # [N+1, D]
        self._blocks = {modality: table.block(modality) for modality in table.modalities}
        self._transition = {
            digit.modality: vocabulary.token_id_range(d).start
            for d, digit in enumerate(table.digits)
            if digit.kind == "transition"
        }
        self._has_dedup = table.digits[-1].kind == "dedup"

    def parts(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Encodings of an item's modalities.

        Args:
            item_ids: [n] item ids; PAD gives a vector without meaning.

        Returns:
            Modality -> [n, H].
        """
        parts = {}
        for modality, block in self._blocks.items():
            part = F.embedding(self.token_ids[item_ids, block], self.embedding).sum(dim=1)  # [n, levels, H] -> [n, H]
            mark = self.embedding[self._transition[modality]] if modality in self._transition else 0.0
            parts[modality] = self.mix(part, mark)
        return parts

    def forward(self, item_ids: Tensor) -> Tensor:
        """Item vectors [..., H] of item ids [...]."""
        flat = item_ids.reshape(-1)
        vectors = torch.stack(list(self.parts(flat).values())).sum(dim=0)  # [n, H]
        if self._has_dedup:
            vectors = vectors + F.embedding(self.token_ids[flat, -1], self.embedding)
        return vectors.view(*item_ids.shape, -1)


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


class CodeDecoder(nn.Module):
    """Logits of each digit from the state of its prefix; a transition is a learned step of the state."""

    def __init__(self, *, table: SemanticIdTable, hidden_size: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        self.kinds = [digit.kind for digit in table.digits]
        sizes = [digit.size for digit in table.digits]
        self.sizes = sizes
        vocabulary = CodeVocabulary(sizes)
        self._offsets = [vocabulary.token_id_range(d).start for d in range(len(sizes))]
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.digit_marks = nn.Parameter(torch.randn(len(sizes), hidden_size) * 0.02)
        self.block = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.norm = nn.LayerNorm(hidden_size)
        self.heads = nn.ModuleDict(
            {str(d): nn.Linear(hidden_size, size) for d, size in enumerate(sizes) if self.kinds[d] != "transition"}
        )
        self.steps = nn.ModuleDict(
            {
                str(d): ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
                for d, kind in enumerate(self.kinds)
                if kind == "transition"
            }
        )

    def enter(self, depth: int, state: Tensor) -> Tensor:
        """The state [..., H] on arriving at digit ``depth``: unchanged, or moved on by a transition."""
        return self.steps[str(depth)](state) if str(depth) in self.steps else state

    def logits(self, depth: int, state: Tensor) -> Tensor:
        """Logits [..., K] of digit ``depth``; a transition has one choice, so its logit is a constant."""
        if str(depth) in self.steps:
            return state.new_zeros(*state.shape[:-1], 1)
        hidden = self.norm(self.block(state, self.digit_marks[depth]))
        return self.heads[str(depth)](hidden)

    def choose(self, depth: int, state: Tensor, codes: Tensor) -> Tensor:
        """The state [..., H] after digit ``depth`` was set to ``codes`` [...]."""
        return state + self.embedding[codes + self._offsets[depth]]


class BeamState(NamedTuple):
    """What a beam carries: ``hidden`` [B, W, H], the state before the next digit, and its trie ``nodes`` [B, W]."""

    hidden: Tensor
    nodes: Tensor


class HierarchicalBackbone(nn.Module):
    """Item encoder, causal transformer and code decoder behind the backbone interface (loss, start, step).

    Args:
        table: semantic IDs of the catalogue.
        trie: prefix trie of the same IDs.
        code_softmax: ``legal`` normalises a digit over the codes the trie allows, ``full`` over all K.
        max_length: longest history in items.
        hidden_size, num_layers, num_heads, inner_size: H, depth, heads and feed-forward width.
        dropout, attention_dropout: in [0, 1).

    Source: DESIGN of this project; the objective is that of TIGER (Rajput et al. 2023), the granularity is ours.
    """

    def __init__(
        self,
        *,
        table: SemanticIdTable,
        trie: PrefixTrie,
        code_softmax: str,
        max_length: int,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        inner_size: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.table = table
        self.code_softmax = code_softmax
        self.trie = trie
        self.register_buffer("codes", table.codes, persistent=False)  # [N+1, D]
        shape = {"table": table, "hidden_size": hidden_size, "inner_size": inner_size, "dropout": dropout}
        self.items = ItemEncoder(**shape)
        self.decoder = CodeDecoder(**shape)
        self.sequence = CausalTransformer(
            max_length=max_length,
            hidden_size=hidden_size,
            num_layers=num_layers,
            num_heads=num_heads,
            inner_size=inner_size,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )

    def loss(self, history: Tensor, lengths: Tensor, targets: Tensor, target_counts: Tensor | None) -> Tensor:
        """Mean negative log-likelihood of the counted targets of each row.

        Args:
            history: [B, L] item ids, right-padded with 0.
            lengths: [B] items of history.
            targets: [B] the item after the history.
            target_counts: [B] how many of a row's last items count as targets; None means 1, the target alone.

        Returns:
            Scalar.
        """
        rows = torch.arange(len(history), device=history.device)
        sequence = F.pad(history, (0, 1))  # [B, L+1]
        sequence[rows, lengths] = targets
        position = torch.arange(history.shape[1], device=history.device)  # position i predicts item i + 1
        real = position < lengths[:, None]  # [B, L]
        hidden = self.sequence(self.items(history[real]), lengths)  # [T, H]
        counts = torch.ones_like(lengths) if target_counts is None else target_counts
        counted = (position >= (lengths - counts)[:, None])[real]  # [T]
        return self.negative_log_likelihood(hidden[counted], sequence[:, 1:][real][counted]).mean()

    def negative_log_likelihood(self, hidden: Tensor, item_ids: Tensor) -> Tensor:
        """-log p(item | position) [M] of positions ``hidden`` [M, H] and items [M]."""
        codes, path = self.codes[item_ids], self.trie.path(item_ids)  # [M, D]
        total = hidden.new_zeros(len(hidden), dtype=torch.float32)
        state = hidden
        for depth in range(codes.shape[1]):
            state = self.decoder.enter(depth, state)
            rows = self._rows_with_choice(depth, path[:, depth])
            if rows.numel():
                nodes, chosen = path[rows, depth], codes[rows, depth]
                logits = self.decoder.logits(depth, state[rows])
                log_prob = self.trie.log_prob(depth, nodes, logits, chosen, self.code_softmax)
                total = total.index_add(0, rows, -log_prob)
            state = self.decoder.choose(depth, state, codes[:, depth])
        return total

    def _rows_with_choice(self, depth: int, nodes: Tensor) -> Tensor:
        """Rows whose digit is a choice: a forced digit has probability 1, so it needs no logits and teaches nothing."""
        if self.table.digits[depth].kind == "transition":
            return nodes.new_empty(0, dtype=torch.long)
        if self.code_softmax == "full":
            return torch.arange(len(nodes), device=nodes.device)
        return self.trie.has_choice(depth, nodes).nonzero().squeeze(1)

    def start(self, history: Tensor, lengths: Tensor) -> BeamState:
        """State of the empty prefix from histories [B, L] with ``lengths`` [B]: one beam per user.

        Raises:
            ValueError: If a history is empty; no position speaks for it.
        """
        if bool((lengths < 1).any()):
            raise ValueError("item_length: a user without history cannot be served; use backbone: t5 or leave him out")
        real = torch.arange(history.shape[1], device=history.device) < lengths[:, None]  # [B, L]
        hidden = self.sequence(self.items(history[real]), lengths)  # [T, H]
        return BeamState(hidden[lengths.cumsum(0) - 1].unsqueeze(1), torch.zeros_like(lengths).unsqueeze(1))

    def step(
        self, depth: int, codes: Tensor | None, parents: Tensor | None, state: BeamState
    ) -> tuple[Tensor, BeamState]:
        """One step of the beam search.

        Args:
            depth: digit to predict.
            codes: [B, W] codes chosen at ``depth - 1``; None at depth 0.
            parents: [B, W] index of the previous beam that each one extends; None at depth 0.
            state: from the last step, or from :meth:`start`.

        Returns:
            Logits [B, W, K] (0 where ``code_softmax: legal`` leaves no choice) and the new state.
        """
        hidden, nodes = state
        if codes is not None:
            hidden = hidden.gather(1, parents.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # [B, W, H]
            hidden = self.decoder.choose(depth - 1, hidden, codes)
            nodes = self.trie.advance(depth - 1, nodes.gather(1, parents), codes)  # [B, W]
        hidden = self.decoder.enter(depth, hidden)
        if self.code_softmax == "full" or hidden.is_cuda:
            return self.decoder.logits(depth, hidden), BeamState(hidden, nodes)
        # on a CPU, leaving out the forced digits saves most of the work; a GPU would wait for their number
        flat = hidden.flatten(0, 1)  # [B * W, H]
        rows = self._rows_with_choice(depth, nodes.flatten())
        logits = hidden.new_zeros(len(flat), self.table.digits[depth].size)
        logits[rows] = self.decoder.logits(depth, flat[rows]).to(logits.dtype)
        return logits.view(*nodes.shape, -1), BeamState(hidden, nodes)

    def modality_encodings(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Modality -> [n, H]: what LF++'s alignment stage brings together."""
        return self.items.parts(item_ids)

    def modality_translation_loss(self, source: str, target: str, item_ids: Tensor) -> Tensor:
        """ID-to-ID generation: mean -log p of the target modality's codes given the source modality's.

        The target block is generated by the code decoder from the source's encoding, over all K codes: the trie of
        whole IDs says nothing about a block in the middle.
        """
        state = self.items.parts(item_ids)[source]  # [n, H]
        codes = self.codes[item_ids]  # [n, D]
        block = self.table.block(target)
        losses = []
        for depth in range(block.start, block.stop):
            logits = self.decoder.logits(depth, state)
            losses.append(F.cross_entropy(logits.float(), codes[:, depth]))
            state = self.decoder.choose(depth, state, codes[:, depth])
        return torch.stack(losses).sum()


def _rows_of_similar_length(lengths: Tensor) -> list[Tensor]:
    """Row numbers [b] of each group of sequences whose lengths share the next power of two."""
    bucket = lengths.float().log2().ceil()  # [B]
    return [(bucket == value).nonzero().squeeze(1) for value in bucket.unique()]
