"""Rows counted on their way: after each step, by file and reason, and where they should meet."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from recbole_mgr.preparation import filtering
from recbole_mgr.preparation.broken_rows import BrokenRows
from recbole_mgr.preparation.filtering import Counts
from recbole_mgr.preparation.interactions import Interactions
from recbole_mgr.preparation.items import ItemRows
from recbole_mgr.preparation.joins import Join, judge
from recbole_mgr.preparation.pictures import PictureFolder
from recbole_mgr.preparation.report import Account


class Steps:
    """Counts after each step, told as they are made; a step that leaves nothing is an error.

    Attributes:
        counts: after each step.
        left_out: interactions that each step after the first left out.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.counts: list[Counts] = []
        self.left_out: dict[str, int] = {}
        self.say = say

    def warn(self, *messages: str) -> None:
        """Tell what a user should look at."""
        for message in messages:
            self.say(f"warning: {message}")

    def add(self, step: str, interactions: Interactions) -> None:
        """Count what a step left."""
        counts = filtering.count(step, interactions)
        if self.counts:
            gone = self.counts[-1].interactions - counts.interactions
            self.left_out[step] = self.left_out.get(step, 0) + gone  # the core is taken twice where pictures fail
        self.counts.append(counts)
        self.say(f"{step}: {counts.users:,} users, {counts.items:,} items, {counts.interactions:,} interactions")
        if not counts.interactions:
            raise ValueError(
                f"nothing is left after the step '{step}'; the counts before it say what there was: loosen --k-core, "
                "--min-rating or --require-images"
            )


def account(what: str, broken: BrokenRows, kept: int, left_out: dict[str, int]) -> Account:
    """The account of all files of one kind.

    Args:
        what: the kind.
        broken: counted their rows.
        kept: rows that were written.
        left_out: rows that were whole and left out, by reason.
    """
    reasons: dict[str, int] = {}
    for path in broken.rows:
        for reason, number in broken.reasons(path).items():
            reasons[reason] = reasons.get(reason, 0) + number
    names = [path.name for path in broken.rows]
    files = names[0] if len(names) == 1 else f"{len(names)} files"
    return Account(f"{what} ({files})", sum(broken.rows.values()), kept, reasons | left_out).check()


def judge_items(items: ItemRows, item_ids: pl.Series, local: PictureFolder | None, broken: BrokenRows) -> list[str]:
    """Warnings on items of the interactions that few rows describe, and on pictures that few items have.

    Args:
        items: what was read of the items.
        item_ids: ids [N] of all items of the interactions.
        local: the folder of pictures, if there is one.
        broken: counted the rows of items; without any, there is nothing to match.

    Raises:
        ValueError: if no item has a row or a picture, with an id of each side.
    """
    messages = []
    if broken.rows:
        files = ", ".join(path.name for path in list(broken.rows)[:2])
        join = Join(f"items of the interactions with a row in {files}", int(items.described.sum()), len(item_ids))
        without = item_ids.filter(pl.Series(~items.described))
        messages.append(judge(join, without, items.other_ids, "Write the ids of both files in one way"))
    if local:
        join = Join(f"items with a picture in {local.folder}", int(items.with_file.sum()), len(item_ids))
        without = item_ids.filter(pl.Series(~items.with_file))
        remedy = "Name the pictures by item id, or their files in the items' column image, or go without (--no-images)"
        messages.append(judge(join, without, local.unused(), remedy))
    return [message for message in messages if message]
