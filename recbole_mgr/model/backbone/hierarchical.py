"""The ``hierarchical`` backbone: one position per item, a code decoder on each position.

A causal transformer reads one vector per history *item* (its codes' embeddings combined) and a small autoregressive
decoder generates the next item's codes from every position at once: one training row per user instead of one per
prefix, for the same objective. This is our extension; the papers' backbone is :mod:`recbole_mgr.model.backbone.t5`.

The decoder has no attention: the state before digit d is the position's hidden vector plus the embeddings of the
d codes chosen so far, so beam search carries one vector per beam and needs no cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.generation.priors import Prior
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.integration.windows import targets_of_windows
from recbole_mgr.model.backbone.branches import BranchScores
from recbole_mgr.model.backbone.code_decoder import CodeDecoder
from recbole_mgr.model.backbone.item_softmax import AlikeItems, ItemSoftmax
from recbole_mgr.model.backbone.layers import CausalTransformer, ResidualMLP
from recbole_mgr.model.backbone.repeats import RepeatScores, distinct_items
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary


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
        return dict(zip(self._blocks, self._encoded(item_ids).unbind(), strict=True))

    def _encoded(self, item_ids: Tensor) -> Tensor:
        """The parts of items [n] as one product: [modalities, n, H]."""
        token_ids = self.token_ids[item_ids]  # [n, D]
        sums = [F.embedding_bag(token_ids[:, block], self.embedding, mode="sum") for block in self._blocks.values()]
        mark = 0.0
        if self._transition:
            nothing = self.embedding.new_zeros(self.embedding.shape[1])
            led_to = (self._transition.get(modality) for modality in self._blocks)
            marks = [nothing if token_id is None else self.embedding[token_id] for token_id in led_to]
            mark = torch.stack(marks).unsqueeze(1)  # [modalities, 1, H]
        return self.mix(torch.stack(sums), mark)

    def forward(self, item_ids: Tensor) -> Tensor:
        """Item vectors [..., H] of item ids [...]."""
        flat = item_ids.reshape(-1)
        vectors = self._encoded(flat).sum(dim=0)  # [n, H]
        if self._has_dedup:
            vectors = vectors + F.embedding(self.token_ids[flat, -1], self.embedding)
        return vectors.view(*item_ids.shape, -1)


WORTH_ALL_ROWS = 0.8  # with more rows to compute than this share, picking them out costs more than it saves


class BeamState(NamedTuple):
    """What a beam carries: ``hidden`` [B, W, H], the state before the next digit, and the users' ``history`` [B, L],
    distinct items."""

    hidden: Tensor
    history: Tensor


class HierarchicalBackbone(nn.Module):
    """Item encoder, causal transformer and code decoder behind the backbone interface (loss, start, step).

    Args:
        table: semantic IDs of the catalogue.
        trie: prefix trie of the same IDs.
        code_softmax: ``legal`` normalises a digit over the codes the trie allows, ``full`` over all K.
        max_length: longest history in items.
        hidden_size, num_layers, num_heads, inner_size: H, depth, heads and feed-forward width.
        dropout, attention_dropout: in [0, 1).
        branch_size: R of the trie's branches (`BranchScores`), or 0 for none.
        learn_repeats: whether to learn a score of items that the user has already (`RepeatScores`).
        code_weight: of the codes' loss; 0 leaves it out.
        item_softmax: arguments of an `ItemSoftmax` beside the codes, and ``weight`` of its loss; None for none.

    Source: ours; the objective is that of TIGER (Rajput et al. 2023), that a position is an item is not.
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
        branch_size: int = 0,
        learn_repeats: bool = False,
        code_weight: float = 1.0,
        item_softmax: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.table = table
        self.code_softmax = code_softmax
        self.trie = trie
        self.register_buffer("codes", table.codes, persistent=False)  # [N+1, D]
        shape = {"table": table, "hidden_size": hidden_size, "inner_size": inner_size, "dropout": dropout}
        self.items = ItemEncoder(**shape)
        branches = None
        if branch_size:
            branches = BranchScores(trie, hidden_size=hidden_size, size=branch_size, dropout=dropout)
        self.decoder = CodeDecoder(**shape, branches=branches)
        self.repeats = RepeatScores(table.codes, trie) if learn_repeats else None
        is_choice = trie.choices()[:, self.decoder.open_digits]  # [N+1, open digits]
        self.register_buffer("is_choice", is_choice, persistent=False)
        self.code_weight = code_weight
        self.item_softmax = None
        if item_softmax is not None:
            options = dict(item_softmax)
            self.item_weight = options.pop("weight")
            self.item_softmax = ItemSoftmax(**shape, **options)
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
        """Mean negative log-likelihood of the counted targets of each row, by codes and by items as weighted.

        Args:
            history: [B, L] item ids, right-padded with 0.
            lengths: [B] items of history.
            targets: [B] the item after the history.
            target_counts: [B] how many of a row's last items count as targets; None means 1, the target alone.

        Returns:
            Scalar.
        """
        following, counted = targets_of_windows(history, lengths, targets, target_counts)  # [B, L], M of them counted
        if torch.compiler.is_compiling():  # no shape of a program depends on lengths
            hidden = self.sequence.padded(self.items(history)).flatten(0, 1)  # [B * L, H]
            row, last = (torch.arange(size, device=history.device) for size in history.shape)
            seen = self._seen(history, row.repeat_interleave(len(last)), last.repeat(len(row)))
            positions = hidden, torch.where(counted, following, 1).flatten(), seen
            return self._loss_of_positions(*positions, counted.flatten().float())
        real = torch.arange(history.shape[1], device=history.device) < lengths[:, None]  # [B, L]
        hidden = self.sequence(self.items(history[real]), lengths)  # [T, H]
        row, last = counted.nonzero(as_tuple=True)  # [M]
        if len(row) < len(hidden):
            hidden = hidden[counted[real]]
        return self._loss_of_positions(hidden, following[counted], self._seen(history, row, last))

    def _loss_of_positions(
        self, hidden: Tensor, item_ids: Tensor, history: Tensor | None, counted: Tensor | None = None
    ) -> Tensor:
        """Mean over positions ``hidden`` [M, H], items [M] and what stood before [M, L]; with ``counted`` float [M], 0
        or 1, over those that count."""

        def mean_of_codes() -> Tensor:
            values = self.negative_log_likelihood(hidden, item_ids, history)  # [M]
            return values.mean() if counted is None else (values * counted).sum() / counted.sum()

        if self.item_softmax is None:
            return mean_of_codes()
        loss = self.item_weight * self.item_softmax.loss(hidden, item_ids, history, counted)
        return loss + self.code_weight * mean_of_codes() if self.code_weight else loss

    def _seen(self, history: Tensor, rows: Tensor, last: Tensor) -> Tensor | None:
        """The distinct items [M, L] up to position ``last`` [M] of ``rows`` [M] of histories [B, L]; None where nobody
        reads them."""
        if self.repeats is None and self.item_softmax is None:
            return None
        position = torch.arange(history.shape[1], device=history.device)
        return distinct_items(history)[rows].masked_fill(position > last[:, None], 0)

    def negative_log_likelihood(self, hidden: Tensor, item_ids: Tensor, history: Tensor | None) -> Tensor:
        """-log p(item | position) [M] of positions ``hidden`` [M, H], items [M] and what stood before [M, L], which
        learned repeats alone read."""
        codes, path = self.codes[item_ids], self.trie.path_to_leaf(item_ids)  # [M, D], [M, D + 1]
        digits = self.decoder.open_digits  # C of them
        if self._leaves_out_forced_digits:
            is_choice = self.is_choice[item_ids].T  # [C, M]
            counts, (digit, row) = is_choice.sum(dim=1).tolist(), is_choice.nonzero(as_tuple=True)  # [R], R rows
        else:
            counts, places = [len(codes)] * len(digits), torch.arange(len(digits) * len(codes), device=codes.device)
            digit, row = places // len(codes), places % len(codes)
        total = hidden.new_zeros(len(hidden), dtype=torch.float32)
        if not len(row):
            return total
        rows = row.split(counts)
        states = self.decoder.states(hidden, codes, rows)  # [R, H]
        features = self.decoder.features(states, digit).split(counts)
        log_probs = []
        for depth, own_features, own in zip(digits, features, rows, strict=True):
            if not len(own):
                continue  # a head that is never asked learns nothing
            nodes, children = path[own, depth : depth + 2].unbind(1)
            logits = self.decoder.head(depth, own_features, nodes)
            if self.repeats is not None:
                logits = self.repeats(depth, nodes, history[own], logits)
            slots = self.trie.slots_of(depth, nodes, children).unsqueeze(-1)
            log_probs.append(self.trie.slot_log_probs(depth, nodes, logits, self.code_softmax).gather(-1, slots))
        return total.index_add(0, row, -torch.cat(log_probs).squeeze(-1))

    @property
    def _leaves_out_forced_digits(self) -> bool:
        """Whether digits without choice are not computed: they have probability 1, so need no logits and teach nothing.

        Computing them changes nothing, and is cheaper where a GPU would wait for their number.
        """
        if torch.compiler.is_compiling():  # a program's shapes do not depend on what stands in the trie
            return False
        return self.code_softmax == "legal" and self.codes.device.type == "cpu"

    def _logits(self, depth: int, state: Tensor, nodes: Tensor, history: Tensor) -> Tensor:
        """Logits [..., K] of states [..., H] at nodes [...] of the trie, for users with histories [..., L]."""
        logits = self.decoder.logits(depth, state, nodes)
        return logits if self.repeats is None else self.repeats(depth, nodes, history, logits)

    def _rows_with_choice(self, depth: int, nodes: Tensor) -> Tensor | None:
        """Rows whose digit is a choice; None for all rows, which is cheaper where few are forced."""
        if not self._leaves_out_forced_digits:
            return None
        if depth not in self.decoder.open_digits:
            return nodes.new_empty(0, dtype=torch.long)
        if self.trie.min_children(depth) > 1:
            return None
        rows = self.trie.has_choice(depth, nodes).nonzero().squeeze(1)
        return None if len(rows) > WORTH_ALL_ROWS * len(nodes) else rows

    def start(self, history: Tensor, lengths: Tensor) -> BeamState:
        """State of the empty prefix from histories [B, L] with ``lengths`` [B]: one beam per user.

        Raises:
            ValueError: If a history is empty; no position speaks for it.
        """
        if bool((lengths < 1).any()):
            raise ValueError("item_length: a user without history cannot be served; use backbone: t5 or leave them out")
        real = torch.arange(history.shape[1], device=history.device) < lengths[:, None]  # [B, L]
        hidden = self.sequence(self.items(history[real]), lengths, only_last=True)  # [B, H]
        return BeamState(hidden.unsqueeze(1), distinct_items(history.masked_fill(~real, 0)))

    def start_padded(self, history: Tensor, lengths: Tensor) -> BeamState:
        """As :meth:`start`, computing the padding too, so that no shape depends on lengths: for exported programs."""
        hidden = self.sequence.padded(self.items(history))  # [B, L, H]
        last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])
        return BeamState(hidden.gather(1, last), distinct_items(history))

    def step(
        self, depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: BeamState
    ) -> tuple[Tensor, BeamState]:
        """One step of the beam search.

        Args:
            depth: digit to predict.
            nodes: int64 [B, W], each beam's prefix in the trie; -1 where the beam ran out of items.
            codes: [B, W] codes chosen at ``depth - 1``; None at depth 0.
            parents: [B, W] index of the previous beam that each one extends; None at depth 0.
            state: from the last step, or from :meth:`start`.

        Returns:
            Logits [B, W, K] (0 where ``code_softmax: legal`` leaves no choice) and the new state.
        """
        hidden, history = state
        if codes is not None:
            users = torch.arange(hidden.shape[0], device=hidden.device)  # not len(): an exported program has any B
            firsts = users.unsqueeze(1) * hidden.shape[1]  # [B, 1]
            hidden = hidden.flatten(0, 1)[firsts + parents]  # [B, W, H], whole rows: faster than a gather
            hidden = self.decoder.choose(depth - 1, hidden, codes)
        hidden = self.decoder.enter(depth, hidden)
        rows = self._rows_with_choice(depth, nodes.flatten())
        if rows is None:
            seen = history.unsqueeze(1).expand(-1, nodes.shape[1], -1)  # [B, W, L]
            return self._logits(depth, hidden, nodes, seen), BeamState(hidden, history)
        flat = hidden.flatten(0, 1)  # [B * W, H]
        logits = hidden.new_zeros(len(flat), self.table.digits[depth].size)
        seen = history[rows // nodes.shape[1]]  # [rows, L]
        logits[rows] = self._logits(depth, flat[rows], nodes.flatten()[rows], seen).to(logits.dtype)
        return logits.view(*nodes.shape, -1), BeamState(hidden, history)

    def item_prior(self, state: BeamState, alike: AlikeItems | None = None) -> Prior:
        """The item softmax as a distribution over items, from the state of the empty prefix; of new items by those
        ``alike``."""
        return self.item_softmax.prior(self.trie, state.hidden[:, 0], state.history, alike)

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
