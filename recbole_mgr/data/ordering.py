"""The order of many numbers, in time that grows as their number does."""

from __future__ import annotations

import numpy as np
import torch

_LARGEST = 2**31 - 1  # of the differences that are sorted by their digits


def stable_order(values: np.ndarray) -> np.ndarray:
    """Places of numbers in ascending order, those of equal ones as they stand.

    Numbers that are in order already are not sorted. Whole ones that are no further apart than 2^31 are sorted by their
    digits (radix sort), others by comparisons.

    Args:
        values: integer or float [n], finite.

    Returns:
        int64 [n].
    """
    if len(values) < 2 or not (values[1:] < values[:-1]).any():
        return np.arange(len(values))
    lowest, highest = values.min(), values.max()
    if float(highest) - float(lowest) > _LARGEST or (values.dtype.kind == "f" and (values != np.trunc(values)).any()):
        return np.argsort(values, kind="stable")
    digits = torch.from_numpy((values - lowest).astype(np.int32))
    return digits.argsort(stable=True).numpy()
