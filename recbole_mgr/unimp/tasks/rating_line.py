"""Ratings that start from the biases of user and item, which the network corrects (ours)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recbole_mgr.unimp.personal_data import PersonalData
from recbole_mgr.unimp.tasks.rating_baseline import RatingBaseline


class RatingLine(nn.Module):
    """rating = a + b * mean with biases + c * rating that the network expects, fitted on validation by least squares.

    The slopes tell how far each is to be trusted: after focal loss and few steps a network's expectations are nearer to
    their mean than the ratings are. All is kept with the network's weights.

    Args:
        num_items: N.
        baseline: of the training ratings; None leaves room for it.
    """

    line: Tensor
    mean: Tensor
    item_bias: Tensor
    user_shrinkage: Tensor

    def __init__(self, num_items: int, baseline: RatingBaseline | None = None) -> None:
        super().__init__()
        self._baseline = baseline
        item_bias = np.zeros(num_items + 1) if baseline is None else baseline.item_bias
        self.register_buffer("line", torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))  # a, b, c
        self.register_buffer("item_bias", torch.from_numpy(item_bias))  # [N + 1]
        self.register_buffer("mean", torch.tensor(baseline.mean if baseline else 0.0, dtype=torch.float64))
        shrinkage = float(baseline.user_shrinkage) if baseline else 1.0
        self.register_buffer("user_shrinkage", torch.tensor(shrinkage, dtype=torch.float64))

    @property
    def note(self) -> str:
        """What a table says below about it."""
        start, of_bias, of_network = self.line.tolist()
        return (
            f"UniMP's row: {start:.2f} + {of_bias:.2f} x user and item bias + {of_network:.2f} x what the network "
            "expects, fitted on validation; ours and not the paper's."
        )

    def baseline(self, data: PersonalData) -> RatingBaseline:
        """What the line starts from; in a loaded run users are judged by the histories of the cases alone."""
        if self._baseline is not None:
            return self._baseline
        return RatingBaseline(data, self.mean.item(), self.item_bias.cpu().numpy(), self.user_shrinkage.item())

    def fit(self, by_bias: np.ndarray, expected: np.ndarray, truth: np.ndarray) -> None:
        """Take the line that errs least, by squares, on n ratings of the validation part, float64 [n] each."""
        columns = np.stack([np.ones(len(truth)), by_bias, expected], axis=1)  # [n, 3]
        self.line.copy_(torch.from_numpy(np.linalg.lstsq(columns, truth, rcond=None)[0]))

    def predict(self, by_bias: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Ratings float64 [n], from those of the baseline and the network."""
        start, of_bias, of_network = self.line.tolist()
        return start + of_bias * by_bias + of_network * expected
