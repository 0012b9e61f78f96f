"""A run as programs and arrays that need torch and NumPy alone (``recbole-mgr export``).

    start.pt2, step_<d>.pt2   `torch.export` programs: what reads histories, and what scores digit d of each beam
    priors.pt2                what scores items beside their codes, where the run ranks by that, too
    *.onnx                    the same as ONNX, where that is asked for
    weights.npz               what they share, each an input of the programs that read it
    trie.npz                  the prefix trie, and which item stands at which of its leaves
    export.json               sizes, items, what the parts of the ranking count, and which weights each program reads
    runtime.py                the search over them: `recbole_mgr.serving.exported_runtime`

The programs compute padding and decided digits, too, which the models leave out where that saves time, so scores may
differ in their last digits.
"""

from __future__ import annotations

import importlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.files import publish, write_text
from recbole_mgr.generation.priors import DENSE_ITEMS
from recbole_mgr.generation.trie import PrefixTrie
from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.model.ranking import CODES
from recbole_mgr.serving import exported_runtime
from recbole_mgr.serving.programs import programs_of
from recbole_mgr.serving.recommender import Recommender
from recbole_mgr.serving.run_directory import read_run
from recbole_mgr.serving.run_files import is_generative_run, read_about

FORMAT = 2


def export_run_programs(run_dir: str | Path, folder: str | Path, *, onnx: bool = False) -> Path:
    """Write a run as programs and arrays.

    Args:
        run_dir: a finished run of one of our models.
        folder: a new one, or an empty one.
        onnx: whether to write the programs as ONNX, too.

    Returns:
        The folder.

    Raises:
        ValueError: If the run cannot be exported, the folder holds something, torch is too old or what writes ONNX is
            not installed.
    """
    run_dir, folder = Path(run_dir), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already; name a new folder")
    if onnx:
        _require_onnx()
    network, recommender = _read(run_dir)
    if not hasattr(torch.export.Dim, "AUTO"):
        raise ValueError(f"export needs torch 2.6 or newer, this is {torch.__version__}; update it")
    weights_of_parts = _weights_of_parts(network)
    priors, codes = [part for part in weights_of_parts if part != CODES], CODES in weights_of_parts
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as unfinished:
        written = Path(unfinished) / "export"
        written.mkdir()
        reads, weights = {}, {}
        for program in programs_of(network, priors=priors, codes=codes):
            torch.export.save(program.exported, written / f"{program.name}.pt2")
            if onnx:
                program.exported.example_inputs = None  # else it would look for inputs that it has taken out as unused
                torch.onnx.export(program.exported, f=written / f"{program.name}.onnx", dynamo=True, verbose=False)
            reads[program.name] = list(program.weights)
            weights |= program.weights
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
            "ranking": "beams" if network.part_weights is None else network.ranking,
            "weights": weights_of_parts,
            "candidates": network.prior_candidates,
            "programs": reads,
            "items": network.semantic_ids.item_tokens,
        }
        write_text(written / "export.json", json.dumps(about, ensure_ascii=False) + "\n")
        shutil.copyfile(exported_runtime.__file__, written / "runtime.py")
        for options in ({}, {"onnx": True}) if onnx else ({},):
            _require_equal_lists(recommender, exported_runtime.ExportedRun(written, **options))
        if folder.is_dir():
            folder.rmdir()
        publish(written, folder)
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
    is_pushed_down = network.ranking == "beams" and "item_softmax" in _weights_of_parts(network)
    if is_pushed_down and network.trie.num_items > DENSE_ITEMS:
        raise ValueError(
            f"{run_dir}: export does not push an item softmax of more than {DENSE_ITEMS:,} items down the trie; train "
            "with ranking: union, or use recbole-mgr serve"
        )
    return network, Recommender(run, run_dir=run_dir)


def _require_onnx() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"--onnx needs {name}; install it with pip install 'recbole_mgr[onnx]'") from error


def _weights_of_parts(network: GenerativeRecommender) -> dict[str, float]:
    """What each part of a run's ranking counts, without those that count nothing."""
    if network.part_weights is None:
        return {CODES: 1.0}
    return {part: weight for part, weight in network.part_weights.as_dict().items() if weight}


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


def _require_equal_lists(recommender: Recommender, exported: Any) -> None:
    """Compare a few lists of the written programs with the run's."""
    tokens = recommender.item_ids
    lengths = (1, 2, 9, 30)  # neither as many nor as long as in the example that the programs were traced with
    histories = [[tokens[(7 * n + place // 2) % len(tokens)] for place in range(n)] for n in lengths]  # with repeats
    expected = recommender.recommend(histories=histories, mask_history=True)
    for own, scores in zip(exported.recommend(histories, mask_history=True), expected.scores, strict=True):
        if not np.allclose([score for _, score in own], scores, atol=1e-3):
            raise RuntimeError("the exported programs do not give the run's lists; this is an error of recbole_mgr")
