"""The parts of a network as `torch.export` programs: what reads histories, what scores a digit, what scores items.

Each is a function of its weights, too, so that parts which share weights do not hold them twice. Batch size, length
of histories and number of beams are free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recbole_mgr.model.generative import GenerativeRecommender

# Sizes of the example that a program is traced with: no two alike, so that none is taken for another.
_BATCH, _LENGTH, _BEAMS = 3, 5, 7


class Program(NamedTuple):
    """A part of a network.

    Attributes:
        name: start, priors or step_<digit>.
        exported: of `torch.export.export`; takes ``weights`` by name, then the inputs of the part.
        weights: those that it reads.
        inputs: of the example that it was traced with.
    """

    name: str
    exported: torch.export.ExportedProgram
    weights: dict[str, Tensor]
    inputs: tuple


class _Start(nn.Module):
    """Histories -> what the first step starts from, as a flat list."""

    def __init__(self, network: GenerativeRecommender) -> None:
        super().__init__()
        self.network = network

    def forward(self, history: Tensor, lengths: Tensor) -> list[Tensor]:
        return list(_flat(self.network.backbone.start_padded(history, lengths)))


class _Priors(nn.Module):
    """What beside the codes ranks items: log-probabilities of the items by leaf, a tensor [B, N] for each part.

    Args:
        network: whose.
        parts: of its part weights, without codes.
        like: what the first step starts from, for its form.
    """

    def __init__(self, network: GenerativeRecommender, parts: Sequence[str], like: Any) -> None:
        super().__init__()
        self.network, self.parts = network, parts
        self._like = (like,)

    def forward(self, history: Tensor, lengths: Tensor, flat: list[Tensor]) -> list[Tensor]:
        network, first = self.network, _shaped(self._like[0], iter(flat))
        found = []
        for part in self.parts:
            if part == "item_softmax":
                scores = network.backbone.item_softmax.scores(first.hidden[:, 0], first.history)
            elif part == "memory":
                scores = network.memory.scores(history, lengths)
            else:
                scores = (network.item_counts + 1).log().expand(history.shape[0], -1)
            found.append(scores[:, network.trie.leaf_items.long()].float().log_softmax(dim=1))
        return found


class _Step(nn.Module):
    """One digit: logits, and what the next step starts from, as a flat list.

    Args:
        network: whose.
        depth: of the digit.
        like: a state as the step gets it, for its form.
    """

    def __init__(self, network: GenerativeRecommender, depth: int, like: Any) -> None:
        super().__init__()
        self.network, self.depth = network, depth
        self._like = (like,)

    def forward(self, nodes: Tensor, *inputs: Any) -> list[Tensor]:
        *choice, flat = inputs
        codes, parents = choice or (None, None)
        state = _shaped(self._like[0], iter(flat))
        logits, state = self.network.backbone.step(self.depth, nodes, codes, parents, state)
        return [logits.float(), *_flat(state)]


class _WithoutWeights(nn.Module):
    """A module as a function of its weights, too, so that its program holds none."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._module = (module,)  # in a tuple, where torch does not look for weights

    def forward(self, weights: dict[str, Tensor], *inputs: Any) -> list[Tensor]:
        return torch.func.functional_call(self._module[0], weights, inputs, tie_weights=False)


class _Used(TorchFunctionMode):
    """Remembers which tensors functions are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[int] = set()

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.ids.update(map(id, _flat([*arguments, *(options or {}).values()])))
        return function(*arguments, **(options or {}))


@torch.no_grad()
def programs_of(network: GenerativeRecommender, *, priors: Sequence[str], codes: bool) -> Iterator[Program]:
    """The programs of a network in eval mode, on the CPU.

    Args:
        network: with a backbone that has ``start_padded``.
        priors: parts beside codes that rank its items.
        codes: whether codes rank them too.
    """
    backbone, trie = network.backbone, network.trie
    history = torch.arange(_BATCH * _LENGTH).view(_BATCH, _LENGTH) % trie.num_items + 1
    lengths = torch.arange(_LENGTH, _LENGTH - _BATCH, -1)
    start = _traced("start", _Start(network), (history, lengths))
    yield start
    state = backbone.start_padded(history, lengths)
    flat = start.exported.module()(start.weights, history, lengths)
    if priors:
        yield _traced("priors", _Priors(network, priors, state), (history, lengths, flat))
    nodes, choice = torch.zeros(_BATCH, 1, dtype=torch.long), ()
    for depth in range(trie.num_digits if codes else 0):
        step = _traced(f"step_{depth}", _Step(network, depth, state), (nodes, *choice, flat))
        yield step
        _, state = backbone.step(depth, nodes, *(choice or (None, None)), state)  # for its form alone
        _, *flat = step.exported.module()(step.weights, *step.inputs)
        parents = torch.arange(_BEAMS).expand(_BATCH, -1) % nodes.shape[1]
        nodes = torch.arange(_BATCH * _BEAMS).view(_BATCH, _BEAMS) % trie.num_nodes(depth + 1)
        choice = (nodes % trie.sizes[depth], parents)


def _traced(name: str, module: nn.Module, inputs: tuple) -> Program:
    with _Used() as used:
        module(*inputs)
    weights = {name: tensor.detach() for name, tensor in _weights(module) if id(tensor) in used.ids}
    free = _mapped(lambda tensor: dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO), inputs)
    shapes = {"weights": dict.fromkeys(weights), "inputs": free}
    arguments = (weights, *inputs)
    exported = torch.export.export(_WithoutWeights(module), arguments, dynamic_shapes=shapes, strict=False)
    return Program(name, exported, weights, inputs)


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers: a module with several names has one here, a weight of several modules has several."""
    for path, part in module.named_modules():
        for name, tensor in chain(part.named_parameters(recurse=False), part.named_buffers(recurse=False)):
            yield f"{path}.{name}", tensor


def _flat(value: Any) -> Iterator[Tensor]:
    """The tensors of nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)


def _shaped(like: Any, tensors: Iterator[Tensor]) -> Any:
    """Tensors in the form of ``like``."""
    if isinstance(like, Tensor):
        return next(tensors)
    parts = [_shaped(part, tensors) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)


def _mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """``function`` of every tensor of nested lists and tuples."""
    return function(value) if isinstance(value, Tensor) else type(value)(_mapped(function, part) for part in value)
