"""The semantic IDs of all items: which codes, what each digit means, and that no two items share an ID."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.data.semantic_id_file import (
    UNNAMED,
    TableFile,
    coded_modalities,
    description_path,
    read_table_file,
    rows_of_items,
    write_table_file,
)
from recbole_mgr.semantic_id.collisions import collision_ranks, group_ids, token_order

logger = logging.getLogger(__name__)


class Digit(NamedTuple):
    """One position of a semantic ID."""

    modality: str  # for a transition the one it leads to; "" for dedup
    level: int  # 0..levels-1 within its modality; 0 for transition and dedup
    size: int  # legal codes are 0..size-1
    kind: Literal["code", "transition", "dedup"]

    @property
    def name(self) -> str:
        """As people read it, such as "text 1"."""
        names = {"dedup": "collision digit", "transition": f"to {self.modality}"}
        return names.get(self.kind) or f"{self.modality} {self.level + 1}"


@dataclass(frozen=True, eq=False, kw_only=True)
class SemanticIdTable:
    """D codes for each of N items; no two items have the same.

    Args:
        codes: int64 [N+1, D]; row 0 (PAD) holds -1, row i+1 the codes of ``item_tokens[i]``.
        digits: what each of the D columns means.
        item_tokens: N tokens, all different.
        are_distinct: whether tokens and IDs are known to be all different, and need not be looked through again.

    Raises:
        ValueError: If shapes disagree, a code lies outside its digit, or tokens or IDs repeat.
    """

    codes: Tensor
    digits: tuple[Digit, ...]
    item_tokens: list[str]
    are_distinct: InitVar[bool] = False

    def __post_init__(self, are_distinct: bool) -> None:
        expected = (len(self.item_tokens) + 1, len(self.digits))
        if not self.item_tokens or tuple(self.codes.shape) != expected:
            raise ValueError(f"codes have shape {tuple(self.codes.shape)}; items and digits ask for {expected}")
        if not are_distinct:
            _require_distinct(self.item_tokens)
        if (self.codes[0] != -1).any():
            raise ValueError("codes: row 0 belongs to PAD and must hold -1")
        illegal = (self.codes[1:] < 0) | (self.codes[1:] >= torch.tensor(self.sizes))  # [N, D]
        if illegal.any():
            item, digit = illegal.nonzero()[0].tolist()
            raise ValueError(
                f"item {self.item_tokens[item]!r}, digit {digit}: code {self.codes[item + 1, digit]} "
                f"is not in 0..{self.sizes[digit] - 1}; correct the code or the digit's size"
            )
        if are_distinct:
            return
        groups = group_ids(self.codes[1:].numpy())
        shared = np.flatnonzero(np.bincount(groups) > 1)
        if len(shared):
            items = [self.item_tokens[item] for item in np.flatnonzero(groups == shared[0])[:5]]
            raise ValueError(f"{len(shared)} semantic IDs belong to several items, one of them to {items}")

    @classmethod
    def from_blocks(
        cls,
        blocks: Mapping[str, np.ndarray],
        item_tokens: Sequence[str],
        *,
        sizes: Mapping[str, Sequence[int]] | None = None,
        transitions: bool = False,
        dedup: np.ndarray | None = None,
        are_distinct: bool = False,
    ) -> SemanticIdTable:
        """Put the modalities' codes side by side and tell colliding items apart.

        Args:
            blocks: modality -> int [N, levels], in the order wanted.
            item_tokens: N tokens, the items of the rows.
            sizes: modality -> size of each level; by default the largest code + 1.
            transitions: put a digit of one code (kind "transition") before each modality but the first.
            dedup: int [N], the last digit as an earlier table had it. By default it is the rank, in the order
                of tokens, among the items that share all codes; no such digit where none do.
            are_distinct: whether tokens and rows, ``dedup`` included, are known to be all different.

        Returns:
            The table; the dedup digit is as wide as the largest group of colliding items.
        """
        item_tokens = list(item_tokens)
        _require_blocks(blocks, item_tokens, sizes)
        digits: list[Digit] = []
        for modality, block in blocks.items():
            if transitions and digits:
                digits.append(Digit(modality, 0, 1, "transition"))
            level_sizes = sizes[modality] if sizes else (block.max(0) + 1).tolist()
            digits += [Digit(modality, level, int(size), "code") for level, size in enumerate(level_sizes)]
        if dedup is None and not are_distinct:
            _require_distinct(item_tokens)
            ranks = collision_ranks(np.concatenate(list(blocks.values()), axis=1), item_tokens)
            dedup = ranks if ranks.any() else None
        if dedup is not None:
            digits.append(Digit("", 0, int(dedup.max()) + 1, "dedup"))
        return cls(
            codes=_codes_tensor(digits, blocks, dedup, num_items=len(item_tokens)),
            digits=tuple(digits),
            item_tokens=item_tokens,
            are_distinct=are_distinct,
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        item_tokens: Sequence[str],
        modalities: Sequence[str] | None = None,
        transitions: bool = False,
        item2id: Path | None = None,
    ) -> SemanticIdTable:
        """Read a file that `save` wrote, or one supplied by the user (see `semantic_id_file`).

        Args:
            path: the file; the description beside it is used and checked where there is one.
            item_tokens: the items wanted, in the order wanted; further rows are only counted in the log.
            modalities: columns to take, in this order; by default all, in the file's order. A dedup column
                is taken over only with all of them in the file's order; otherwise items are ranked anew.
            transitions: see `from_blocks`; independent of what the file was saved with.
            item2id: map of item ids to the keys of a JSON file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is malformed, lacks an item or modality, or differs from its description.
        """
        path = Path(path)
        content = read_table_file(path, item2id=item2id)
        if list(content.blocks) == [UNNAMED] and modalities is not None:
            (modality,) = coded_modalities(path, modalities)
            content = content._replace(blocks={modality: content.blocks[UNNAMED]})
        sizes = described_sizes(path, content)
        names = list(content.blocks) if modalities is None else list(modalities)
        unknown = [name for name in names if name not in content.blocks]
        if unknown or not names:
            raise ValueError(f"{path}: no codes for the modalities {unknown}; it has {list(content.blocks)}")
        in_place = content.item_tokens == list(item_tokens)
        rows = slice(None) if in_place else rows_of_items(path, content, item_tokens, item2id=item2id)
        ignored = len(content.item_tokens) - len(item_tokens)
        if ignored > 0:
            logger.info("%s: ignored %d rows of items that the data set does not have", path, ignored)
        keep_dedup = content.dedup is not None and names == list(content.blocks)
        table = cls.from_blocks(
            {name: content.blocks[name][rows] for name in names},
            item_tokens,
            sizes={name: sizes[name] for name in names},
            transitions=transitions,
            dedup=content.dedup[rows] if keep_dedup else None,
            are_distinct=in_place and content.fingerprint is not None and (keep_dedup or content.dedup is None),
        )
        if content.description and ignored == 0 and table.digits == _described_digits(path, content):
            vars(table)["fingerprint"] = content.description["fingerprint"]  # of the same content
        return table

    def save(
        self,
        path: str | Path,
        *,
        settings: Mapping[str, Any] | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the table as .tsv and its description as .yaml beside it; transitions are not written.

        Args:
            path: ends in .tsv.
            settings: plain values (numbers, strings, lists, dicts) to note in the description.
            report: plain values likewise.
        """
        matrix = self.codes[1:].numpy()
        has_dedup = self.digits[-1].kind == "dedup"
        description = {
            "fingerprint": self.fingerprint,
            "num_items": self.num_items,
            "digits": [digit._asdict() for digit in self.digits],
            "settings": dict(settings or {}),
            "report": dict(report or {}),
        }
        content = TableFile(
            item_tokens=self.item_tokens,
            blocks={modality: matrix[:, self.block(modality)] for modality in self.modalities},
            dedup=matrix[:, -1] if has_dedup else None,
            description=description,
        )
        write_table_file(Path(path), content)

    @property
    def num_items(self) -> int:
        return len(self.item_tokens)

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each digit."""
        return [digit.size for digit in self.digits]

    @property
    def modalities(self) -> list[str]:
        """Modalities in the order of their digits."""
        return list(dict.fromkeys(digit.modality for digit in self.digits if digit.kind == "code"))

    def block(self, modality: str) -> slice:
        """The columns of one modality's code digits."""
        columns = [
            column for column, digit in enumerate(self.digits) if (digit.kind, digit.modality) == ("code", modality)
        ]
        if not columns:
            raise ValueError(f"modality {modality!r} has no digits; there are {self.modalities}")
        return slice(columns[0], columns[-1] + 1)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over tokens, digits and codes; the order of the rows does not matter."""
        return _fingerprint(self.item_tokens, self.digits, self.codes, self.token_order)

    @cached_property
    def token_order(self) -> np.ndarray:
        """Places of the items in the order of their tokens, int64 [N]."""
        return token_order(self.item_tokens)


def _fingerprint(item_tokens: Sequence[str], digits: Sequence[Digit], codes: Tensor, order: np.ndarray) -> str:
    digest = hashlib.sha256(json.dumps(list(digits)).encode())
    digest.update("\n".join(map(item_tokens.__getitem__, order.tolist())).encode())
    digest.update(codes[1:].numpy()[order].astype("<i8").tobytes())
    return digest.hexdigest()


def _codes_tensor(
    digits: Sequence[Digit], blocks: Mapping[str, np.ndarray], dedup: np.ndarray | None, *, num_items: int
) -> Tensor:
    """Codes [N+1, D] of the digits, PAD first."""
    codes = torch.full((num_items + 1, len(digits)), -1, dtype=torch.int64)
    for column, digit in enumerate(digits):
        if digit.kind == "transition":
            codes[1:, column] = 0
        else:
            values = dedup if digit.kind == "dedup" else blocks[digit.modality][:, digit.level]
            codes[1:, column] = torch.from_numpy(np.array(values, dtype=np.int64))
    return codes


def described_sizes(path: Path, content: TableFile) -> dict[str, list[int]]:
    """Codes of each level by modality: from the description of a file, where it has one, else those that occur.

    Raises:
        ValueError: If the content is another one than is described.
    """
    if content.description is None:
        return {modality: (block.max(0) + 1).tolist() for modality, block in content.blocks.items()}
    digits = _described_digits(path, content)
    described = {
        modality: [digit for digit in digits if (digit.kind, digit.modality) == ("code", modality)]
        for modality in dict.fromkeys(digit.modality for digit in digits if digit.kind != "dedup")
    }
    levels = {modality: [digit.level for digit in group] for modality, group in described.items()}
    same_columns = levels == {name: list(range(block.shape[1])) for name, block in content.blocks.items()}
    same_columns &= (content.dedup is not None) == any(digit.kind == "dedup" for digit in digits)
    if same_columns:
        fingerprint = content.fingerprint
        if fingerprint is None:
            codes = _codes_tensor(digits, content.blocks, content.dedup, num_items=len(content.item_tokens))
            fingerprint = _fingerprint(content.item_tokens, digits, codes, token_order(content.item_tokens))
        same_columns = fingerprint == content.description["fingerprint"]
    if not same_columns:
        raise ValueError(
            f"{path}: the content is not the one that {description_path(path).name} describes (fingerprint); "
            "restore the file or, if it was changed on purpose, remove the .yaml"
        )
    return {modality: [digit.size for digit in group] for modality, group in described.items()}


def _described_digits(path: Path, content: TableFile) -> tuple[Digit, ...]:
    try:
        return tuple(Digit(**digit) for digit in content.description["digits"])
    except TypeError as error:
        raise ValueError(f"{description_path(path)}: malformed digits ({error}); restore or remove it") from error


def _require_blocks(
    blocks: Mapping[str, np.ndarray], item_tokens: Sequence[str], sizes: Mapping[str, Sequence[int]] | None
) -> None:
    if not blocks:
        raise ValueError("blocks: no modality given; name at least one")
    for modality, block in blocks.items():
        if not re.fullmatch(r"[\w.-]+", modality):
            raise ValueError(f"modality {modality!r}: use letters, digits, '_', '-' and '.' only")
        if block.ndim != 2 or len(block) != len(item_tokens) or block.size == 0:
            raise ValueError(
                f"modality {modality!r}: codes have shape {block.shape}, expected [{len(item_tokens)}, levels >= 1]"
            )
        if sizes is not None and len(sizes.get(modality, ())) != block.shape[1]:
            raise ValueError(f"sizes: modality {modality!r} needs {block.shape[1]} sizes, got {sizes.get(modality)}")


def _require_distinct(item_tokens: Sequence[str]) -> None:
    if len(set(item_tokens)) < len(item_tokens):
        repeated = [token for token, count in Counter(item_tokens).items() if count > 1]
        raise ValueError(f"item_tokens: {len(repeated)} tokens occur more than once, e.g. {repeated[:5]}")
