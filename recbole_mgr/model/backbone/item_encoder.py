"""Items as vectors: what the causal transformer of the hierarchical backbone reads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_mgr.model.backbone.residual_mlp import ResidualMLP
from recbole_mgr.semantic_id.table import SemanticIdTable
from recbole_mgr.semantic_id.vocabulary import CodeVocabulary


class ItemEncoder(nn.Module):
    """Item vectors from codes, the modalities kept apart until each has passed a marked, shared block.

    A modality's part is the sum of its code embeddings. Each part passes one shared non-linear block; LF++'s
    transition token marks the part it leads to inside that block (in a plain sum it would be a constant that the
    next bias absorbs). The item vector is the sum of the parts.
    """

    def __init__(self, *, table: SemanticIdTable, hidden_size: int, inner_size: int, dropout: float) -> None:
        super().__init__()
        sizes = [digit.size for digit in table.digits]
        vocabulary = CodeVocabulary(sizes)
        self.embedding = nn.Parameter(torch.randn(vocabulary.size, hidden_size) * 0.02)
        self.mix = ResidualMLP(hidden_size=hidden_size, inner_size=inner_size, dropout=dropout)
        self.register_buffer("token_ids", vocabulary.token_ids(table.codes), persistent=False)  # [N+1, D]
        self._blocks = {modality: table.block(modality) for modality in table.modalities}
        self._transition = {
            digit.modality: vocabulary.token_id_range(d).start
            for d, digit in enumerate(table.digits)
            if digit.kind == "transition"
        }
        self._has_dedup = table.digits[-1].kind == "dedup"

    def parts(self, item_ids: Tensor) -> dict[str, Tensor]:
        """Encodings of an item's modalities.

        Args:
            item_ids: [n] item ids; PAD gives a vector without meaning.

        Returns:
            Modality -> [n, H].
        """
        parts = {}
        for modality, block in self._blocks.items():
            part = F.embedding(self.token_ids[item_ids, block], self.embedding).sum(dim=1)  # [n, levels, H] -> [n, H]
            mark = self.embedding[self._transition[modality]] if modality in self._transition else 0.0
            parts[modality] = self.mix(part, mark)
        return parts

    def forward(self, item_ids: Tensor) -> Tensor:
        """Item vectors [..., H] of item ids [...]."""
        flat = item_ids.reshape(-1)
        vectors = torch.stack(list(self.parts(flat).values())).sum(dim=0)  # [n, H]
        if self._has_dedup:
            vectors = vectors + F.embedding(self.token_ids[flat, -1], self.embedding)
        return vectors.view(*item_ids.shape, -1)
