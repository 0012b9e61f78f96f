"""A hierarchical backbone small enough to check by hand, and its steps for a search."""

from typing import Any

import torch

from recbole_mgr.generation.beam_search import Step
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.backbone.hierarchical import HierarchicalBackbone
from recbole_mgr.semantic_id.table import SemanticIdTable


def tiny_backbone(table: SemanticIdTable, *, max_length: int, **ours: Any) -> HierarchicalBackbone:
    """In eval mode, always the same weights; repeat scores stay at 0."""
    torch.manual_seed(0)
    backbone = HierarchicalBackbone(
        table=table,
        trie=PrefixTrie(table.codes[1:], table.sizes),
        code_softmax="legal",
        max_length=max_length,
        hidden_size=8,
        num_layers=1,
        num_heads=1,
        inner_size=8,
        dropout=0.0,
        attention_dropout=0.0,
        **ours,
    )
    for name, parameter in backbone.named_parameters():
        if not name.startswith("repeats"):
            torch.nn.init.normal_(parameter, std=0.5)
    return backbone.eval()


def step_of(backbone: HierarchicalBackbone, history: torch.Tensor, lengths: torch.Tensor) -> Step:
    """What the searches call, for histories [B, L] of ``lengths`` [B]."""
    first = backbone.start(history, lengths)

    def step(depth, nodes, codes, parents, state):
        return backbone.step(depth, nodes, codes, parents, first if state is None else state)

    return step
