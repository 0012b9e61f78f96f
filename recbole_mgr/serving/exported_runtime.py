"""Lists of an exported run by torch and NumPy alone. ``recbole-mgr export`` copies this file beside what it writes.

    from runtime import ExportedRun
    lists = ExportedRun("my-export").recommend([["item1", "item2"]], k=5)   # (item id, log-probability), best first

Shapes: B histories, L items of the longest, W beams, C children of the widest node, K codes of a digit, X items that
are left out.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F


class ExportedRun:
    """A run as exported programs and arrays. Threads may share it.

    Args:
        folder: that ``recbole-mgr export`` wrote.
    """

    def __init__(self, folder):
        folder = Path(folder)
        self.about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        if self.about["format"] != 1:
            raise ValueError(
                f"{folder}: format {self.about['format']}, this file reads 1; use the runtime.py beside it"
            )
        self.item_ids = self.about["items"]  # N, in the order of their numbers from 1
        self._number = {item: number for number, item in enumerate(self.item_ids, start=1)}
        weights, self._trie = ({n: torch.from_numpy(a) for n, a in np.load(folder / f).items()} for f in self.FILES)
        self._weights = {name: {key: weights[key] for key in keys} for name, keys in self.about["programs"].items()}
        load = torch.export.load
        self._programs = {name: load(folder / f"{name}.pt2").module() for name in self.about["programs"]}

    FILES = ("weights.npz", "trie.npz")

    def recommend(self, histories, *, k=10, mask_history=False, only=None, beam_size=None):
        """Lists for histories.

        Args:
            histories: item ids of each, oldest first, at least one.
            k: items of a list.
            mask_history: leave out what is in the history.
            only: recommend none but these items.
            beam_size: width of the search, at least k; default: the run's, or k.

        Returns:
            For each history up to k pairs of item id and log-probability.
        """
        numbers = [[self._number[item] for item in history] for history in histories]
        if not all(numbers):
            raise ValueError("a history is empty; leave it out")
        recent = [row[-self.about["max_history"] :] for row in numbers]
        history, lengths = _padded(recent), torch.tensor([len(row) for row in recent])
        leaf_of, leaves = self._trie["leaf_of_item"], len(self.item_ids)
        kept = torch.ones(leaves, dtype=torch.long)
        if only is not None:
            kept = torch.zeros_like(kept).index_fill_(0, leaf_of[[self._number[item] for item in only]], 1)
        out = torch.full((len(numbers), 0), leaves)
        if mask_history:
            out = torch.nn.utils.rnn.pad_sequence(
                [leaf_of[row].unique() for row in numbers], batch_first=True, padding_value=leaves
            )  # [B, X], ascending
            out = out.masked_fill(F.pad(kept, (0, 1))[out] == 0, leaves).sort(dim=1).values
        with torch.no_grad():
            found, scores = self._search(history, lengths, max(beam_size or self.about["beam_size"], k), kept, out)
        lists = zip(found[:, :k].tolist(), scores[:, :k].tolist(), strict=True)
        return [[(self.item_ids[i - 1], s) for i, s in zip(*one, strict=True) if s > -torch.inf] for one in lists]

    def _search(self, history, lengths, beams, kept, out):
        """Beam search over the trie: item numbers and log-probabilities [B, W], best first."""
        state, choice = self._call("start", history, lengths), ()
        nodes, scores = torch.zeros(len(history), 1, dtype=torch.long), torch.zeros(len(history), 1)
        kept_before = F.pad(kept.cumsum(0), (1, 0))  # [N + 1]
        for digit in range(self.about["digits"]):
            first, code_of, leaf = (self._trie[f"{name}_{digit}"] for name in ("first_child", "code", "first_leaf"))
            logits, *state = self._call(f"step_{digit}", nodes.masked_fill(scores == -torch.inf, -1), *choice, state)
            slots = torch.arange(int(first.diff().max()))  # [C]
            children = first[nodes].unsqueeze(-1) + slots  # [B, W, C]
            is_child = children < first[nodes + 1].unsqueeze(-1)
            children = children.clamp(max=len(code_of) - 1)
            begin, end = leaf[children], leaf[children + 1]  # the leaves below each child
            left_out = torch.searchsorted(out, end.flatten(1)) - torch.searchsorted(out, begin.flatten(1))
            is_free = kept_before[end] - kept_before[begin] > left_out.view_as(end)
            codes = code_of[children]
            if self.about["code_softmax"] == "legal":
                log_probs = logits.gather(-1, codes).masked_fill(~is_child, -torch.inf).log_softmax(-1)
            else:
                log_probs = logits.log_softmax(-1).gather(-1, codes)
            log_probs = log_probs.masked_fill(~(is_child & is_free), -torch.inf)
            candidates = (scores.unsqueeze(-1) + log_probs).flatten(1)  # [B, W * C]
            scores, best = candidates.topk(min(beams, len(code_of), candidates.shape[1]))
            choice = codes.flatten(1).gather(1, best), best // len(slots)
            nodes = children.flatten(1).gather(1, best)
        return self._trie["item_of_leaf"][nodes], scores

    def _call(self, name, *inputs):
        return self._programs[name](self._weights[name], *inputs)


def _padded(rows):
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
