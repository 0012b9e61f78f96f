"""The focal loss against float64, its gradients, and the log-probabilities it takes."""

import pytest
import torch
from torch import nn

from recbole_mgr.unimp.focal_loss import focal_loss, focal_posterior, target_log_prob

PROBABILITY = torch.tensor([1e-9, 0.01, 0.3, 0.9, 0.999999], dtype=torch.float64)
WEIGHT = torch.tensor([2.0, 1.0, 2.0, 1.0, 1.0])


def reference(probability, weight, gamma):
    return (weight.double() * (1 - probability) ** gamma * -probability.log()).mean()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_value_and_gradient_are_those_of_the_formula_in_float64(gamma):
    exact = PROBABILITY.log().requires_grad_()
    reference(exact.exp(), WEIGHT, gamma).backward()
    log_prob = PROBABILITY.log().float().requires_grad_()
    loss = focal_loss(log_prob, WEIGHT, gamma)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), reference(PROBABILITY, WEIGHT, gamma), rtol=1e-5, atol=0)
    torch.testing.assert_close(log_prob.grad.double(), exact.grad, rtol=1e-3, atol=1e-9)


def test_half_precision_input_is_weighed_in_float32():
    log_prob = torch.tensor([-1e-4]).bfloat16()
    exact = reference(log_prob.double().exp(), torch.ones(1), 2.0)  # 1 - p would be 0 in bfloat16
    torch.testing.assert_close(focal_loss(log_prob, torch.ones(1), 2.0).double(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_a_certain_token_costs_nothing_and_has_a_finite_gradient(gamma):
    log_prob = torch.zeros(1, requires_grad=True)
    loss = focal_loss(log_prob, torch.ones(1), gamma)
    loss.backward()
    assert loss == 0
    assert log_prob.grad.isfinite().all()


def test_no_tokens_cost_nothing_and_can_be_differentiated():
    log_prob = torch.zeros(0, requires_grad=True)
    loss = focal_loss(log_prob, torch.zeros(0), 2.0)
    loss.backward()
    assert loss == 0


def test_negative_gamma_is_refused():
    with pytest.raises(ValueError, match="focal_gamma: -1"):
        focal_loss(torch.zeros(1), torch.ones(1), -1)


def test_target_log_prob_is_the_log_softmax_of_the_target():
    torch.manual_seed(0)
    head, hidden, token_ids = nn.Linear(4, 7), torch.randn(5, 4), torch.tensor([0, 6, 3, 3, 1])
    expected = head(hidden).double().log_softmax(-1)[torch.arange(5), token_ids]
    torch.testing.assert_close(target_log_prob(head, hidden, token_ids).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_posterior_undoes_what_focal_loss_does_to_frequencies(gamma):
    frequencies = torch.tensor([0.05, 0.15, 0.2, 0.6], dtype=torch.float64)
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15)

    def expected_loss():
        optimizer.zero_grad()
        log_prob = logits.log_softmax(0)
        loss = (frequencies * (1 - log_prob.exp()) ** gamma * -log_prob).sum()
        loss.backward()
        return loss

    optimizer.step(expected_loss)
    learned = logits.detach().softmax(0)
    assert (learned - frequencies).abs().max() > 0.05 or gamma < 2
    torch.testing.assert_close(focal_posterior(learned, gamma), frequencies, rtol=1e-4, atol=1e-5)


def test_the_posterior_of_certainty_is_certain():
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(focal_posterior(certain, 2.0), certain)
