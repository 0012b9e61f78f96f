"""What a trained network is given for items that join its catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from scipy import sparse
from torch import Tensor

from recbole_mgr.model.backbone.item_softmax import AlikeItems
from recbole_mgr.model.memory import MemoryPrior


class JoinedItems(NamedTuple):
    """What ranks new items beside their codes; made by `GenerativeRecommender.joining`.

    Attributes:
        likeness: CSR [N + 1, N + 1], of each new item to known ones, rows that sum to 1; those that joined before are
            among them.
        alike: the known items that stand for them in an item softmax.
        memory: a memory that knows them.
        offsets: float [N + 1], what is added to the score of each item where the scores of several parts are summed.
    """

    likeness: sparse.csr_matrix | None = None
    alike: AlikeItems | None = None
    memory: MemoryPrior | None = None
    offsets: Tensor | None = None


_OF_ITEMS = re.compile(r"(item_softmax\.item_(vectors|bias)|^memory\.(weights|targets)|^item_counts)$")


def with_new_items(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's weights with rows for items that join behind the others.

    A new item has no vector of its own, so its key is the sum of its codes' embeddings; it has the mean bias, and was
    never taken. What those like it say of it comes later (`JoinedItems`).

    Args:
        weights: of the network, by name.
        wanted: of the network of the extended catalogue.
    """
    joined = dict(weights)
    for name, tensor in weights.items():
        if _OF_ITEMS.search(name):
            new = tensor.new_zeros(len(wanted[name]) - len(tensor), *tensor.shape[1:])
            joined[name] = torch.cat([tensor, new + tensor.mean() if name.endswith("item_bias") else new])
    return joined
