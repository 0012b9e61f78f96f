"""UniMP's prompts as people read them: words as they are, everything else in angle brackets."""

from __future__ import annotations

from itertools import groupby

import torch

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.rows import Row


def prompt_text(row: Row, personal: PersonalData) -> str:
    """A row of tokens as text, one chunk a line: ``<image a.jpg>Rose soap<answer><item a><end>``.

    Args:
        row: of one of the tasks.
        personal: the data it was made from.
    """
    vocabulary, table = personal.vocabulary, personal.table
    names = {vocabulary.image_id: "image", vocabulary.answer_id: "answer", vocabulary.end_id: "end"}
    for prefix, token_ids, values in (
        ("rating ", vocabulary.rating_ids, [f"{value:g}" for value in personal.rating_values]),
        ("s", vocabulary.candidate_ids, range(len(vocabulary.candidate_ids))),
    ):
        names |= {token_id: f"{prefix}{value}" for token_id, value in zip(token_ids.tolist(), values, strict=True)}
    pictures = set(vocabulary.picture_ids.tolist())
    item_of = dict(zip(map(tuple, table.codes[1:].tolist()), table.item_tokens, strict=True))
    files = iter(personal.catalogue.pictures[item_id] for item_id in row.images)

    def kind(token_id: int) -> str:
        if token_id < vocabulary.base_size:
            return "words"
        return names.get(token_id) or ("picture" if token_id in pictures else "item")

    text = ""
    for what, group in groupby(row.token_ids.tolist(), key=kind):
        token_ids = list(group)
        if what == "words":
            text += personal.tokenizer.decode(token_ids)
        elif what == "item":
            codes = vocabulary.digit_codes(torch.tensor(token_ids)).codes
            text += "".join(f"<item {item_of[tuple(item)]}>" for item in codes.view(-1, vocabulary.num_digits).tolist())
        elif what == "picture":
            text += f"<picture of {len(token_ids)} codes>"
        elif what == "image":
            text += "".join(f"<image {next(files)}>" for _ in token_ids)
        else:
            text += f"<{what}>" * len(token_ids)
        text += "\n" * (what == "end")
    return text
