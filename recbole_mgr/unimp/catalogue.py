"""``ItemCatalogue``: all that a prompt says or shows of an item, ready to be put into rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from recbole_mgr.data.arrays import read_arrays, whole
from recbole_mgr.files import replacing
from recbole_mgr.unimp.item_words import ItemWords
from recbole_mgr.unimp.visual_features import VisualFeatures

FILE = "catalogue.npz"


class RaggedTokenIds:
    """Token ids of n texts as one flat array.

    Args:
        values: int32 [all tokens].
        starts: int64 [n+1], where each text begins.
    """

    def __init__(self, values: np.ndarray, starts: np.ndarray) -> None:
        self.values, self.starts = values, starts

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> RaggedTokenIds:
        starts = np.cumsum([0, *map(len, texts)])
        return cls(np.fromiter((token_id for text in texts for token_id in text), np.int32, starts[-1]), starts)

    @classmethod
    def load(cls, arrays: Mapping[str, np.ndarray], name: str, *, count: int, num_tokens: int) -> RaggedTokenIds:
        """Those of ``count`` texts, in ``arrays`` under a name and ``<name>_starts``; raises ValueError where they are
        not, or an id is not below ``num_tokens``."""
        starts = whole(arrays, f"{name}_starts", count + 1, least=0, below=2**62)
        if starts[0] != 0 or (np.diff(starts) < 0).any():
            raise ValueError(f"{name}_starts do not ascend from 0")
        return cls(whole(arrays, name, int(starts[-1]), least=0, below=num_tokens), starts)

    def __getitem__(self, index: int) -> np.ndarray:
        """int64 [tokens of this text]."""
        return self.values[self.starts[index] : self.starts[index + 1]].astype(np.int64)

    def take(self, indices: np.ndarray) -> RaggedTokenIds:
        """Some of the texts, those at int64 [m], each >= 0."""
        lengths = np.diff(self.starts)[indices]  # [m]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.arange(starts[-1]) + np.repeat(self.starts[indices] - starts[:-1], lengths)
        return RaggedTokenIds(self.values[places], starts)


class ItemCatalogue:
    """Texts, queries, pictures and categories of N items, by internal item id; 0 is PAD and has nothing.

    Args:
        text: N+1 texts of token ids, attributes one after another; query: N+1 search queries.
        visual: vectors of the pictures.
        category: int64 [N+1], index into ``category_names``, 0 = none.
        category_names: names in sorted order, after "" for none.
        titles, pictures, queries: N+1 strings; ``pictures`` are file names under ``images/``, "" = none.

    Attributes:
        has_image: bool [N+1], whether there are vectors of a picture.
    """

    def __init__(
        self,
        *,
        text: RaggedTokenIds,
        query: RaggedTokenIds,
        visual: VisualFeatures,
        category: np.ndarray,
        category_names: list[str],
        titles: list[str],
        pictures: list[str],
        queries: list[str],
    ) -> None:
        self._text, self._query, self._visual = text, query, visual
        self.category, self.category_names = category, category_names
        self.titles, self.pictures, self.queries = titles, pictures, queries
        self.has_image = visual.rows >= 0

    @classmethod
    def of(
        cls,
        words: ItemWords,
        tokenizer: PreTrainedTokenizerBase,
        visual: VisualFeatures,
        *,
        text_fields: Mapping[str, int],
    ) -> ItemCatalogue:
        """Tokenise what is known of the items.

        Args:
            words: of N items.
            tokenizer: of the language model.
            visual: of the same items.
            text_fields: attribute -> most tokens of it, in the order in which they are put together.
        """
        texts: list[list[int]] = [[] for _ in range(len(words.titles) + 1)]
        for field, most in text_fields.items():
            for text, token_ids in zip(texts[1:], tokenize(tokenizer, words.fields[field]), strict=True):
                text += token_ids[:most]
        names = sorted({"", *words.categories})
        return cls(
            text=RaggedTokenIds.of(texts),
            query=RaggedTokenIds.of([[], *tokenize(tokenizer, words.queries)]),
            visual=visual,
            category=np.searchsorted(names, ["", *words.categories]),
            category_names=names,
            titles=["", *words.titles],
            pictures=["", *words.pictures],
            queries=["", *words.queries],
        )

    def with_noise(self, wrong_pictures: float, wrong_words: float) -> ItemCatalogue:
        """The catalogue with mistakes: some items show another's picture and some have another's attributes, drawn the
        same for every run. Queries, categories and names stay as they are.

        Args:
            wrong_pictures, wrong_words: share of the items, in [0, 1].
        """
        if not (wrong_pictures or wrong_words):
            return self
        noisy = copy.copy(self)
        pictured = np.flatnonzero(self.has_image)
        rows = self._visual.rows.copy()
        rows[pictured] = rows[_exchanged(pictured, wrong_pictures)]
        noisy._visual = self._visual._replace(rows=rows)
        items = np.arange(1, self.num_items + 1)
        noisy._text = self._text.take(np.concatenate([[0], _exchanged(items, wrong_words)]))
        return noisy

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.titles) - 1

    @property
    def visual_shape(self) -> tuple[int, int]:
        """P patches and their dim."""
        return self._visual.vectors.shape[1:]

    def text_token_ids(self, item_id: int) -> np.ndarray:
        """int64 [n], the attributes of an item."""
        return self._text[item_id]

    def query_token_ids(self, item_id: int) -> np.ndarray:
        """int64 [n], the words to search an item with."""
        return self._query[item_id]

    def features(self, item_ids: Tensor) -> Tensor:
        """Vectors of pictures.

        Args:
            item_ids: int64 [...].

        Returns:
            float32 [..., P, dim] on the device of ``item_ids``; zeros for items without a picture.
        """
        rows = self._visual.rows[item_ids.cpu().numpy()]  # [...]
        vectors = np.zeros((*rows.shape, *self.visual_shape), dtype=np.float32)
        vectors[rows >= 0] = self._visual.vectors[rows[rows >= 0]]
        return torch.from_numpy(vectors).to(item_ids.device)

    def save(self, folder: Path) -> None:
        """Write ``catalogue.npz``: plain arrays, no pickle."""
        with replacing(folder / FILE) as unfinished:
            np.savez(
                unfinished,
                text=self._text.values,
                text_starts=self._text.starts,
                query=self._query.values,
                query_starts=self._query.starts,
                visual=self._visual.vectors,
                visual_rows=self._visual.rows,
                category=self.category,
                category_names=_bytes_of(self.category_names),
                titles=_bytes_of(self.titles),
                pictures=_bytes_of(self.pictures),
                queries=_bytes_of(self.queries),
            )

    @classmethod
    def load(cls, folder: Path, *, num_items: int, num_tokens: int) -> ItemCatalogue:
        """Read what `save` wrote of N items, token ids below ``num_tokens``.

        Raises:
            ValueError: Naming the file: it is missing, damaged, or of other items.
        """
        path = Path(folder) / FILE
        arrays = read_arrays(path, remedy="copy the run directory whole")
        count = num_items + 1
        try:
            lines = {name: _strings_of(arrays[name]) for name in ("titles", "pictures", "queries")}
            if any(len(each) != count for each in lines.values()):
                raise ValueError(f"not of {num_items} items")
            category_names = _strings_of(arrays["category_names"])
            vectors = arrays["visual"]
            if vectors.dtype.kind != "f" or vectors.ndim != 3:
                raise ValueError(f"pictures have vectors {vectors.dtype} {list(vectors.shape)}")
            return cls(
                text=RaggedTokenIds.load(arrays, "text", count=count, num_tokens=num_tokens),
                query=RaggedTokenIds.load(arrays, "query", count=count, num_tokens=num_tokens),
                visual=VisualFeatures(vectors, whole(arrays, "visual_rows", count, least=-1, below=len(vectors))),
                category=whole(arrays, "category", count, least=0, below=len(category_names)),
                category_names=category_names,
                **lines,
            )
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path}: not a readable catalogue ({error}); copy the run directory whole") from error


def _exchanged(items: np.ndarray, share: float) -> np.ndarray:
    """The items, a share of them each in the place of another one."""
    moved = np.random.default_rng(0).permutation(len(items))[: round(share * len(items))]
    result = items.copy()
    result[moved] = items[np.roll(moved, 1)]
    return result


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, each as it reads inside a line, that is, after a blank."""
    return tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]


def _bytes_of(lines: Sequence[str]) -> np.ndarray:
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def _strings_of(values: np.ndarray) -> list[str]:
    return values.tobytes().decode().split("\n")
