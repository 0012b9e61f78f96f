"""A backbone's loss and search as single programs of ``torch.compile``, beside what they compute uncompiled."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from recbole_mgr.generation.beam_search import RankedList, beam_search


def assert_loss_compiles_as_a_whole(backbone: nn.Module, *batch: Tensor) -> None:
    """``backbone.loss(*batch)`` compiles without a break, to the same loss and gradients."""
    weights = dict(backbone.named_parameters())
    losses = backbone.loss, torch.compile(backbone.loss, fullgraph=True, backend="eager")
    values = [loss(*batch) for loss in losses]
    torch.testing.assert_close(values[1], values[0])
    eager, compiled = (torch.autograd.grad(value, weights.values(), allow_unused=True) for value in values)
    for name, wanted, found in zip(weights, eager, compiled, strict=True):
        wanted = torch.zeros_like(found) if wanted is None else wanted  # of a head that is never asked
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4, msg=name)


@torch.no_grad()
def assert_search_compiles_as_a_whole(backbone: nn.Module, history: Tensor, lengths: Tensor, **search: int) -> None:
    """A beam search from histories [B, L] of ``lengths`` [B] compiles without a break, to the same lists."""

    def ranked(history: Tensor, lengths: Tensor) -> RankedList:
        first = backbone.start_padded(history, lengths)

        def step(depth, nodes, codes, parents, state):
            return backbone.step(depth, nodes, codes, parents, first if state is None else state)

        return beam_search(step, backbone.trie, batch_size=len(history), exclude=history, **search)

    compiled: Callable[[Tensor, Tensor], RankedList] = torch.compile(ranked, fullgraph=True, backend="eager")
    found, expected = compiled(history, lengths), ranked(history, lengths)
    assert torch.equal(found.item_ids, expected.item_ids)
    torch.testing.assert_close(found.scores, expected.scores)
