"""TIGER's backbone: an encoder-decoder over flattened codes, one training row per prefix.

The encoder reads a history as one token sequence, D tokens per item; the decoder writes the D codes of the next
item. LF and LF++ use it unchanged: their items have more digits.

Papers: Rajput et al., TIGER (arXiv 2305.05065), for the sizes; Zhu et al., MGR-LF++ (arXiv 2503.23333), for the
transition tokens and the alignment stage. The network is :mod:`recbole_mgr.model.backbone.packed_t5`.
Deviations from TIGER: no user token, and a softmax runs over the codes of one digit (``full``) or the legal
ones among them (``legal``), not over the vocabulary.

Under ``legal`` a prefix that leaves one item decides the digits that follow: their probability is 1 whatever the
network says. Training and, on a CPU, beam search do not compute them; the result is the same.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_mgr.generation.trie import CodeSoftmax, PrefixTrie, check_code_softmax
from recbole_mgr.model.backbone.packed_t5 import Memory, PackedT5, PackedTokens, Sizes, split_heads
from recbole_mgr.model.backbone.packing import HIDDEN, Packing, Padded, pack_rows
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary

START = CodeVocabulary.PAD  # T5's convention: the decoder starts with the padding token

# Histories of similar length attend together, each group padded to its own longest: most are far shorter than
# the longest of the batch, and attention grows with the square. More groups cost more than they save, on a GPU, which
# waits for the start of each operation, more than one.
ATTENTION_GROUPS = {"cpu": 4, "cuda": 1}


class DecodingState(NamedTuple):
    """What a decoding step needs of the earlier ones; its rows are the users by length of history.

    Attributes:
        order: int64 [B], the user of each row.
        memory: of each user, shared by the user's beams.
        places: int64 [B, W], where each beam stands among the M that were computed; 0 for the others.
        keys, values: per layer float [M, heads, depth, head_size], what each beam has seen of itself.
    """

    order: Tensor
    memory: Memory
    places: Tensor
    keys: list[Tensor]
    values: list[Tensor]


class T5Backbone(nn.Module):
    """Next-item codes by a T5 of its own, randomly initialised: nothing is downloaded.

    Input and output embeddings are tied, as in the original T5; so the decoder's output is scaled by
    ``hidden_size ** -0.5`` before it meets them. Attention scores are not scaled: the initialisation does it.

    Args:
        table: the semantic IDs; every digit is one token per item, transition and dedup digits too.
        trie: the prefixes of the same table.
        code_softmax: over what a code's probability is normalised, ``legal`` or ``full`` (the papers'); see
            :meth:`PrefixTrie.log_prob`.
        hidden_size: H, >= 1.
        num_layers: of the encoder, and as many of the decoder, >= 1.
        num_heads: >= 1.
        head_size: >= 1; num_heads * head_size need not be H.
        inner_size: width inside the feed-forward layers, >= 1.
        dropout: in [0, 1), where T5 has it: embeddings, attention weights, inside feed-forward layers, outputs.

    Raises:
        ValueError: If ``code_softmax`` is not known.
    """

    codes: Tensor
    token_ids: Tensor

    def __init__(
        self,
        *,
        table: SemanticIdTable,
        trie: PrefixTrie,
        code_softmax: CodeSoftmax,
        hidden_size: int = 128,
        num_layers: int = 4,
        num_heads: int = 6,
        head_size: int = 64,
        inner_size: int = 1024,
        dropout: float = 0.1,
    ):
        super().__init__()
        check_code_softmax(code_softmax)
        self.table, self.trie, self.code_softmax = table, trie, code_softmax
        self.vocabulary = CodeVocabulary(table.sizes)
        self.num_digits = len(table.digits)
        self.logit_scale = hidden_size**-0.5
        self.t5 = PackedT5(
            Sizes(
                vocabulary_size=self.vocabulary.size,
                hidden_size=hidden_size,
                num_layers=num_layers,
                num_heads=num_heads,
                head_size=head_size,
                inner_size=inner_size,
                dropout=dropout,
            )
        )
        self.register_buffer("codes", table.codes, persistent=False)  # [N + 1, D]
        token_ids = self.vocabulary.token_ids(table.codes)
        self.register_buffer("token_ids", token_ids, persistent=False)  # [N + 1, D]

    # --- the interface of backbones

    def loss(self, history: Tensor, lengths: Tensor, targets: Tensor, target_counts: Tensor | None = None) -> Tensor:
        """Mean over rows of the negative log-probability of the target's codes.

        Args:
            history: int64 [B, L], item ids padded on the right.
            lengths: int64 [B], 0..L.
            targets: int64 [B], the next item, 1..N.
            target_counts: not used; other backbones take several targets per row, here each row is one prefix.

        Returns:
            float32 scalar.
        """
        order, tokens = self._tokens_of_histories(history, lengths)
        targets = targets[order]
        codes, nodes = self.codes[targets], self.trie.path(targets)  # [B, D] each
        if torch.compiler.is_compiling():  # no shape of a program depends on the trie
            is_open, rows_of_digits = None, [order] * self.num_digits
        else:
            is_open = torch.stack([self._is_open(depth, nodes[:, depth]) for depth in range(self.num_digits)], dim=1)
            rows_of_digits = [column.nonzero().squeeze(1) for column in is_open.unbind(1)]
        hidden = self._write(self.token_ids[targets], is_open, self.t5.read(tokens))  # [B, D, H]
        log_probs = []
        for depth, rows in enumerate(rows_of_digits):
            logits = self._digit_logits(depth, hidden[:, depth].index_select(0, rows))  # [rows, K]
            log_probs.append(
                self.trie.log_prob(depth, nodes[rows, depth], logits, codes[rows, depth], self.code_softmax)
            )
        return -torch.cat(log_probs).sum() / len(targets)

    def start(self, history: Tensor, lengths: Tensor) -> DecodingState:
        """Read the histories, once per user.

        Args:
            history: int64 [B, L], item ids padded on the right.
            lengths: int64 [B], 0..L.

        Returns:
            The state for ``step`` at depth 0.
        """
        order, tokens = self._tokens_of_histories(history, lengths)
        root = torch.zeros_like(order).unsqueeze(1)  # [B, 1]
        return DecodingState(order, self.t5.read(tokens), root, [], [])

    def start_padded(self, history: Tensor, lengths: Tensor) -> DecodingState:
        """As :meth:`start`, computing the padding too, so that no shape depends on lengths: for exported programs."""
        order, tokens = self._padded_tokens(history, lengths)
        return DecodingState(order, self.t5.read(tokens), torch.zeros_like(order).unsqueeze(1), [], [])

    def step(
        self, depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: DecodingState
    ) -> tuple[Tensor, DecodingState]:
        """Score the next digit of every beam; see :class:`recbole_mgr.generation.beam_search.Step`.

        Args:
            depth: the digit to score, 0..D-1.
            nodes: int64 [B, W], each beam's prefix in the trie; -1 where the beam ran out of items.
            codes: int64 [B, W], the code each beam chose last; None at depth 0.
            parents: int64 [B, W], the previous beam that each beam extends; None at depth 0.
            state: from ``start`` at depth 0, from the previous step later.

        Returns:
            float32 logits [B, W, K] (W = 1 at depth 0), 0 where they cannot matter (see above), and the state for
            the next step.
        """
        order, memory, places, past_keys, past_values = state
        nodes = nodes[order]
        if codes is None:
            token_ids = torch.full_like(nodes, START)  # [B, 1]
        else:
            codes, parents = codes[order], parents[order]
            token_ids = codes + self.vocabulary.token_id_range(depth - 1).start  # [B, W]
            places = places.gather(1, parents)
        beams, groups = self._undecided(depth, nodes, [bias.shape[0] for bias in memory.biases])
        if depth:
            earlier = places.flatten()[beams]  # [M]
            past_keys = [keys.index_select(0, earlier) for keys in past_keys]
            past_values = [values.index_select(0, earlier) for values in past_values]
        bias = self.t5.decoder.relative_bias(depth + 1)[:, :, -1:]  # [1, heads, 1, depth + 1]
        next_keys, next_values = [], []

        def attend_to_own_past(layer: int, projected: Tensor) -> Tensor:
            one_token = projected.unsqueeze(1)  # [M, 1, 3 * heads * head_size]
            queries, keys, values = split_heads(one_token, 3, self.t5.head_size)  # [M, heads, 1, head_size]
            next_keys.append(torch.cat([past_keys[layer], keys], dim=2) if depth else keys)
            next_values.append(torch.cat([past_values[layer], values], dim=2) if depth else values)
            return self.t5.attend(queries, next_keys[layer], next_values[layer], bias).squeeze(1)

        tokens = PackedTokens(token_ids.flatten()[beams], groups)
        hidden = self.t5.decode(tokens, memory, attend_to_own_past)  # [M, H]
        computed = self._digit_logits(depth, hidden)  # [M, K]
        logits = computed.new_zeros(nodes.numel(), computed.shape[1]).index_copy_(0, beams, computed)
        logits = logits.view(*nodes.shape, -1)[order.argsort()]  # [B, W, K], in the order of the histories
        places = (
            torch.zeros_like(nodes).flatten().index_copy_(0, beams, torch.arange(beams.shape[0], device=beams.device))
        )
        return logits, DecodingState(order, memory, places.view_as(nodes), next_keys, next_values)

    # --- LF++'s alignment stage

    def modality_encodings(self, item_ids: Tensor) -> dict[str, Tensor]:
        """The items as each modality shows them: the encoder's output for its codes alone, averaged.

        Args:
            item_ids: int64 [n], 1..N.

        Returns:
            float32 [n, H] per modality.

        Source: MGR-LF++'s contrastive alignment, in our reading: the paper's formula is not known.
        """
        encodings = {}
        for modality in self.table.modalities:
            tokens = self._tokens_of_codes(modality, item_ids)
            encodings[modality] = tokens.groups[0].pad(self.t5.encode(tokens)).mean(dim=1)  # [n, S, H] -> [n, H]
        return encodings

    def modality_translation_loss(self, source: str, target: str, item_ids: Tensor) -> Tensor:
        """Mean over items of the negative log-probability of one modality's codes, given another's.

        Always normalised over all K codes: the trie knows no prefix that begins at a later modality.

        Args:
            source: the modality whose codes the encoder reads.
            target: the modality whose codes the decoder writes.
            item_ids: int64 [n], 1..N.

        Returns:
            float32 scalar.

        Raises:
            ValueError: If the table has no such modality.

        Source: ID-to-ID generation, our second reading of MGR-LF++'s alignment.
        """
        block = self.table.block(target)
        memory = self.t5.read(self._tokens_of_codes(source, item_ids))
        token_ids = self.token_ids[item_ids, block]  # [n, S]
        hidden = self._write(token_ids, torch.ones_like(token_ids, dtype=torch.bool), memory)  # [n, S, H]
        codes = self.codes[item_ids]  # [n, D]
        losses = [
            F.cross_entropy(self._digit_logits(depth, hidden[:, place]), codes[:, depth])
            for place, depth in enumerate(range(block.start, block.stop))
        ]
        return torch.stack(losses).sum()

    # --- tokens and passes

    def _tokens_of_histories(self, history: Tensor, lengths: Tensor) -> tuple[Tensor, PackedTokens]:
        """The users by length of history, longest first, int64 [B]; and all digits of all their items."""
        if torch.compiler.is_compiling():  # no shape of a program depends on lengths
            return self._padded_tokens(history, lengths)
        order = lengths.argsort(descending=True, stable=True)
        is_item = torch.arange(history.shape[1], device=history.device) < lengths[order].unsqueeze(1)  # [B, L]
        is_token = is_item.repeat_interleave(self.num_digits, dim=1)  # [B, L * D]
        num_users, groups = len(order), ATTENTION_GROUPS.get(order.device.type, 1)
        group_size = -(-num_users // groups)
        sizes = [min(group_size, num_users - first) for first in range(0, num_users, group_size)]
        token_ids = self.token_ids[history[order][is_item]].flatten()  # [M]
        return order, PackedTokens(token_ids, pack_rows(is_token, sizes))

    def _padded_tokens(self, history: Tensor, lengths: Tensor) -> tuple[Tensor, PackedTokens]:
        """As :meth:`_tokens_of_histories`, the users in their own order, with the padding."""
        is_item = torch.arange(history.shape[1], device=history.device) < lengths.unsqueeze(1)  # [B, L]
        padded = Padded(is_item.repeat_interleave(self.num_digits, dim=1))
        order = torch.arange(history.shape[0], device=history.device)
        return order, PackedTokens(self.token_ids[history].flatten(), [padded])

    def _tokens_of_codes(self, modality: str, item_ids: Tensor) -> PackedTokens:
        """One modality's codes, a row per item, without any padding."""
        token_ids = self.token_ids[item_ids, self.table.block(modality)]  # [n, S]
        return PackedTokens(token_ids.flatten(), [Packing(*token_ids.shape)])

    def _is_open(self, depth: int, nodes: Tensor) -> Tensor:
        """Which prefixes (``nodes`` int64, any shape, at ``depth``) leave something to say, bool."""
        if self.code_softmax == "full":
            return torch.ones_like(nodes, dtype=torch.bool)
        return (nodes >= 0) & (self.trie.num_leaves(depth, nodes.clamp(min=0)) > 1)

    def _undecided(self, depth: int, nodes: Tensor, group_sizes: list[int]) -> tuple[Tensor, list[Packing]]:
        """Which beams of ``nodes`` [B, W] to compute, int64 [M] within B * W, and where they stand in their groups."""
        beams = torch.arange(nodes.numel(), device=nodes.device)
        # a GPU would wait for the number of undecided beams, and a program's shapes do not depend on the trie
        if self.code_softmax == "full" or nodes.is_cuda or torch.compiler.is_compiling():
            return beams, [Packing(size, nodes.shape[1]) for size in group_sizes]
        is_open = self._is_open(depth, nodes)
        return beams[is_open.flatten()], pack_rows(is_open, group_sizes)

    def _write(self, token_ids: Tensor, is_open: Tensor | None, memory: Memory) -> Tensor:
        """Teacher forcing: decoder output [B, S, H] whose place s predicts token s of ``token_ids`` [B, S].

        Only places where ``is_open`` [B, S] are computed; the others hold zeros, and none may precede an open one. None
        computes all.
        """
        inputs = F.pad(token_ids[:, :-1], (1, 0), value=START)  # [B, S]
        rows, length = inputs.shape
        group_sizes = [len(bias) for bias in memory.biases]
        if is_open is None:
            open_places = Packing(rows, length)
            tokens = PackedTokens(inputs.flatten(), [Packing(size, length) for size in group_sizes])
        else:
            open_places = Packing(rows, length, is_open.flatten().nonzero().squeeze(1))
            tokens = PackedTokens(inputs[is_open], pack_rows(is_open, group_sizes))
        future = torch.ones(length, length, dtype=torch.bool, device=inputs.device).triu(1)
        bias = self.t5.decoder.relative_bias(length).masked_fill(future, HIDDEN)  # [1, heads, S, S]

        def attend_to_earlier(layer: int, projected: Tensor) -> Tensor:
            queries, keys, values = split_heads(open_places.pad(projected), 3, self.t5.head_size)
            return open_places.pack(self.t5.attend(queries, keys, values, bias))

        return open_places.pad(self.t5.decode(tokens, memory, attend_to_earlier))

    def _digit_logits(self, depth: int, hidden: Tensor) -> Tensor:
        """[..., H] -> [..., K] of one digit, in float32 also under autocast."""
        weight = self.t5.lm_head.weight[self.vocabulary.token_id_range(depth)]  # [K, H]
        return F.linear(hidden * self.logit_scale, weight).float()
