"""Prompt rows: token ids, and beside each token the picture it may look at. Knows no task, item text or model.

A row interleaves a user's items as UniMP does (arXiv 2403.10667): an item is an ``<image>`` token, its text and, after
``<answer>``, what is asked of it, up to an end-of-chunk token. Tokens of an item look at that item's picture only; a
closing question looks at those of the whole history.

Deviation: the reference code lets the closing question see the last item's picture only; ``closing_sees: last``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_mgr.unimp.vocabulary import PromptVocabulary

SEES_NOTHING, SEES_ALL = -1, -2

IMAGE_ATTENTION = ("own", "all_previous", "none")
CLOSING_SEES = ("all", "last")


class Row(NamedTuple):
    """One prompt of S tokens and M pictures.

    Attributes:
        token_ids: int64 [S].
        sees: int64 [S], the picture a token looks at (0..M-1), SEES_ALL (those whose ``<image>`` token stands at or
            before it) or SEES_NOTHING.
        is_target: bool [S], the token is to be predicted from what stands before it.
        images: int64 [M] item ids, in the order of their ``<image>`` tokens.
        image_positions: int64 [M], where those tokens stand.
    """

    token_ids: np.ndarray
    sees: np.ndarray
    is_target: np.ndarray
    images: np.ndarray
    image_positions: np.ndarray


class RowBuilder:
    """Puts a row together, piece by piece.

    Args:
        vocabulary: owner of the special tokens.
        has_image: bool [N+1], by item id; an item without a picture gets no ``<image>`` token.
        image_attention: what an item's tokens see: ``own`` picture, ``all_previous`` ones too, or ``none``: rows
            without pictures.
        closing_sees: what SEES_ALL means: ``all`` pictures so far, or the ``last`` one.

    Raises:
        ValueError: For a mode that does not exist.
    """

    def __init__(
        self,
        vocabulary: PromptVocabulary,
        *,
        has_image: np.ndarray,
        image_attention: Literal["own", "all_previous", "none"] = "own",
        closing_sees: Literal["all", "last"] = "all",
    ) -> None:
        for key, value, choices in (
            ("image_attention", image_attention, IMAGE_ATTENTION),
            ("closing_sees", closing_sees, CLOSING_SEES),
        ):
            if value not in choices:
                raise ValueError(f"{key}: {value!r} must be one of {', '.join(choices)}")
        self._vocabulary = vocabulary
        self._has_image = has_image
        self._image_attention = image_attention
        self._closing_sees = closing_sees
        # lists, since most pieces are a few tokens long, for which arrays cost more than they hold
        self._token_ids: list[int] = []
        self._sees: list[int] = []
        self._is_target: list[bool] = []
        self._images: list[int] = []
        self._image_positions: list[int] = []

    def __len__(self) -> int:
        """Tokens so far."""
        return len(self._token_ids)

    def image(self, item_id: int) -> int:
        """Append an item's ``<image>`` token, which sees that picture.

        Returns:
            The picture's index in the row, for ``text(..., sees=index)``; SEES_NOTHING where there is none.
        """
        if self._image_attention == "none" or not self._has_image[item_id]:
            return SEES_NOTHING
        index = len(self._images)
        self._image_positions.append(len(self))
        self._images.append(int(item_id))
        self._append([self._vocabulary.image_id], self._scope(index), target=False)
        return index

    def text(self, token_ids: Sequence[int], *, sees: int) -> None:
        """Append tokens that look at one picture (its index), at SEES_ALL or at SEES_NOTHING."""
        self._append(token_ids, self._scope(sees), target=False)

    def answer(self, token_ids: Sequence[int], *, target: bool, given: Sequence[int] = ()) -> None:
        """Append ``<answer>``, tokens and end-of-chunk, which see what the token before them sees.

        Args:
            token_ids: int64 [n], the answer.
            target: whether the tokens and the end are to be predicted.
            given: int64 [m], stands before the answer and is not to be predicted.
        """
        scope = self._last_scope
        self.open_answer()
        self._append(given, scope, target=False)
        self._append(token_ids, scope, target=target)
        self._append([self._vocabulary.end_id], scope, target=target)

    def open_answer(self) -> None:
        """Append ``<answer>`` alone: the end of a prompt that is to be answered."""
        self._append([self._vocabulary.answer_id], self._last_scope, target=False)

    def row(self) -> Row:
        """The row so far."""
        return Row(
            token_ids=np.array(self._token_ids, dtype=np.int64),
            sees=np.array(self._sees, dtype=np.int64),
            is_target=np.array(self._is_target, dtype=bool),
            images=np.array(self._images, dtype=np.int64),
            image_positions=np.array(self._image_positions, dtype=np.int64),
        )

    @property
    def _last_scope(self) -> int:
        return self._sees[-1] if self._sees else SEES_NOTHING

    def _scope(self, sees: int) -> int:
        if sees == SEES_ALL:
            return SEES_ALL if self._closing_sees == "all" else len(self._images) - 1  # -1 is SEES_NOTHING
        return SEES_ALL if self._image_attention == "all_previous" else sees

    def _append(self, token_ids: Sequence[int], scope: int, *, target: bool) -> None:
        new = np.asarray(token_ids).tolist()
        self._token_ids += new
        self._sees += [scope] * len(new)
        self._is_target += [target] * len(new)


class RowBatch(NamedTuple):
    """B rows as tensors, padded to S tokens and M >= 1 pictures.

    Attributes:
        token_ids: int64 [B, S].
        attention_mask: int64 [B, S], 1 for tokens, 0 for padding.
        sees: int64 [B, S], as in `Row`; padding sees nothing.
        is_target: bool [B, S]; padding is none.
        images: int64 [B, M] item ids, 0 = none.
        image_positions: int64 [B, M], where in S the ``<image>`` tokens stand, -1 = none.
        task: int64 [B], index into the tasks of the run.
    """

    token_ids: Tensor
    attention_mask: Tensor
    sees: Tensor
    is_target: Tensor
    images: Tensor
    image_positions: Tensor
    task: Tensor

    def to(self, device: torch.device | str) -> RowBatch:
        return RowBatch(*(tensor.to(device) for tensor in self))

    def to_interaction(self) -> Interaction:
        """As RecBole's training loop wants a batch; the fields keep their names."""
        return Interaction(self._asdict())

    @classmethod
    def from_interaction(cls, interaction: Interaction) -> RowBatch:
        """What `to_interaction` wrapped."""
        return cls(*(interaction[field] for field in cls._fields))


def collate(
    rows: Sequence[Row], tasks: Sequence[int], *, pad_token_id: int, padding: Literal["left", "right"]
) -> RowBatch:
    """Make a batch of rows.

    Args:
        rows: B rows, at least one.
        tasks: B indices into the tasks of the run.
        pad_token_id: fills up the token ids.
        padding: the side; ``left`` for generation, so that all prompts end at the same place.

    Returns:
        The batch on the CPU.
    """
    lengths = np.array([len(row.token_ids) for row in rows])
    columns = np.arange(lengths.max())
    shift = lengths.max() - lengths if padding == "left" else np.zeros_like(lengths)  # [B]
    filled = (columns >= shift[:, None]) & (columns < (shift + lengths)[:, None])  # [B, S]
    image_counts = np.array([len(row.images) for row in rows])
    shown = np.arange(max(1, image_counts.max())) < image_counts[:, None]  # [B, M]

    def spread(pieces: list[np.ndarray], where: np.ndarray, filler: int) -> Tensor:
        values = np.full(where.shape, filler, dtype=pieces[0].dtype)
        values[where] = np.concatenate(pieces)
        return torch.from_numpy(values)

    return RowBatch(
        token_ids=spread([row.token_ids for row in rows], filled, pad_token_id),
        attention_mask=torch.from_numpy(filled.astype(np.int64)),
        sees=spread([row.sees for row in rows], filled, SEES_NOTHING),
        is_target=spread([row.is_target for row in rows], filled, False),
        images=spread([row.images for row in rows], shown, 0),
        image_positions=spread(
            [row.image_positions + offset for row, offset in zip(rows, shift, strict=True)], shown, -1
        ),
        task=torch.as_tensor(np.asarray(tasks, dtype=np.int64)),
    )
