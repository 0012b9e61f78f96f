"""UniMP's language model with its eyes: prompts to hidden states, beams of semantic IDs, and free answers.

Beams are decoded as a tree: a user's prompt is read once, and the newest tokens of all their beams stand side by side
after it, each attending to the prompt and to its own ancestors. So the cache holds one row per user, is never copied
from beam to beam, and grows by W positions a digit instead of W times the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from recbole_mgr.integration.transformers_models import branch_of_cache
from recbole_mgr.unimp.language_model import read
from recbole_mgr.unimp.rows import Row, RowBatch, collate
from recbole_mgr.unimp.vision import VisualConditioning
from recbole_mgr.unimp.vocabulary import PromptVocabulary

Prompt = Callable[[list[int], int], Row]


class BeamState(NamedTuple):
    """What the beams of B users carry.

    Attributes:
        hidden: [B, W, H] at each beam's newest token.
        visible: bool [B, W, T], which of the T cached tokens each beam descends from.
        cache: keys and values of these T tokens; a step appends to it, so a state serves one step only; the first
            one may serve several searches.
        prompt: the prompts, left-padded.
    """

    hidden: Tensor
    visible: Tensor
    cache: Any
    prompt: RowBatch


class PromptBackbone(nn.Module):
    """A language model that sees pictures, behind the beam search's interface (start, step).

    Args:
        lm: with an extended vocabulary.
        vision: cross-attention to pictures, hooked into ``lm``; None where the catalogue has no pictures.
        features: item ids [n] -> picture features float [n, P, dim]; not used without ``vision``.
        vocabulary: owner of the token ids.
        codes: int64 [N+1, D], semantic IDs by item id.
        pad_token_id: fills up batches.
    """

    def __init__(
        self,
        *,
        lm: PreTrainedModel,
        vision: VisualConditioning | None,
        features: Callable[[Tensor], Tensor],
        vocabulary: PromptVocabulary,
        codes: Tensor,
        pad_token_id: int,
    ) -> None:
        super().__init__()
        self.lm = lm
        self.vision = vision
        self.features = features
        self.vocabulary = vocabulary
        self.pad_token_id = pad_token_id
        self.register_buffer("codes", codes, persistent=False)  # [N+1, D]

    @property
    def head(self) -> nn.Module:
        """The output layer: ``head(hidden)`` all logits, ``head.logits(hidden, token_ids)`` those of some tokens."""
        return self.lm.get_output_embeddings()

    def hidden(self, batch: RowBatch) -> Tensor:
        """Hidden states [B, S, H] of rows, padded on either side."""
        with self.showing(batch):
            return read(self.lm, batch.token_ids, batch.attention_mask).hidden

    def collate_prompts(self, rows: Sequence[Row]) -> RowBatch:
        """A left-padded batch on the language model's device."""
        # a prompt has no loss, so no matter which task's index it carries
        batch = collate(rows, [0] * len(rows), pad_token_id=self.pad_token_id, padding="left")
        return batch.to(self.codes.device)

    def answer_logits(self, batch: RowBatch, token_ids: Tensor) -> Tensor:
        """Logits [B, n] of the tokens [n] as the next one after each row of a left-padded batch."""
        return self.head.logits(self.hidden(batch)[:, -1], token_ids)

    def start(self, history: Tensor, lengths: Tensor, prompt: Prompt, targets: Tensor | None = None) -> BeamState:
        """State of the empty prefix: one beam per user.

        Args:
            history: int64 [B, L] item ids, right-padded with 0.
            lengths: int64 [B], items of history.
            prompt: makes the row, whose answer is the next item, of a user's history (item ids, oldest first) and
                target (an item id; 0 where the prompt does not depend on it).
            targets: int64 [B] item ids, for prompts that tell something of the target; None for the others.
        """
        asked = [0] * len(history) if targets is None else targets.tolist()
        histories = [items[:length] for items, length in zip(history.tolist(), lengths.tolist(), strict=True)]
        batch = self.collate_prompts([prompt(*row) for row in zip(histories, asked, strict=True)])
        with self.showing(batch):
            reading = read(self.lm, batch.token_ids, batch.attention_mask, keep_cache=True)
        visible = batch.attention_mask.bool().unsqueeze(1)  # [B, 1, S]
        return BeamState(reading.hidden[:, -1:], visible, reading.cache, batch)

    def step(
        self, depth: int, nodes: Tensor, codes: Tensor | None, parents: Tensor | None, state: BeamState
    ) -> tuple[Tensor, BeamState]:
        """One step of the beam search.

        Args:
            depth: digit to predict.
            nodes: int64 [B, W], each beam's prefix in the trie; not used, the language model reads codes alone.
            codes: [B, W] codes chosen at ``depth - 1``; None at depth 0.
            parents: [B, W] index of the previous beam that each one extends; None at depth 0.
            state: from the last step, or from :meth:`start`.

        Returns:
            Logits [B, W, K] and the new state.
        """
        if codes is None:  # reading on changes a cache, and another search may begin at the same state
            state = state._replace(cache=branch_of_cache(state.cache))
        else:
            state = self._extend(self.vocabulary.digit_ids(depth - 1).start + codes, parents, state)
        return self.head.logits(state.hidden, self.vocabulary.digit_ids(depth)), state

    def generate(
        self,
        batch: RowBatch,
        *,
        allowed_token_ids: Tensor,
        max_new_tokens: int,
        beams: int = 1,
        temperature: float | None = None,
    ) -> list[list[int]]:
        """Continue each row by a free answer.

        Args:
            batch: left-padded prompts.
            allowed_token_ids: int64 [n]; nothing else is written. With the end of chunk among them an answer may stop
                early, without it each has ``max_new_tokens``.
            max_new_tokens: most tokens of an answer, >= 1.
            beams: width of the search for the most likely answer; 1 is greedy.
            temperature: sample with it instead; None searches.

        Returns:
            B answers as token ids, without the end of chunk.
        """
        sampling = (
            {"do_sample": False}
            if temperature is None
            else {
                "do_sample": True,
                "temperature": temperature,
                "top_k": 0,  # transformers would leave all but 50 tokens out
            }
        )
        allowed = _Allowed(allowed_token_ids.to(batch.token_ids.device), self.vocabulary.size)
        with self.showing(batch):
            sequences = self.lm.generate(
                input_ids=batch.token_ids,
                attention_mask=batch.attention_mask,
                max_new_tokens=max_new_tokens,
                num_beams=beams,
                eos_token_id=self.vocabulary.end_id,
                pad_token_id=self.pad_token_id,
                logits_processor=LogitsProcessorList([allowed]),
                **sampling,
            )  # [B, S + new]
        answers = sequences[:, batch.token_ids.shape[1] :].tolist()
        return [_until(answer, self.vocabulary.end_id) for answer in answers]

    def showing(self, batch: RowBatch) -> AbstractContextManager:
        """The language model sees the pictures of these rows while inside."""
        return self._showing(batch.images, batch.image_positions, batch.sees)

    def _extend(self, token_ids: Tensor, parents: Tensor, state: BeamState) -> BeamState:
        """Read the beams' newest tokens [B, W] as siblings after what the cache holds."""
        batch_size, width = token_ids.shape
        inherited = state.visible.gather(1, parents.unsqueeze(-1).expand(-1, -1, state.visible.shape[-1]))  # [B, W, T]
        itself = torch.eye(width, dtype=torch.bool, device=token_ids.device).expand(batch_size, -1, -1)
        visible = torch.cat([inherited, itself], dim=-1)  # [B, W, T + W]
        mask = torch.zeros(visible.shape, dtype=state.hidden.dtype, device=token_ids.device)
        mask = mask.masked_fill(~visible, torch.finfo(mask.dtype).min).unsqueeze(1)  # [B, 1, W, T + W]
        prompt = state.prompt
        # an ID sees what the last token of its prompt sees, before which every picture stands
        with self._showing(prompt.images, prompt.image_positions.clamp(max=0), prompt.sees[:, -1:]):
            reading = read(
                self.lm,
                token_ids,
                mask,
                positions=visible.sum(-1) - 1,
                cache=state.cache,
                keep_cache=True,
            )
        return BeamState(reading.hidden, visible, reading.cache, prompt)

    def _showing(self, images: Tensor, image_positions: Tensor, sees: Tensor) -> AbstractContextManager:
        if self.vision is None:
            return nullcontext()
        return self.vision.showing(self.features, images=images, image_positions=image_positions, sees=sees)


class _Allowed(LogitsProcessor):
    """Keeps the scores [B, V] of the allowed tokens."""

    def __init__(self, token_ids: Tensor, vocabulary_size: int) -> None:
        self._penalty = torch.full((vocabulary_size,), -torch.inf, device=token_ids.device)
        self._penalty[token_ids] = 0.0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores + self._penalty


def _until(token_ids: list[int], end_id: int) -> list[int]:
    return token_ids[: token_ids.index(end_id)] if end_id in token_ids else token_ids
