"""TIGER's backbone: an encoder-decoder over flattened codes, one training row per prefix.

The encoder reads a history as one token sequence, D tokens per item; the decoder writes the D codes of the next
item. LF and LF++ use it unchanged: their items have more digits.

Papers: Raffel et al., T5 (arXiv 1910.10683); Rajput et al., TIGER (arXiv 2305.05065), for the sizes; Zhu et
al., MGR-LF++ (arXiv 2503.23333), for the transition tokens and the alignment stage.
Reference code: ``T5ForConditionalGeneration`` of transformers. It supplies the parameters, their names and
their initialisation. The passes over them are written out here, because its own also compute the padding, the
logits of the whole vocabulary, and the encoder's keys and values once per beam; the tests compare the two.
Deviations from TIGER: no user token, and a softmax runs over the codes of one digit (``full``) or the legal
ones among them (``legal``), not over the vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from recbole_mgr.generation.trie import CodeSoftmax, PrefixTrie, check_code_softmax
from recbole_mgr.model.backbone.packing import HIDDEN, Packing
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary

START = CodeVocabulary.PAD  # T5's convention: the decoder starts with the padding token

# Histories of similar length attend together, each group padded to its own longest: most are far shorter than
# the longest of the batch, and attention grows with the square. More groups cost more than they save.
ATTENTION_GROUPS = 4


class EncoderInput(NamedTuple):
    """The real tokens of a batch.

    Attributes:
        token_ids: int64 [M].
        whole: where they stand in the batch.
        groups: where they stand in consecutive groups of rows that attend together.
    """

    token_ids: Tensor
    whole: Packing
    groups: list[Packing]


class Memory(NamedTuple):
    """What the decoder sees of the encoder.

    Attributes:
        keys, values: per layer float [B, heads, S, head_size].
        bias: float32 [B, 1, 1, S], hides the padding.
    """

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor


class DecodingState(NamedTuple):
    """What a decoding step needs of the earlier ones.

    Attributes:
        memory: of each user, shared by the user's beams.
        keys, values: per layer float [B * W, heads, depth, head_size], what each beam has seen of itself.
    """

    memory: Memory
    keys: list[Tensor]
    values: list[Tensor]


def project(hidden: Tensor, *layers: nn.Linear) -> Tensor:
    """Several bias-free projections of one input in one product: [..., H] -> [..., sum of their widths]."""
    return F.linear(hidden, torch.cat([layer.weight for layer in layers]))


def split_heads(projected: Tensor, parts: int, head_size: int) -> tuple[Tensor, ...]:
    """[B, S, parts * heads * head_size] -> ``parts`` tensors [B, heads, S, head_size]."""
    return projected.unflatten(-1, (parts, -1, head_size)).permute(2, 0, 3, 1, 4).unbind(0)


class T5Backbone(nn.Module):
    """Next-item codes by transformers' T5, built from a configuration: nothing is downloaded.

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
        self.head_size, self.dropout = head_size, dropout
        self.logit_scale = hidden_size**-0.5
        self.t5 = T5ForConditionalGeneration(
            T5Config(
                vocab_size=self.vocabulary.size,
                d_model=hidden_size,
                num_layers=num_layers,
                num_heads=num_heads,
                d_kv=head_size,
                d_ff=inner_size,
                dropout_rate=dropout,
                feed_forward_proj="relu",
                pad_token_id=CodeVocabulary.PAD,
                decoder_start_token_id=START,
                eos_token_id=None,
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
        hidden = self._write(self.token_ids[targets], self._read(self._tokens_of_histories(history, lengths)))
        nodes, codes = self.trie.path(targets), self.codes[targets]  # [B, D] each
        log_probs = torch.zeros(len(targets), device=hidden.device)
        for depth in range(self.num_digits):
            logits = self._digit_logits(depth, hidden[:, depth])  # [B, K]
            log_probs = log_probs + self.trie.log_prob(
                depth, nodes[:, depth], logits, codes[:, depth], self.code_softmax
            )
        return -log_probs.mean()

    def start(self, history: Tensor, lengths: Tensor) -> DecodingState:
        """Read the histories, once per user.

        Args:
            history: int64 [B, L], item ids padded on the right.
            lengths: int64 [B], 0..L.

        Returns:
            The state for ``step`` at depth 0.
        """
        memory = self._read(self._tokens_of_histories(history, lengths))
        nothing = [keys[:, :, :0] for keys in memory.keys]
        return DecodingState(memory, nothing, nothing)

    def step(
        self, depth: int, codes: Tensor | None, parents: Tensor | None, state: DecodingState
    ) -> tuple[Tensor, DecodingState]:
        """Score the next digit of every beam; see :class:`recbole_mgr.generation.beam_search.Step`.

        Args:
            depth: the digit to score, 0..D-1.
            codes: int64 [B, W], the code each beam chose last; None at depth 0.
            parents: int64 [B, W], the previous beam that each beam extends; None at depth 0.
            state: from ``start`` at depth 0, from the previous step later.

        Returns:
            float32 logits [B, W, K] (W = 1 at depth 0), and the state for the next step.
        """
        memory, past_keys, past_values = state
        num_users = len(memory.bias)
        if codes is None:
            token_ids = torch.full((num_users, 1), START, device=memory.bias.device)  # [B, 1]
        else:
            token_ids = codes + self.vocabulary.token_id_range(depth - 1).start  # [B, W]
            num_parents = len(past_keys[0]) // num_users
            first_parents = torch.arange(num_users, device=parents.device).unsqueeze(1) * num_parents
            rows = (first_parents + parents).flatten()  # [B * W]
            past_keys = [keys.index_select(0, rows) for keys in past_keys]
            past_values = [values.index_select(0, rows) for values in past_values]
        bias = self._relative_bias(self.t5.decoder, depth + 1)[:, :, -1:]  # [1, heads, 1, depth + 1]
        next_keys, next_values = [], []

        def attend_to_own_past(layer: int, projected: Tensor) -> Tensor:
            one_token = projected.flatten(0, 1).unsqueeze(1)  # [B * W, 1, 3 * heads * head_size]
            queries, keys, values = split_heads(one_token, 3, self.head_size)  # [B * W, heads, 1, head_size]
            next_keys.append(torch.cat([past_keys[layer], keys], dim=2))
            next_values.append(torch.cat([past_values[layer], values], dim=2))
            context = self._attend(queries, next_keys[layer], next_values[layer], bias)
            return context.view(num_users, -1, context.shape[-1])  # [B, W, heads * head_size]

        hidden = self._decode(token_ids, memory, attend_to_own_past)  # [B, W, H]
        return self._digit_logits(depth, hidden), DecodingState(memory, next_keys, next_values)

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
            encodings[modality] = tokens.whole.pad(self._encode(tokens)).mean(dim=1)  # [n, S, H] -> [n, H]
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
        memory = self._read(self._tokens_of_codes(source, item_ids))
        hidden = self._write(self.token_ids[item_ids, block], memory)  # [n, S, H]
        codes = self.codes[item_ids]  # [n, D]
        losses = [
            F.cross_entropy(self._digit_logits(depth, hidden[:, place]), codes[:, depth])
            for place, depth in enumerate(range(block.start, block.stop))
        ]
        return torch.stack(losses).sum()

    # --- tokens

    def _tokens_of_histories(self, history: Tensor, lengths: Tensor) -> EncoderInput:
        """All digits of all items, the longest histories first."""
        order = lengths.argsort(descending=True, stable=True)  # [B]
        is_item = torch.arange(history.shape[1], device=history.device) < lengths[order].unsqueeze(1)  # [B, L]
        rows, columns = is_item.nonzero(as_tuple=True)  # [items] each
        users = order[rows]
        sorted_lengths = lengths[order].tolist()
        whole = self._packing(users, columns, sorted_lengths)
        groups, first_row, first_item = [], 0, 0
        group_size = -(-len(sorted_lengths) // ATTENTION_GROUPS)
        while first_row < len(sorted_lengths):
            group_lengths = sorted_lengths[first_row : first_row + group_size]
            items = slice(first_item, first_item + sum(group_lengths))
            groups.append(self._packing(rows[items] - first_row, columns[items], group_lengths))
            first_row, first_item = first_row + group_size, items.stop
        return EncoderInput(self.token_ids[history[users, columns]].flatten(), whole, groups)

    def _packing(self, rows: Tensor, columns: Tensor, lengths: list[int]) -> Packing:
        """The places of the D tokens of each item (row, column), rows padded to the longest of ``lengths``."""
        longest = max(1, max(lengths))
        first_tokens = (rows * longest + columns) * self.num_digits  # [items]
        positions = first_tokens.unsqueeze(1) + torch.arange(self.num_digits, device=rows.device)  # [items, D]
        return Packing(len(lengths), longest * self.num_digits, positions.flatten())

    def _tokens_of_codes(self, modality: str, item_ids: Tensor) -> EncoderInput:
        """One modality's codes, a row per item, without any padding."""
        token_ids = self.token_ids[item_ids, self.table.block(modality)]  # [n, S]
        whole = Packing(*token_ids.shape, torch.arange(token_ids.numel(), device=token_ids.device))
        return EncoderInput(token_ids.flatten(), whole, [whole])

    # --- passes over transformers' modules

    def _encode(self, tokens: EncoderInput) -> Tensor:
        """Encoder output [M, H] of the packed tokens [M]."""
        encoder, groups = self.t5.encoder, tokens.groups
        group_sizes = [len(group.positions) for group in groups]
        relative_bias = self._relative_bias(encoder, tokens.whole.length)  # [1, heads, S, S]
        biases = [relative_bias[:, :, : group.length, : group.length] + group.key_bias() for group in groups]
        hidden = encoder.dropout(encoder.embed_tokens(tokens.token_ids))  # [M, H]
        for self_attention, feed_forward in (block.layer for block in encoder.block):
            attention = self_attention.SelfAttention
            projected = project(self_attention.layer_norm(hidden), attention.q, attention.k, attention.v)
            contexts = []
            for group, part, bias in zip(groups, projected.split(group_sizes), biases, strict=True):
                queries, keys, values = split_heads(group.pad(part), 3, self.head_size)
                contexts.append(group.pack(self._attend(queries, keys, values, bias)))
            hidden = hidden + self_attention.dropout(attention.o(torch.cat(contexts)))
            hidden = feed_forward(hidden)
        return encoder.dropout(encoder.final_layer_norm(hidden))

    def _read(self, tokens: EncoderInput) -> Memory:
        """Encode, and project the output to the keys and values of every decoder layer."""
        encoded = self._encode(tokens)  # [M, H]
        keys, values = [], []
        for block in self.t5.decoder.block:
            attention = block.layer[1].EncDecAttention
            projected = tokens.whole.pad(project(encoded, attention.k, attention.v))
            layer_keys, layer_values = split_heads(projected, 2, self.head_size)
            keys.append(layer_keys)
            values.append(layer_values)
        return Memory(keys, values, tokens.whole.key_bias())

    def _write(self, token_ids: Tensor, memory: Memory) -> Tensor:
        """Teacher forcing: decoder output [B, S, H] whose place s predicts token s of ``token_ids`` [B, S]."""
        inputs = F.pad(token_ids[:, :-1], (1, 0), value=START)  # [B, S]
        length = inputs.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=inputs.device).triu(1)
        bias = self._relative_bias(self.t5.decoder, length).masked_fill(future, HIDDEN)  # [1, heads, S, S]

        def attend_to_earlier(layer: int, projected: Tensor) -> Tensor:
            return self._attend(*split_heads(projected, 3, self.head_size), bias)

        return self._decode(inputs, memory, attend_to_earlier)

    def _decode(self, token_ids: Tensor, memory: Memory, attend_to_self: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Decoder output at Q places of each row: the places of one sequence, or the beams of one user.

        Args:
            token_ids: int64 [B, Q].
            memory: of the B rows.
            attend_to_self: (layer, queries, keys and values [B, Q, 3 * heads * head_size]) -> what each place
                sees of its own sequence [B, Q, heads * head_size].

        Returns:
            float [B, Q, H].
        """
        decoder = self.t5.decoder
        hidden = decoder.dropout(decoder.embed_tokens(token_ids))  # [B, Q, H]
        for layer, block in enumerate(decoder.block):
            self_attention, cross_attention, feed_forward = block.layer
            attention = self_attention.SelfAttention
            projected = project(self_attention.layer_norm(hidden), attention.q, attention.k, attention.v)
            hidden = hidden + self_attention.dropout(attention.o(attend_to_self(layer, projected)))
            attention = cross_attention.EncDecAttention
            (queries,) = split_heads(attention.q(cross_attention.layer_norm(hidden)), 1, self.head_size)
            context = self._attend(queries, memory.keys[layer], memory.values[layer], memory.bias)
            hidden = hidden + cross_attention.dropout(attention.o(context))
            hidden = feed_forward(hidden)
        return decoder.dropout(decoder.final_layer_norm(hidden))

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """[B, heads, Q, head_size], twice [B, heads, S, head_size] -> [B, Q, heads * head_size]."""
        dropout = self.dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=bias.to(queries.dtype), dropout_p=dropout, scale=1.0
        )
        return context.transpose(1, 2).flatten(2)

    def _relative_bias(self, stack: nn.Module, length: int) -> Tensor:
        """T5's learned bias by distance [1, heads, S, S]; the first layer holds it for all."""
        return stack.block[0].layer[0].SelfAttention.compute_bias(length, length)

    def _digit_logits(self, depth: int, hidden: Tensor) -> Tensor:
        """[..., H] -> [..., K] of one digit, in float32 also under autocast."""
        weight = self.t5.lm_head.weight[self.vocabulary.token_id_range(depth)]  # [K, H]
        return F.linear(hidden * self.logit_scale, weight).float()
