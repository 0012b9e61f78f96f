"""A run as programs and arrays that need torch and NumPy alone (``recbole-mgr export``).

    start.pt2, step_<d>.pt2   `torch.export` programs: what reads histories, and what scores digit d of each beam
    weights.npz               what they share, each an input of the programs that read it
    trie.npz                  the prefix trie, and which item stands at which of its leaves
    export.json               sizes, items, and which weights each program reads
    runtime.py                the beam search over them: `recbole_mgr.serving.exported_runtime`

Batch size, length of histories and number of beams are free. The programs compute padding and decided digits, too,
which the models leave out where that saves time, so scores may differ in their last digits.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recbole_mgr.files import write_text
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.serving import exported_runtime
from recbole_mgr.serving.recommender import Recommender
from recbole_mgr.serving.run_directory import is_generative_run, read_about, read_run

FORMAT = 1
# Sizes of the example that a program is traced with: no two alike, so that none is taken for another.
_BATCH, _LENGTH, _BEAMS = 3, 5, 7


def export_run_programs(run_dir: str | Path, folder: str | Path) -> Path:
    """Write a run as programs and arrays.

    Args:
        run_dir: a finished run of one of our models that ranks by codes alone.
        folder: a new one, or an empty one.

    Returns:
        The folder.

    Raises:
        ValueError: If the run cannot be exported, the folder holds something, or torch is too old.
    """
    run_dir, folder = Path(run_dir), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already; name a new folder")
    network, recommender = _read(run_dir)
    if not hasattr(torch.export.Dim, "AUTO"):
        raise ValueError(f"export needs torch 2.6 or newer, this is {torch.__version__}; update it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished:
        written = Path(unfinished) / "export"
        written.mkdir()
        reads, weights = {}, {}
        for name, program, used in _programs(network.backbone, network.trie):
            torch.export.save(program, written / f"{name}.pt2")
            reads[name] = list(used)
            weights |= used
        np.savez(written / exported_runtime.ExportedRun.FILES[0], **_arrays(weights))
        np.savez(written / exported_runtime.ExportedRun.FILES[1], **_arrays(_trie_arrays(network.trie)))
        about = {
            "format": FORMAT,
            "model": type(network).__name__,
            "torch": torch.__version__,
            "digits": network.trie.num_digits,
            "code_softmax": network.code_softmax,
            "beam_size": network.beam_size,
            "max_history": network.max_seq_length,
            "programs": reads,
            "items": network.semantic_ids.item_tokens,
        }
        write_text(written / "export.json", json.dumps(about, ensure_ascii=False) + "\n")
        shutil.copyfile(exported_runtime.__file__, written / "runtime.py")
        _require_equal_lists(recommender, written)
        if folder.is_dir():
            folder.rmdir()
        written.rename(folder)
    return folder


def _read(run_dir: Path) -> tuple[GenerativeRecommender, Recommender]:
    """The network of a run and what answers with it; raises ValueError where it cannot be exported."""
    run = read_run(run_dir) if is_generative_run(run_dir) else None
    if run is None or not hasattr(run.network.backbone, "start_padded"):
        raise ValueError(
            f"{run_dir}: a run of {read_about(run_dir)['model']}; export writes models that generate semantic IDs by "
            "the backbones hierarchical and t5; use recbole-mgr serve for this one"
        )
    network = run.network
    if network.part_weights is not None:
        raise ValueError(
            f"{run_dir}: this run ranks by {', '.join(network.part_weights.parts)} together, of which an export holds "
            "the codes alone; train without the others (item_softmax, memory, popularity), or use recbole-mgr serve"
        )
    return network, Recommender(run, run_dir=run_dir)


class _Start(nn.Module):
    """Histories -> what the first step starts from, as a flat list."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, history: Tensor, lengths: Tensor) -> list[Tensor]:
        return list(_flat(self.backbone.start_padded(history, lengths)))


class _Step(nn.Module):
    """One digit: logits, and what the next step starts from, as a flat list.

    Args:
        backbone: whose.
        depth: of the digit.
        like: a state as the step gets it, for its form.
    """

    def __init__(self, backbone: nn.Module, depth: int, like: Any) -> None:
        super().__init__()
        self.backbone, self.depth = backbone, depth
        self._like = (like,)

    def forward(self, nodes: Tensor, *inputs: Any) -> list[Tensor]:
        *choice, flat = inputs
        codes, parents = choice or (None, None)
        state = _shaped(self._like[0], iter(flat))
        logits, state = self.backbone.step(self.depth, nodes, codes, parents, state)
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
def _programs(backbone: nn.Module, trie: PrefixTrie) -> Iterator[tuple[str, Any, dict[str, Tensor]]]:
    """Name, program and weights of each part."""
    history = torch.arange(_BATCH * _LENGTH).view(_BATCH, _LENGTH) % trie.num_items + 1
    lengths = torch.arange(_LENGTH, _LENGTH - _BATCH, -1)
    program, weights = _traced(_Start(backbone), (history, lengths))
    yield "start", program, weights
    state = backbone.start_padded(history, lengths)
    flat = program.module()(weights, history, lengths)
    nodes, choice = torch.zeros(_BATCH, 1, dtype=torch.long), ()
    for depth in range(trie.num_digits):
        inputs = (nodes, *choice, flat)
        program, weights = _traced(_Step(backbone, depth, state), inputs)
        yield f"step_{depth}", program, weights
        _, state = backbone.step(depth, nodes, *(choice or (None, None)), state)  # for its form alone
        _, *flat = program.module()(weights, *inputs)
        parents = torch.arange(_BEAMS).expand(_BATCH, -1) % nodes.shape[1]
        nodes = torch.arange(_BATCH * _BEAMS).view(_BATCH, _BEAMS) % trie.num_nodes(depth + 1)
        choice = (nodes % trie.sizes[depth], parents)


def _traced(module: nn.Module, inputs: tuple) -> tuple[Any, dict[str, Tensor]]:
    """The program of a module, and the weights that it reads."""
    with _Used() as used:
        module(*inputs)
    weights = {name: tensor.detach() for name, tensor in _weights(module) if id(tensor) in used.ids}
    free = _mapped(lambda tensor: dict.fromkeys(range(tensor.dim()), torch.export.Dim.AUTO), inputs)
    shapes = {"weights": dict.fromkeys(weights), "inputs": free}
    arguments = (weights, *inputs)
    return torch.export.export(_WithoutWeights(module), arguments, dynamic_shapes=shapes, strict=False), weights


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


def _trie_arrays(trie: PrefixTrie) -> dict[str, Tensor]:
    """By name and digit: where each node's children begin, their codes, and where the leaves of each child begin."""
    arrays = {"item_of_leaf": trie.leaf_items.long(), "leaf_of_item": trie.item_leaves.long()}
    leaves = torch.arange(trie.num_items + 1)  # where the leaves of each node of the depth begin, and their end
    for depth in range(trie.num_digits - 1, -1, -1):
        level = trie.levels[depth]
        arrays[f"first_child_{depth}"], arrays[f"code_{depth}"] = level.first_child.long(), level.child_codes.long()
        arrays[f"first_leaf_{depth}"] = leaves
        leaves = leaves[level.first_child.long()]
    return arrays


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _require_equal_lists(recommender: Recommender, folder: Path) -> None:
    """Compare a few lists of the written programs with the run's."""
    tokens = recommender.item_ids
    histories = [[tokens[(7 * n + place // 2) % len(tokens)] for place in range(n)] for n in (1, 2, 9)]  # with repeats
    expected = recommender.recommend(histories=histories, mask_history=True)
    exported = exported_runtime.ExportedRun(folder).recommend(histories, mask_history=True)
    for own, scores in zip(exported, expected.scores, strict=True):
        if not np.allclose([score for _, score in own], scores, atol=1e-3):
            raise RuntimeError("the exported programs do not give the run's lists; this is an error of recbole_mgr")
