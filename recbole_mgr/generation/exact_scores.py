"""Log-probabilities of items by their codes, exact, whether a beam would have found them or not.

Shapes: B users, M given items, W prefixes of a digit, K codes of the digit.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_mgr.generation.beam_search import Step, slot_log_probs
from recbole_mgr.generation.priors import WeightedPriors
from recbole_mgr.generation.trie import CodeSoftmax, PrefixTrie


@torch.no_grad()
def exhaustive_scores(
    step: Step,
    trie: PrefixTrie,
    *,
    batch_size: int,
    code_softmax: CodeSoftmax = "legal",
    priors: WeightedPriors | None = None,
) -> Tensor:
    """Log-probability of every item, by following every prefix; for small catalogues.

    Args:
        step: The model; it sees all ``trie.num_nodes(depth)`` prefixes of a depth as that many beams.
        trie: The catalogue.
        batch_size: B.
        code_softmax: Over what a code's probability is normalised; see :meth:`PrefixTrie.log_prob`.
        priors: As in :func:`beam_search`.

    Returns:
        float32 [B, max_item_id + 1], by item id; -inf at 0 and at ids outside the catalogue.

    Raises:
        ValueError: If the step's logits do not have the shape asked for.
    """
    codes = parents = state = None
    nodes = torch.zeros(1, dtype=torch.long, device=trie.device)
    scores = torch.zeros((batch_size, 1), device=trie.device)
    for depth in range(trie.num_digits):
        logits, state = step(depth, nodes.expand(batch_size, -1), codes, parents, state)  # [B, nodes, K]
        log_probs = slot_log_probs(trie, depth, nodes, scores.shape, logits, code_softmax, None, priors)

        nodes = torch.arange(trie.num_nodes(depth + 1), device=trie.device)
        parents = trie.parent(depth + 1, nodes)
        slots = trie.slots_of(depth, parents, nodes)
        scores = scores[:, parents] + log_probs[:, parents, slots]  # [B, nodes of the next depth]
        codes, _ = trie.follow(depth, parents, slots)
        codes, parents = codes.expand(batch_size, -1), parents.expand(batch_size, -1)

    item_scores = scores.new_full((batch_size, trie.max_item_id + 1), -torch.inf)
    item_scores[:, trie.item_ids(nodes)] = scores
    return item_scores


@torch.no_grad()
def item_log_probs(
    step: Step,
    trie: PrefixTrie,
    item_ids: Tensor,
    *,
    at_least: Tensor | None = None,
    code_softmax: CodeSoftmax = "legal",
    priors: WeightedPriors | None = None,
) -> Tensor:
    """Log-probability of given items by their codes: exact, whether a beam would have found them or not.

    Each prefix is one beam for all items of a user that share it. Under ``legal`` a prefix that leaves one item needs
    none: the rest of that item's codes has probability 1.

    Args:
        step: the model.
        trie: the catalogue.
        item_ids: int64 [B, M]; 0 = none.
        at_least: float [B, M], which log-probabilities are of interest; None = all. An item is given up at the first
            prefix that is less probable: no item is more probable than its prefixes.
        code_softmax: as in :meth:`PrefixTrie.log_prob`.
        priors: as in :func:`beam_search`.

    Returns:
        float32 [B, M], -inf where there is no item, and where it was given up.
    """
    found = torch.full(item_ids.shape, -torch.inf, device=item_ids.device)
    leaves, order = trie.leaf(item_ids).sort(dim=1)  # so that the items of a prefix stand together
    if not bool((leaves >= 0).any()):
        return found
    first = int((leaves < 0).sum(dim=1).min())
    leaves, order = leaves[:, first:], order[:, first:]  # [B, M], no columns without an item
    is_item = leaves >= 0
    path = trie.path_to_leaf(trie.item_ids(leaves.clamp(min=0))).movedim(-1, 0).contiguous()  # [D + 1, B, M]
    if code_softmax == "legal":
        is_choice = torch.stack([trie.has_choice(depth, path[depth]) for depth in range(trie.num_digits)])
        choices_left = is_choice.flip(0).cumsum(dim=0).flip(0)  # [D, B, M], none where the prefix leaves one item
    least = None if at_least is None else at_least.gather(1, order)

    total = torch.zeros(leaves.shape, device=leaves.device)
    state = codes = parents = beam = None
    for depth in range(trie.num_digits):
        if least is not None:
            is_item = is_item & (total >= least)
        is_open = is_item & (choices_left[depth] > 0) if code_softmax == "legal" else is_item
        open_nodes = path[depth].masked_fill(~is_open, -1)
        before = F.pad(open_nodes.cummax(dim=1).values[:, :-1], (1, 0), value=-1)
        met = (open_nodes > before).cumsum(dim=1)  # [B, M], different prefixes so far
        width = int(met[:, -1].max())
        if not width:
            break  # nor is a deeper prefix to be scored
        numbers = torch.arange(1, width + 1, device=met.device).repeat(len(met), 1)
        item = torch.searchsorted(met, numbers)  # [B, W], the first item of each prefix
        is_beam, item = item < met.shape[1], item.clamp(max=met.shape[1] - 1)
        nodes = path[depth].gather(1, item)  # [B, W]
        if depth:
            codes, parents = trie.last_code(depth, nodes), beam.gather(1, item)
            nodes = nodes.masked_fill(~is_beam, -1)
        logits, state = step(depth, nodes, codes, parents, state)  # [B, W, K]
        nodes = nodes.clamp(min=0)
        log_probs = slot_log_probs(trie, depth, nodes, nodes.shape, logits, code_softmax, None, priors)  # [B, W, S]
        beam = (met - 1).clamp(min=0)  # [B, M], of each item
        places = beam * trie.num_slots(depth) + trie.slots_of(depth, path[depth], path[depth + 1])
        total = total + log_probs.flatten(1).gather(1, places).masked_fill(~is_open, 0.0)
    if least is not None:
        is_item = is_item & (total >= least)
    return found.scatter_(1, order, total.masked_fill(~is_item, -torch.inf))
