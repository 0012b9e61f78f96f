"""UniMP's prompts as people read them: words as they are, everything else in angle brackets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.rows import Row


class PromptPart(NamedTuple):
    """Tokens of a prompt that belong together.

    Attributes:
        kind: ``words``, ``image`` (an item's picture), ``item`` (its semantic ID), ``picture`` (in codes), ``mark`` (a
            rating or a candidate's), ``answer`` or ``end``.
        text: the words, or what the mark is called.
        item_id: of ``image`` and ``item``; else 0.
        count: tokens.
    """

    kind: str
    text: str
    item_id: int
    count: int


def prompt_text(row: Row, personal: PersonalData) -> str:
    """A row of tokens as text, one chunk a line: ``<image a.jpg>Rose soap<answer><item a><end>``.

    Args:
        row: of one of the tasks.
        personal: the data it was made from.
    """
    tokens, pictures = personal.table.item_tokens, personal.catalogue.pictures

    def shown(part: PromptPart) -> str:
        if part.kind == "words":
            return part.text
        if part.kind == "image":
            return f"<image {pictures[part.item_id]}>"
        if part.kind == "item":
            return f"<item {tokens[part.item_id - 1]}>"
        if part.kind == "picture":
            return f"<picture of {part.count} codes>"
        return f"<{part.text or part.kind}>" + "\n" * (part.kind == "end")

    return "".join(map(shown, prompt_parts(row, personal)))


def prompt_parts(row: Row, personal: PersonalData) -> Iterator[PromptPart]:
    """A row of tokens part by part; ``end`` closes a chunk.

    Args:
        row: of one of the tasks.
        personal: the data it was made from.
    """
    vocabulary, table = personal.vocabulary, personal.table
    kinds = {vocabulary.image_id: "image", vocabulary.answer_id: "answer", vocabulary.end_id: "end"}
    names = {}
    for prefix, token_ids, values in (
        ("rating ", vocabulary.rating_ids, [f"{value:g}" for value in personal.rating_values]),
        ("s", vocabulary.candidate_ids, range(len(vocabulary.candidate_ids))),
    ):
        names |= {token_id: f"{prefix}{value}" for token_id, value in zip(token_ids.tolist(), values, strict=True)}
    pictures = set(vocabulary.picture_ids.tolist())
    item_of = {tuple(codes): item_id for item_id, codes in enumerate(table.codes[1:].tolist(), start=1)}
    shown = iter(row.images)

    def kind(token_id: int) -> str:
        if token_id < vocabulary.base_size:
            return "words"
        if token_id in names:
            return "mark"
        return kinds.get(token_id) or ("picture" if token_id in pictures else "item")

    for what, group in groupby(row.token_ids.tolist(), key=kind):
        token_ids = list(group)
        if what == "words":
            yield PromptPart(what, personal.tokenizer.decode(token_ids), 0, len(token_ids))
        elif what == "picture":
            yield PromptPart(what, "", 0, len(token_ids))
        elif what == "item":
            digits = vocabulary.num_digits
            for codes in vocabulary.digit_codes(torch.tensor(token_ids)).codes.view(-1, digits).tolist():
                yield PromptPart(what, "", item_of[tuple(codes)], digits)
        else:
            for token_id in token_ids:
                yield PromptPart(what, names.get(token_id, ""), next(shown) if what == "image" else 0, 1)
