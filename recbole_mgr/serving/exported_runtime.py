"""Lists of an exported run by torch and NumPy alone. ``recbole-mgr export`` copies this file beside what it writes.

    from runtime import ExportedRun
    lists = ExportedRun("my-export").recommend([["item1", "item2"]], k=5)   # (item id, score), best first

Shapes: B histories, L items of the longest, W beams, C children of the widest node, K codes of a digit, M items to be
scored, N items in all, X items that are left out. A leaf is the place of an item in the order of semantic IDs, 0..N-1;
N stands for none.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

FAINTEST = 25.0  # a prior's score this far below the best counts as so far below
LOWEST = -1e4  # and no log-probability is lower where several are added


class ExportedRun:
    """A run as exported programs and arrays. Threads may share it.

    Args:
        folder: that ``recbole-mgr export`` wrote.
        onnx: whether to compute by its ONNX files, with onnxruntime, and not by its torch programs.
    """

    FILES = ("weights.npz", "trie.npz")

    def __init__(self, folder, *, onnx=False):
        folder = Path(folder)
        self.about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        if self.about["format"] != 2:
            raise ValueError(
                f"{folder}: format {self.about['format']}, this file reads 2; use the runtime.py beside it"
            )
        self.item_ids = self.about["items"]  # N, in the order of their numbers from 1
        self._number = {item: number for number, item in enumerate(self.item_ids, start=1)}
        weights, self._trie = ({n: torch.from_numpy(a) for n, a in np.load(folder / f).items()} for f in self.FILES)
        self._weights = {name: {key: weights[key] for key in keys} for name, keys in self.about["programs"].items()}
        load = _onnx_program if onnx else _torch_program
        self._programs = {name: load(folder, name) for name in self.about["programs"]}

    def recommend(self, histories, *, k=10, mask_history=False, only=None, beam_size=None):
        """Lists for histories.

        Args:
            histories: item ids of each, oldest first, at least one.
            k: items of a list.
            mask_history: leave out what is in the history.
            only: recommend none but these items.
            beam_size: width of the search, at least k; default: the run's, or k.

        Returns:
            For each history up to k pairs of item id and score: log-probability, or the weighted sum of several.
        """
        numbers = [[self._number[item] for item in history] for history in histories]
        if not all(numbers):
            raise ValueError("a history is empty; leave it out")
        recent = [row[-self.about["max_history"] :] for row in numbers]
        history = _padded([torch.tensor(row) for row in recent], 0)
        lengths = torch.tensor([len(row) for row in recent])
        leaf_of, nothing = self._trie["leaf_of_item"], len(self.item_ids)
        kept = torch.ones(nothing, dtype=torch.long)
        if only is not None:
            kept = torch.zeros_like(kept).index_fill_(0, leaf_of[[self._number[item] for item in only]], 1)
        out = torch.full((len(numbers), 0), nothing)
        if mask_history:
            out = _padded([leaf_of[row].unique() for row in numbers], nothing)  # [B, X], ascending
            out = out.masked_fill(F.pad(kept, (0, 1))[out] == 0, nothing).sort(dim=1).values
        with torch.no_grad():
            width = max(beam_size or self.about["beam_size"], k)
            leaves, scores = self._ranked(history, lengths, k, width, kept, out)
        items = self._trie["item_of_leaf"][leaves]
        lists = zip(items[:, :k].tolist(), scores[:, :k].tolist(), strict=True)
        return [[(self.item_ids[i - 1], s) for i, s in zip(*one, strict=True) if s > -torch.inf] for one in lists]

    def _ranked(self, history, lengths, k, width, kept, out):
        """Leaves and scores [B, k or more], best first."""
        weights, nothing = self.about["weights"], len(self.item_ids)
        state = self._call("start", history, lengths)
        names = [name for name in weights if name != "codes"]
        found = self._call("priors", history, lengths, state) if names else []
        log_probs = dict(zip(names, found, strict=True))  # by name [B, N], by leaf
        if self.about["ranking"] == "beams":
            return self._search(state, width, kept, out, [(_masses(log_probs[name]), weights[name]) for name in names])
        is_ranked = torch.zeros(len(history), nothing + 1, dtype=torch.bool)  # a column for none
        count = min(max(k, self.about["candidates"]) + out.shape[1], nothing)
        for values in log_probs.values():
            best = values.masked_fill(kept == 0, -torch.inf).topk(count)
            is_ranked.scatter_(1, best.indices.masked_fill(best.values == -torch.inf, nothing), True)
        if "codes" in weights:
            beams, scores = self._search(state, width, kept, out, [])
            is_ranked.scatter_(1, beams.masked_fill(scores == -torch.inf, nothing), True)
        is_ranked = is_ranked.scatter(1, out, False)[:, :nothing]
        ranked, leaves = is_ranked.byte().topk(max(1, int(is_ranked.sum(1).max())))  # [B, M]
        terms = {name: values.gather(1, leaves) for name, values in log_probs.items()}
        if "codes" in weights:
            terms["codes"] = self._scores_by_codes(state, leaves)
        total = sum(weights[name] * values.clamp(min=LOWEST) for name, values in terms.items())
        scores, order = total.masked_fill(ranked == 0, -torch.inf).sort(dim=1, descending=True)
        return leaves.gather(1, order), scores

    def _search(self, state, width, kept, out, masses):
        """Beam search over the trie: leaves and log-probabilities [B, W], best first."""
        nodes, choice = torch.zeros(len(out), 1, dtype=torch.long), ()
        scores = torch.zeros(len(out), 1)
        kept_before = F.pad(kept.cumsum(0), (1, 0))  # [N + 1]
        for digit in range(self.about["digits"]):
            alive = nodes.masked_fill(scores == -torch.inf, -1)
            logits, *state = self._call(f"step_{digit}", alive, *choice, state)
            children, codes, begin, end, log_probs = self._children(digit, nodes, logits, masses)
            left_out = torch.searchsorted(out, end.flatten(1)) - torch.searchsorted(out, begin.flatten(1))
            is_free = kept_before[end] - kept_before[begin] > left_out.view_as(end)
            candidates = (scores.unsqueeze(-1) + log_probs.masked_fill(~is_free, -torch.inf)).flatten(1)  # [B, W * C]
            scores, best = candidates.topk(min(width, len(self._trie[f"code_{digit}"]), candidates.shape[1]))
            choice = codes.flatten(1).gather(1, best), best // codes.shape[2]
            nodes = children.flatten(1).gather(1, best)
        return nodes, scores

    def _scores_by_codes(self, state, leaves):
        """Log-probabilities of items at leaves [B, M]."""
        nodes, choice, total = torch.zeros_like(leaves), (), torch.zeros(leaves.shape)
        for digit in range(self.about["digits"]):
            logits, *state = self._call(f"step_{digit}", nodes if digit else nodes[:, :1], *choice, state)
            *_, log_probs = self._children(digit, nodes, logits.expand(*leaves.shape, -1), [])
            below = torch.searchsorted(self._trie[f"first_leaf_{digit}"], leaves, right=True) - 1
            slots = below - self._trie[f"first_child_{digit}"][nodes]
            total += log_probs.gather(-1, slots.unsqueeze(-1)).squeeze(-1)
            same = torch.arange(leaves.shape[1]).expand_as(leaves)
            choice = self._trie[f"code_{digit}"][below], same if digit else torch.zeros_like(leaves)
            nodes = below
        return total

    def _children(self, digit, nodes, logits, masses):
        """Of the nodes [B, W]: children, their codes, where the leaves below them begin and end, and their
        log-probabilities, -inf where there is no child; [B, W, C] each."""
        first, code_of, leaf = (self._trie[f"{name}_{digit}"] for name in ("first_child", "code", "first_leaf"))
        children = first[nodes].unsqueeze(-1) + torch.arange(int(first.diff().max()))
        is_child = children < first[nodes + 1].unsqueeze(-1)
        children = children.clamp(max=len(code_of) - 1)
        codes, begin, end = code_of[children], leaf[children], leaf[children + 1]
        if self.about["code_softmax"] == "full":
            log_probs = logits.log_softmax(-1).gather(-1, codes)
        else:
            log_probs = logits.gather(-1, codes)
            for up_to, weight in masses:
                mass = up_to.gather(1, end.flatten(1)) - up_to.gather(1, begin.flatten(1))
                log_probs = log_probs + weight * mass.clamp(min=math.exp(-FAINTEST)).log().float().view_as(log_probs)
            log_probs = log_probs.masked_fill(~is_child, -torch.inf).log_softmax(-1)
        return children, codes, begin, end, log_probs.masked_fill(~is_child, -torch.inf)

    def _call(self, name, *inputs):
        return self._programs[name](self._weights[name], *inputs)


def _masses(log_probs):
    """[B, N + 1]: the sum of exp(score) over the leaves before each, the best one's being 1."""
    scores = log_probs.double()
    return F.pad((scores - scores.amax(dim=1, keepdim=True)).clamp(min=-FAINTEST).exp().cumsum(dim=1), (1, 0))


def _padded(rows, value):
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


def _torch_program(folder, name):
    return torch.export.load(folder / f"{name}.pt2").module()


def _onnx_program(folder, name):
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])

    def call(weights, *inputs):
        tensors = [*weights.values(), *(t for value in inputs for t in (value if isinstance(value, list) else [value]))]
        names = [entry.name for entry in session.get_inputs()]
        found = session.run(None, {n: t.numpy() for n, t in zip(names, tensors, strict=True)})
        return [torch.from_numpy(array) for array in found]

    return call
