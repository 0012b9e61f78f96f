"""LF++'s contrastive modality alignment: a short stage before recommendation training, or a loss beside it.

Source: arXiv 2503.23333, which says that the recommender is first taught to match an item's IDs across modalities
and then trained on recommendation. Loss, temperature, negatives and length are not given. Our reading, both parts
switchable: *InfoNCE*, symmetric, over the modalities' encodings of an item with in-batch negatives that never share
the item's codes; and *ID-to-ID generation* of one modality's codes from another's. The stage has its own optimiser,
so recommendation training starts from its weights but not from its moments. The same loss, on a random draw of items
at each step, may accompany recommendation training (``alignment_weight``), as MACRec does: our option, not the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from itertools import permutations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from recbole_mgr.distributed import processes
from recbole_mgr.semantic_id.table import SemanticIdTable


class AlignmentStage:
    """Trains a backbone to match the modalities of an item.

    Args:
        backbone: has ``modality_encodings`` and ``modality_translation_loss``.
        table: semantic IDs; its modalities are aligned pairwise (any number of them).
        epochs: passes over all items; 0 switches the stage off.
        losses: subset of ``infonce``, ``id_to_id``.
        temperature: of the InfoNCE similarities, > 0.
        learning_rate: of the stage's own AdamW.
        batch_size: items per step.
        seed: of the stage's own generator for the order of items.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        table: SemanticIdTable,
        epochs: int,
        losses: list[str],
        temperature: float,
        learning_rate: float,
        batch_size: int,
        seed: int,
    ) -> None:
        self.backbone = backbone
        self.table = table
        # one modality has nothing to be aligned with
        self.epochs = epochs if len(table.modalities) > 1 else 0
        self.losses = losses
        self.temperature = temperature
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.step = _called  # of several processes, what lets them take the mean of the gradients
        self.accuracy: dict[str, float] = {}
        self.learning_rate = learning_rate

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when it is first needed: PyTorch imports its compiler with it, and who recommends trains nothing."""
        return torch.optim.AdamW(self.backbone.parameters(), lr=self.learning_rate, weight_decay=0.0)

    @property
    def done(self) -> bool:
        return self.epoch >= self.epochs

    def run_epoch(self, *, show_progress: bool) -> float:
        """One pass over all items.

        Returns:
            Mean loss.
        """
        if self.epoch == 0:
            self.accuracy["before"] = self.retrieval_accuracy()
        self.backbone.train()
        generator = torch.Generator().manual_seed(self.seed + self.epoch)  # an epoch's order survives a resume
        order = torch.randperm(self.table.num_items, generator=generator) + 1
        batches = tqdm(
            order.split(self.batch_size), desc=f"Align {self.epoch:>5}", ncols=100, disable=not show_progress
        )
        total = 0.0
        for item_ids in batches:
            self.optimizer.zero_grad()
            loss = self.step(self.loss, item_ids.to(self._device))
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(item_ids)
        self.epoch += 1
        if self.done:
            self.accuracy["after"] = self.retrieval_accuracy()
            self.optimizer.state.clear()  # would only make every later checkpoint three times as large
        return total / self.table.num_items

    def loss(self, item_ids: Tensor) -> Tensor:
        """Mean over the ordered pairs of modalities of the chosen losses, for items [n]."""
        encodings = self.backbone.modality_encodings(item_ids)
        pairs = list(permutations(encodings, 2))
        losses = []
        for source, target in pairs:
            if "infonce" in self.losses:
                same = self._same_codes(item_ids, source) | self._same_codes(item_ids, target)
                losses.append(info_nce(encodings[source], encodings[target], same, self.temperature))
            if "id_to_id" in self.losses:
                losses.append(self.backbone.modality_translation_loss(source, target, item_ids))
        return torch.stack(losses).sum() / len(pairs)

    def draw_items(self) -> Tensor:
        """int64 [n] random items of the whole catalogue, as many as the stage takes at a time.

        From torch's generator, whose state a resumed run has; items drawn twice are no negatives of each other.
        Several processes get the owner's draw.
        """
        count = min(self.batch_size, self.table.num_items)
        drawn = torch.randint(1, self.table.num_items + 1, (count,), device=self._device)
        return processes.broadcast(drawn.cpu()).to(self._device) if processes.count() > 1 else drawn

    @torch.no_grad()
    def retrieval_accuracy(self, max_items: int = 2048) -> float:
        """Share of items whose nearest encoding in another modality is their own (or has the same codes), over all
        ordered pairs of modalities and a fixed sample of at most ``max_items`` items."""
        self.backbone.eval()
        sample = torch.randperm(self.table.num_items, generator=torch.Generator().manual_seed(0))[:max_items] + 1
        item_ids = sample.to(self._device)
        encodings = self.backbone.modality_encodings(item_ids)
        hits = []
        for source, target in permutations(encodings, 2):
            similarity = F.normalize(encodings[source], dim=-1) @ F.normalize(encodings[target], dim=-1).T
            nearest = similarity.argmax(dim=1)  # [n]
            own = torch.arange(len(nearest), device=nearest.device)
            hits.append((nearest == own) | self._same_codes(item_ids, target)[own, nearest])
        return torch.cat(hits).float().mean().item()

    def state_dict(self) -> dict:
        return {"epoch": self.epoch, "accuracy": self.accuracy, "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.epoch, self.accuracy = state["epoch"], dict(state["accuracy"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _same_codes(self, item_ids: Tensor, modality: str) -> Tensor:
        """[n, n] bool: different items of the batch whose codes in ``modality`` are equal (false negatives)."""
        columns = [
            d for d, digit in enumerate(self.table.digits) if digit.kind == "code" and digit.modality == modality
        ]
        _, group = self.backbone.codes[item_ids][:, columns].unique(dim=0, return_inverse=True)  # [n]
        same = group[:, None] == group
        return same.fill_diagonal_(False)

    @property
    def _device(self) -> torch.device:
        return next(self.backbone.parameters()).device


def _called(function: Callable[[Tensor], Tensor], item_ids: Tensor) -> Tensor:
    return function(item_ids)


def info_nce(source: Tensor, target: Tensor, same: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding an item's ``target`` encoding by its ``source`` encoding.

    Args:
        source, target: [n, H] encodings of the same n items in two modalities.
        same: [n, n] bool, pairs that are no negatives.
        temperature: divides the cosine similarities.

    Returns:
        Scalar.
    """
    similarity = F.normalize(source.float(), dim=-1) @ F.normalize(target.float(), dim=-1).T / temperature
    own = torch.arange(len(source), device=source.device)
    return F.cross_entropy(similarity.masked_fill(same, float("-inf")), own)
