"""The codes of an item, one after the other, from the state of their prefix."""

import torch
from torch import Tensor, nn

from recbole_mgr.model.backbone.branches import BranchScores
from recbole_mgr.model.backbone.residual_mlp import ResidualMLP
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary


class CodeDecoder(nn.Module):
    """Logits of each digit from the state of its prefix; a transition is a learned step of the state."""

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
        self.kinds = [digit.kind for digit in table.digits]
        sizes = [digit.size for digit in table.digits]
        self.sizes = sizes
        vocabulary = CodeVocabulary(sizes)
        self._offsets = [vocabulary.token_id_range(d).start for d in range(len(sizes))]
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.digit_marks = nn.Parameter(torch.randn(len(sizes), hidden_size) * 0.02)
        self.block = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.norm = nn.LayerNorm(hidden_size)
        self.heads = nn.ModuleDict(
            {str(d): nn.Linear(hidden_size, size) for d, size in enumerate(sizes) if self.kinds[d] != "transition"}
        )
        self.steps = nn.ModuleDict(
            {
                str(d): ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
                for d, kind in enumerate(self.kinds)
                if kind == "transition"
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
        features = self.norm(self.block(state, self.digit_marks[depth]))  # [..., H]
        logits = self.heads[str(depth)](features)
        if self.branches is None or nodes is None:
            return logits
        return self.branches(depth, nodes, features, logits)

    def choose(self, depth: int, state: Tensor, codes: Tensor) -> Tensor:
        """The state [..., H] after digit ``depth`` was set to ``codes`` [...]."""
        return state + self.embedding[codes + self._offsets[depth]]
