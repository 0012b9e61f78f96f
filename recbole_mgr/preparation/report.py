"""What became of every row, as a table at the end of a preparation and in the provenance."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from recbole_mgr.data.provenance import as_arguments
from recbole_mgr.preparation.filtering import Counts
from recbole_mgr.preparation.joins import Join

_WIDTH = 64


class Account(NamedTuple):
    """Rows of one kind: those read are those kept and those left out.

    Attributes:
        what: in words, e.g. ``interactions (orders.csv)``.
        read, kept: rows.
        left_out: rows by reason.
    """

    what: str
    read: int
    kept: int
    left_out: dict[str, int]

    def check(self) -> Account:
        """This account.

        Raises:
            RuntimeError: if rows are missing from it, which would be a fault of this program.
        """
        missing = self.read - self.kept - sum(self.left_out.values())
        if missing:
            raise RuntimeError(f"{self.what}: {missing} rows are neither kept nor left out for a reason")
        return self


class Report(NamedTuple):
    """All that is told at the end.

    Attributes:
        name: of the data set.
        accounts: of interactions, and of item rows where there are any.
        joins: how many of one thing found their partner.
        kept: users, items and interactions of the data set.
        with_picture: items that have one.
        repeats: interactions of users with items that they had before.
        copies: those of them that are equal in time and rating, too.
        times: first and last time in words.
        cores: what each k would keep.
        core: the chosen one in words.
        commands: what to type next.
    """

    name: str
    accounts: list[Account]
    joins: list[Join]
    kept: Counts
    with_picture: int
    repeats: int
    copies: int
    times: str
    cores: list[Counts]
    core: str
    commands: list[str]

    def lines(self) -> list[str]:
        """The table, at most 100 columns wide where names are not enormous."""
        lines = []
        for account in self.accounts:
            lines += ["", _row(f"{account.what}: rows read", account.read)]
            lines += [_row(f"  left out: {reason}", number) for reason, number in account.left_out.items() if number]
            lines += [_row("  kept", account.kept)]
        lines += [""] * bool(self.joins)
        for join in self.joins:
            lines.append(f"{_row(join.what, join.matched)} of {join.of:,} ({_percent(join.share)})")
        kept, share = self.kept, _percent(self.repeats / max(self.kept.interactions, 1))
        lines += [
            "",
            f"{self.name}: {kept.users:,} users, {kept.items:,} items, {kept.interactions:,} interactions",
            f"  times: {self.times}",
            f"  repeats: {self.repeats:,} interactions ({share}) take an item again, {self.copies:,} as exact copies",
            "",
            f"what a k-core would keep (chosen: {self.core})",
            "      k       users       items  interactions",
        ]
        for size in self.cores:
            k = size.step.removesuffix("-core")
            lines.append(f"  {k:>5} {size.users:>11,} {size.items:>11,} {size.interactions:>13,}")
        return [*lines, "", "next:", *(f"  {command}" for command in self.commands)]

    def details(self) -> dict:
        """What of it belongs into the provenance."""
        return {
            "rows": {
                account.what: {"read": account.read, "kept": account.kept, "left_out": dict(account.left_out)}
                for account in self.accounts
            },
            "joins": {join.what: f"{join.matched} of {join.of}" for join in self.joins},
            "k_cores": [size._asdict() for size in self.cores],
        }


def next_commands(name: str, output: Path, *, texts: bool, pictures: bool) -> list[str]:
    """What to type after a preparation, from vectors to a first comparison."""
    place = as_arguments(output / name, name)
    modalities = ["text"] * texts + ["image"] * pictures
    commands = [f"recbole-mgr encode {place} --modality {modality}" for modality in modalities]
    if not modalities:
        modalities = ["collaborative"]
        commands = [f"recbole-mgr collaborative {place}"]
    model = "MGRLFpp" if len(modalities) > 1 else f"TIGER:modalities={modalities[0]}"
    return [
        *commands,
        f"recbole-mgr check {place}",
        f"recbole-mgr run --model {model} SASRecWindows --dataset {place}",
    ]


def _row(words: str, number: int) -> str:
    return f"{words:<{_WIDTH}} {number:>13,}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
