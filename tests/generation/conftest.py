"""Catalogues and models small enough to be searched by plain Python, without tensors."""

import math

import numpy as np
import pytest
import torch

from recbole_mgr.generation import PrefixTrie, trie_levels

torch.set_num_threads(1)

HAND_CODES = [(0, 0, 1), (0, 0, 2), (0, 1, 0), (1, 1, 1), (2, 0, 0), (2, 0, 1)]
HAND_SIZES = (4, 2, 3)
HAND_ITEM_IDS = [30, 10, 20, 60, 50, 41]


class World:
    """A catalogue as a dict from code tuples to item ids, and a random model that looks at whole prefixes."""

    def __init__(self, item_of_codes, sizes, seed):
        self.item_of_codes, self.sizes, self.seed = item_of_codes, tuple(sizes), seed

    @classmethod
    def random(cls, seed, sizes=(5, 4, 3, 3), num_items=40):
        rng = np.random.default_rng(seed)
        flat = rng.choice(math.prod(sizes), size=num_items, replace=False)
        rows = list(zip(*(column.tolist() for column in np.unravel_index(flat, sizes)), strict=True))
        item_ids = (1 + rng.choice(2 * num_items, size=num_items, replace=False)).tolist()
        return cls(dict(zip(rows, item_ids, strict=True)), sizes, seed)

    @property
    def item_ids(self):
        return list(self.item_of_codes.values())

    def trie(self):
        codes = torch.tensor(list(self.item_of_codes))
        return PrefixTrie(codes, self.sizes, torch.tensor(self.item_ids))

    # --- the model, for plain Python and as a step

    def logits(self, user, prefix):
        rng = np.random.default_rng((self.seed, user, len(prefix), *prefix))
        return rng.normal(scale=2.0, size=self.sizes[len(prefix)]).astype(np.float32).tolist()

    def step(self, batch_size):
        """The same model with the chosen codes as its state, so that lost or swapped parents show, and so do nodes
        that are not those of the prefixes: a depth's nodes are numbered in the order of their codes."""

        def step(depth, nodes, codes, parents, state):
            if depth == 0:
                prefixes = torch.zeros((batch_size, 1, 0), dtype=torch.long)
            else:
                kept = state.gather(1, parents.unsqueeze(-1).expand(-1, -1, state.shape[-1]))
                prefixes = torch.cat([kept, codes.unsqueeze(-1)], dim=-1)  # [B, W, depth]
            numbers = {
                prefix: number for number, prefix in enumerate(sorted({row[:depth] for row in self.item_of_codes}))
            }
            for node, prefix in zip(nodes.flatten().tolist(), prefixes.flatten(0, 1).tolist(), strict=True):
                assert node in (-1, numbers.get(tuple(prefix), -1))
            rows = [[self.logits(user, p) for p in beams] for user, beams in enumerate(prefixes.tolist())]
            return torch.tensor(rows), prefixes

        return step

    # --- plain answers

    def legal_codes(self, prefix):
        return sorted({row[len(prefix)] for row in self.item_of_codes if row[: len(prefix)] == prefix})

    def code_log_prob(self, user, prefix, code, code_softmax):
        logits = self.logits(user, prefix)
        codes = self.legal_codes(prefix) if code_softmax == "legal" else range(len(logits))
        return logits[code] - math.log(sum(math.exp(logits[c]) for c in codes))

    def item_scores(self, user, code_softmax):
        return {
            item: sum(self.code_log_prob(user, row[:d], code, code_softmax) for d, code in enumerate(row))
            for row, item in self.item_of_codes.items()
        }

    def ranked(self, user, code_softmax, allowed=None):
        """(item, score) by descending score, of the ``allowed`` items only."""
        scores = self.item_scores(user, code_softmax).items()
        return sorted(((i, s) for i, s in scores if allowed is None or i in allowed), key=lambda pair: -pair[1])

    def plain_beam(self, user, code_softmax, beam_width, allowed):
        """Beam search with lists: extend every beam, drop prefixes without an allowed item, keep the best."""
        alive = {row[:d] for row, item in self.item_of_codes.items() if item in allowed for d in range(len(row) + 1)}
        beams = [((), 0.0)]
        for _ in self.sizes:
            extended = [
                ((*prefix, code), score + self.code_log_prob(user, prefix, code, code_softmax))
                for prefix, score in beams
                for code in self.legal_codes(prefix)
                if (*prefix, code) in alive
            ]
            beams = sorted(extended, key=lambda pair: -pair[1])[:beam_width]
        return [(self.item_of_codes[row], score) for row, score in beams]


@pytest.fixture(params=["tables where they pay", "ragged rows throughout"], autouse=True)
def level_form(request, monkeypatch):
    """Every test meets both forms of a level."""
    if request.param == "ragged rows throughout":
        monkeypatch.setattr(trie_levels, "DENSE_ENTRIES_PER_ITEM", 0)


@pytest.fixture
def hand_trie():
    """Six leaves: a root with three of four codes, one forced digit, one node of three."""
    return PrefixTrie(torch.tensor(HAND_CODES), HAND_SIZES, torch.tensor(HAND_ITEM_IDS))


@pytest.fixture(params=range(4))
def world(request):
    return World.random(request.param)


@pytest.fixture
def make_world():
    return World.random
