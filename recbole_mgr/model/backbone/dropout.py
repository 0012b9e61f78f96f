"""Dropout whose random numbers do not cost a sixth of a training step on a CPU."""

import torch
from torch import Tensor, nn

LEVELS = 2**16  # the probability is rounded to a multiple of 1 / LEVELS


def random_keep(like: Tensor, probability: float) -> Tensor:
    """A factor per entry: 0 with ``probability``, else 1 / (1 - probability).

    torch draws one 53-bit number per entry on a CPU; 16 bits decide as well, and one draw gives four of them.

    Args:
        like: float, any shape; the result has its shape, dtype and device.
        probability: in [0, 1).
    """
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    dropped = round(probability * LEVELS)
    is_kept = draws.view(torch.int16)[: like.numel()] >= dropped - LEVELS // 2
    return is_kept.view(like.shape).to(like.dtype).mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Dropout):
    """``nn.Dropout``, three times as fast on a CPU; elsewhere torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        return x * random_keep(x, self.p)


def use_cheap_dropout(network: nn.Module) -> None:
    """Put `Dropout` in the place of every ``nn.Dropout`` of a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
