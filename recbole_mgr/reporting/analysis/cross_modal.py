"""Cross-modal code accuracy: given a target's codes up to one modality, does the model go on with the right ones?

Source: arXiv 2503.23333, finding 2 (correspondence): a model may get one modality's codes right and the other's wrong.
The measure is ours: after the user's history, the digits before a modality are set to the target's, and the model's
most likely code is taken at each digit of that modality. *Free* chooses among all codes; *legal* among those with
which an item exists, which often leaves no choice, so it is counted where there is one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_mgr.model.generative import GenerativeRecommender
from recbole_mgr.semantic_id.collisions import group_ids
from recbole_mgr.serving.run_directory import HISTORIES_FILE, read_run

BATCH = 256


class CrossModalAccuracy(NamedTuple):
    """Of one modality that follows others in the semantic ID; shares over the users asked for.

    Attributes:
        modality: whose codes are predicted.
        first_free: its first code is right, chosen freely.
        all_free: all its codes are right, chosen freely one after the other.
        with_choice: the codes before leave a choice: items with other codes in this modality share them.
        all_legal: all its codes are right, chosen among legal ones, of the users in ``with_choice``; NaN where none is.
    """

    modality: str
    first_free: float
    all_free: float
    with_choice: float
    all_legal: float


def cross_modal_accuracies(run_dir: Path, users: np.ndarray, *, num_users: int) -> list[CrossModalAccuracy]:
    """Accuracy of each modality but the first, on test targets of a fixed random sample of users.

    Args:
        run_dir: a finished run of a generating model.
        users: tokens of those that it was tested on.
        num_users: at most so many users.

    Raises:
        ValueError: If the run directory is not whole, or keeps no histories.
    """
    run = read_run(run_dir)
    if len(run.network.semantic_ids.modalities) < 2:
        return []
    if run.histories is None:
        raise ValueError(
            f"{run_dir / HISTORIES_FILE} does not exist, so the users' histories are not known; run it with "
            "keep_histories: True, or leave this run out"
        )
    users = np.sort(users)
    sample = np.sort(np.random.default_rng(0).permutation(len(users))[:num_users])
    sequences = [run.histories.of_user(str(user)) for user in users[sample]]  # in time order, the test target last
    return accuracies(
        run.network,
        [sequence[:-1] for sequence in sequences],
        np.array([sequence[-1] for sequence in sequences], dtype=np.int64),
    )


@torch.no_grad()
def accuracies(
    network: GenerativeRecommender, histories: Sequence[np.ndarray], targets: np.ndarray
) -> list[CrossModalAccuracy]:
    """The measure on given users.

    Args:
        network: in eval mode.
        histories: item ids of each user, oldest first, at least one.
        targets: item ids [users].
    """
    table = network.semantic_ids
    found = []
    for modality in table.modalities[1:]:
        block = table.block(modality)
        free, legal = [], []
        for start in range(0, len(targets), BATCH):
            rows = slice(start, start + BATCH)
            history, lengths = _padded(histories[rows], network.max_seq_length)
            chosen = torch.from_numpy(targets[rows])
            free.append(_greedy(network, history, lengths, chosen, block, legal=False))
            legal.append(_greedy(network, history, lengths, chosen, block, legal=True))
        codes = table.codes[torch.from_numpy(targets), block]  # [users, levels]
        free_right, legal_right = (torch.cat(part) == codes for part in (free, legal))  # [users, levels]
        has_choice = _leaves_choice(table.codes[1:].numpy(), block)[targets - 1]  # [users]
        legal_of_choice = legal_right.all(dim=1).numpy()[has_choice]
        found.append(
            CrossModalAccuracy(
                modality=modality,
                first_free=free_right[:, 0].double().mean().item(),
                all_free=free_right.all(dim=1).double().mean().item(),
                with_choice=float(has_choice.mean()),
                all_legal=float(legal_of_choice.mean()) if len(legal_of_choice) else float("nan"),
            )
        )
    return found


def _greedy(
    network: GenerativeRecommender, history: Tensor, lengths: Tensor, targets: Tensor, block: slice, *, legal: bool
) -> Tensor:
    """Codes [B, levels] of the block, the most likely one at each digit, after the targets' codes before it."""
    backbone, trie = network.backbone, network.trie
    if not legal:  # under ``code_softmax: legal`` a backbone leaves out logits that a free choice needs
        backbone = copy.copy(backbone)
        backbone.code_softmax = "full"
    target_codes = network.semantic_ids.codes[targets]  # [B, D]
    nodes = parents = torch.zeros(len(targets), 1, dtype=torch.long)
    state, codes, chosen = backbone.start(history, lengths), None, []
    for depth in range(block.stop):
        logits, state = backbone.step(depth, nodes, codes, None if codes is None else parents, state)  # [B, 1, K]
        if depth < block.start:
            codes = target_codes[:, depth : depth + 1]  # [B, 1]
        else:
            if legal:
                logits = logits.masked_fill(~trie.legal(depth, nodes), -torch.inf)
            codes = logits.float().argmax(dim=-1)  # [B, 1]
            chosen.append(codes)
        nodes = trie.advance(depth, nodes, codes)  # [B, 1]; -1 after a free choice that no item has
    return torch.cat(chosen, dim=1)


def _leaves_choice(codes: np.ndarray, block: slice) -> np.ndarray:
    """bool [N]: another item shares the codes [N, D] before the block but not those in it."""
    before, through = group_ids(codes[:, : block.start]), group_ids(codes[:, : block.stop])  # [N] each
    pairs = np.unique(np.stack([before, through]), axis=1)
    return np.bincount(pairs[0])[before] > 1


def _padded(histories: Sequence[np.ndarray], longest: int) -> tuple[Tensor, Tensor]:
    """The last items of each history, int64 [B, L] right-padded with 0, and lengths [B]."""
    kept = [torch.from_numpy(history[-longest:].astype(np.int64)) for history in histories]
    return torch.nn.utils.rnn.pad_sequence(kept, batch_first=True), torch.tensor([len(history) for history in kept])
