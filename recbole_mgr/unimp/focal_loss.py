"""Token-level re-weighting: easy tokens count less (UniMP's focal loss)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def focal_loss(log_prob: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Mean over tokens of ``weight * (1 - p)^gamma * (-log p)``, in float32.

    Args:
        log_prob: float [T], log p of each target token.
        weight: float [T], the weight of the token's task.
        gamma: >= 0; 0 is the weighted cross-entropy.

    Returns:
        float32 scalar; 0 where there are no tokens.

    Raises:
        ValueError: If ``gamma`` is negative: it would weigh easy tokens up.

    Source: Wei et al., UniMP (arXiv 2403.10667), after Lin et al., Focal loss (arXiv 1708.02002), without its alpha.
    As in UniMP's code, the factor (1 - p)^gamma is not detached: its gradient belongs to the loss.
    """
    if gamma < 0:
        raise ValueError(f"focal_gamma: {gamma} is negative; use 0 for plain cross-entropy or a value above it")
    log_prob = log_prob.float()
    # The derivative of x^gamma at 0 is infinite for gamma < 1, hence the smallest number instead of 0.
    miss = (-torch.expm1(log_prob)).clamp(min=torch.finfo(torch.float32).tiny)  # [T], 1 - p
    return -(weight.float() * miss.pow(gamma) * log_prob).sum() / max(len(log_prob), 1)


def target_log_prob(head: nn.Module, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Log-probability of the target tokens over the whole vocabulary, by one softmax.

    Args:
        head: the output layer, hidden [T, H] -> logits [T, V].
        hidden: float [T, H], hidden states of the positions that predict a target, and of no others.
        token_ids: int64 [T], the targets.

    Returns:
        float32 [T].
    """
    logits = head(hidden).float()  # [T, V]
    return -F.cross_entropy(logits, token_ids, reduction="none")


def focal_posterior(probability: Tensor, gamma: float) -> Tensor:
    """What a model trained with focal loss believes: its own probabilities are flatter than the frequencies it learned.

    At the minimum of the expected loss, a class of frequency f and predicted probability q has f proportional to
    1 / -l'(q), where l(q) = -(1 - q)^gamma log q.

    Args:
        probability: [..., C], adding up to 1.
        gamma: of the loss; 0 changes nothing.

    Returns:
        [..., C], adding up to 1.

    Source: Charoenphakdee et al., "On Focal Loss for Class-Posterior Probability Estimation" (CVPR 2021).
    """
    q = probability.clamp(1e-12, 1 - 1e-9)
    steepness = (1 - q) ** gamma / q - gamma * (1 - q) ** (gamma - 1) * q.log()
    return (1 / steepness) / (1 / steepness).sum(-1, keepdim=True)
