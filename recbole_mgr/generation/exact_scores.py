"""Log-probabilities of items by their codes, exact, whether a beam would have found them or not.

Shapes: B users, M given items, W prefixes of a digit, K codes of the digit.
"""

import torch
from torch import Tensor

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
        code_softmax: as in :meth:`PrefixTrie.log_prob`.
        priors: as in :func:`beam_search`.

    Returns:
        float32 [B, M], -inf where there is no item.
    """
    leaves, order = trie.leaf(item_ids).sort(dim=1)  # [B, M], so that the items of a prefix stand together
    is_item = leaves >= 0
    known = trie.item_ids(leaves.clamp(min=0))
    path, codes = trie.path(known), trie.codes_of(known)  # [B, M, D]
    is_open = is_item.unsqueeze(-1).expand_as(path)  # whether an item's prefix has to be scored
    if code_softmax == "legal":
        counts = [trie.num_leaves(depth, path[..., depth]) for depth in range(trie.num_digits)]
        is_open = is_open & (torch.stack(counts, dim=-1) > 1)
    before = torch.nn.functional.pad(path.masked_fill(~is_open, -1)[:, :-1], (0, 0, 1, 0), value=-1)
    met = (is_open & (path != before)).cumsum(dim=1)  # [B, M, D], prefixes so far
    beams = (met - 1).clamp(min=0)  # [B, M, D], of each item
    widths = met[:, -1].amax(dim=0).tolist() if met.numel() else [0] * trie.num_digits

    total, state, chosen = torch.zeros(item_ids.shape, device=item_ids.device), None, (None, None)
    for depth, width in enumerate(widths):
        if not width:
            break  # nor is a deeper prefix to be scored
        numbers = torch.arange(1, width + 1, device=item_ids.device).repeat(len(item_ids), 1)
        item = torch.searchsorted(met[..., depth].contiguous(), numbers)  # [B, W], the first item of each prefix
        is_beam, item = item < item_ids.shape[1], item.clamp(max=item_ids.shape[1] - 1)
        nodes = path[..., depth].gather(1, item)  # [B, W]
        if depth:
            nodes = nodes.masked_fill(~is_beam, -1)
            chosen = codes[..., depth - 1].gather(1, item), beams[..., depth - 1].gather(1, item)
        logits, state = step(depth, nodes, *chosen, state)  # [B, W, K]
        nodes = nodes.clamp(min=0)
        log_probs = slot_log_probs(trie, depth, nodes, nodes.shape, logits, code_softmax, None, priors)  # [B, W, S]
        children = trie.advance(depth, path[..., depth], codes[..., depth])
        places = beams[..., depth] * trie.num_slots(depth) + trie.slots_of(depth, path[..., depth], children)
        total = total + log_probs.flatten(1).gather(1, places).masked_fill(~is_open[..., depth], 0.0)
    return torch.empty_like(total).scatter_(1, order, total.masked_fill(~is_item, -torch.inf))
