"""The decoder of semantic IDs: logits of each digit from the codes chosen before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.model.backbone.branches import BranchScores
from recbole_mgr.model.backbone.layers import ResidualMLP
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary


class CodeDecoder(nn.Module):
    """Logits of each digit from the state of its prefix; a transition is a learned step of the state."""

    open_places: Tensor
    offsets: Tensor

    def __init__(
        self,
        *,
        table: SemanticIdTable,
        hidden_size: int,
        inner_size: int,
        dropout: float,
        branches: BranchScores | None = None,
    ) -> None:
        super().__init__()
        self.branches = branches
        self.open_digits = [d for d, digit in enumerate(table.digits) if digit.kind != "transition"]
        sizes = [digit.size for digit in table.digits]
        vocabulary = CodeVocabulary(sizes)
        self._offsets = [vocabulary.token_id_range(d).start for d in range(len(sizes))]
        # on the network's device, so that no step copies them there
        self.register_buffer("open_places", torch.tensor(self.open_digits), persistent=False)
        self.register_buffer("offsets", torch.tensor(self._offsets), persistent=False)
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.digit_marks = nn.Parameter(torch.randn(len(sizes), hidden_size) * 0.02)
        self.block = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.norm = nn.LayerNorm(hidden_size)
        self.heads = nn.ModuleDict({str(d): nn.Linear(hidden_size, sizes[d]) for d in self.open_digits})
        self.steps = nn.ModuleDict(
            {
                str(d): ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
                for d in range(len(sizes))
                if d not in self.open_digits
            }
        )

    def enter(self, depth: int, state: Tensor) -> Tensor:
        """The state [..., H] on arriving at digit ``depth``: unchanged, or moved on by a transition."""
        return self.steps[str(depth)](state) if str(depth) in self.steps else state

    def logits(self, depth: int, state: Tensor, nodes: Tensor | None = None) -> Tensor:
        """Logits of a digit.

        Args:
            depth: the digit; a transition has one choice, so its logit is a constant.
            state: float [..., H].
            nodes: int64 [...], the prefixes in the trie; None leaves out what single branches have of their own.

        Returns:
            [..., K].
        """
        if str(depth) in self.steps:
            return state.new_zeros(*state.shape[:-1], 1)
        return self.head(depth, self.norm(self.block(state, self.digit_marks[depth])), nodes)

    def head(self, depth: int, features: Tensor, nodes: Tensor | None) -> Tensor:
        """Logits [..., K] of a digit that is not a transition from its features [..., H], see :meth:`features`."""
        logits = self.heads[str(depth)](features)
        if self.branches is None or nodes is None:
            return logits
        return self.branches(depth, nodes, features, logits)

    def features(self, states: Tensor, digit: Tensor) -> Tensor:
        """What the heads read, of several digits at once.

        Args:
            states: float [R, H].
            digit: int64 [R], of each state, counted among the open digits.

        Returns:
            [R, H].
        """
        return self.norm(self.block(states, F.embedding(self.open_places[digit], self.digit_marks)))

    def states(self, hidden: Tensor, codes: Tensor, rows: list[Tensor]) -> Tensor:
        """The states before each open digit, where all codes are known.

        Args:
            hidden: float [M, H], before the first digit.
            codes: int64 [M, D].
            rows: int64 [n], of each open digit, the rows whose states are wanted.

        Returns:
            [R, H], one digit's after the other.
        """
        chosen = F.embedding((codes + self.offsets).T, self.embedding).unbind()  # D times [M, H]
        states, state, waiting = [], hidden, iter(rows)
        for depth, embedding in enumerate(chosen):
            state = self.enter(depth, state)
            if depth in self.open_digits:
                states.append(state.index_select(0, next(waiting)))
            state = state + embedding
        return torch.cat(states)

    def choose(self, depth: int, state: Tensor, codes: Tensor) -> Tensor:
        """The state [..., H] after digit ``depth`` was set to ``codes`` [...]."""
        return state + self.embedding[codes + self._offsets[depth]]
