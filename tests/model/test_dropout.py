"""Dropout on a CPU: the rate, the scale, the gradient, and where it does not act."""

import pytest
import torch

from recbole_mgr.model.backbone.layers import Dropout, random_keep


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_factors_are_zero_as_often_as_asked_and_keep_the_mean(probability, dtype):
    torch.manual_seed(0)
    keep = random_keep(torch.empty(401, 499, dtype=dtype), probability)  # a size that four does not divide
    assert keep.dtype == dtype and keep.shape == (401, 499)
    assert keep.unique().tolist() == pytest.approx([0.0, 1 / (1 - probability)], rel=0.01)
    deviation = (probability * (1 - probability) / keep.numel()) ** 0.5
    assert (keep == 0).float().mean() == pytest.approx(probability, abs=4 * deviation)
    assert keep.float().mean() == pytest.approx(1, abs=0.01 + 4 * deviation / (1 - probability))


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (random_keep(torch.empty(400_000), 0.3) == 0).float()
    for distance in (1, 2, 3, 4, 8):
        together = (dropped[distance:] * dropped[:-distance]).mean()
        assert together == pytest.approx(0.09, abs=0.002)


def test_gradient_passes_where_the_input_did():
    torch.manual_seed(0)
    x = torch.rand(50, 7).add(0.1).requires_grad_()
    y = Dropout(0.4)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y / x).detach())
    assert (x.grad == 0).any() and (x.grad > 1).any()


def test_the_seed_decides_and_evaluation_drops_nothing():
    layer, x = Dropout(0.5), torch.ones(1000)

    def draw(seed):
        torch.manual_seed(seed)
        return layer(x)

    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert layer.eval()(x) is x and Dropout(0.0)(x) is x
