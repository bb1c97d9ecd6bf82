"""Cross entropy's relatives reduce to it, and the Taylor softmax behaves as in its warning."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.losses import (
    bootstrap,
    confidence_regularized,
    cross_entropy,
    focal,
    taylor_cross_entropy,
    taylor_softmax,
)

examples = settings(derandomize=True, deadline=None, max_examples=50)


@st.composite
def batches(draw):
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    N, K = draw(st.integers(1, 6)), draw(st.integers(2, 7))
    logits = torch.randn(N, K, generator=rng, dtype=torch.float64) * draw(st.sampled_from([0.1, 2.0, 30.0]))
    return logits, torch.randint(0, K, (N,), generator=rng)


@examples
@given(batches(), st.floats(0, 1))
def test_label_smoothing_identities(batch, eps):
    logits, labels = batch
    K = logits.shape[1]
    ours = cross_entropy(logits, labels, label_smoothing=eps)
    every_class = torch.stack([cross_entropy(logits, torch.full_like(labels, k)) for k in range(K)], 1)
    assert torch.allclose(ours, (1 - eps) * cross_entropy(logits, labels) + eps * every_class.mean(1))
    smooth = (1 - eps) * torch.eye(K, dtype=torch.float64)[labels] + eps / K
    assert torch.allclose(ours, cross_entropy(logits, smooth))


@examples
@given(batches())
def test_limits_are_cross_entropy(batch):
    plain = cross_entropy(*batch)
    assert torch.equal(focal(*batch, gamma=0), plain)
    assert torch.allclose(bootstrap(*batch, given_share=1.0), plain)
    assert torch.allclose(confidence_regularized(*batch, beta=0), plain)


@examples
@given(batches(), st.floats(0.1, 3))
def test_confidence_regularization_is_label_smoothing_turned_round(batch, beta):
    """CE - beta * mean is, up to its scale 1 - beta, label smoothing of -beta / (1 - beta)."""
    logits, labels = batch
    uniform = torch.full_like(logits, 1 / logits.shape[1])
    expected = cross_entropy(logits, labels) - beta * cross_entropy(logits, uniform)
    assert torch.allclose(confidence_regularized(logits, labels, beta=beta), expected)


def test_soft_bootstrap_passes_a_gradient_through_its_belief_and_the_hard_one_does_not():
    logits = torch.tensor([[1.0, 0.0]], requires_grad=True)
    (soft,) = torch.autograd.grad(bootstrap(logits, torch.tensor([1]), given_share=0.0).sum(), logits)
    (hard,) = torch.autograd.grad(
        bootstrap(logits, torch.tensor([1]), given_share=0.0, hard=True).sum(), logits
    )
    p = logits.detach().softmax(1)
    entropy = -(p * p.log()).sum()
    assert torch.allclose(soft, -p * (p.log() + entropy))
    assert torch.allclose(hard, p - torch.tensor([[1.0, 0.0]]))


def test_taylor_softmax_keeps_neither_order_nor_shifts():
    logits = torch.tensor([[2.0, -3.0, -6.0]])
    losses = torch.cat([taylor_softmax(logits, torch.tensor([k])) for k in range(3)])
    assert losses.argmin() == 2  # the class of the lowest logit
    assert cross_entropy(logits, torch.tensor([2])) > 8 > 1 > losses[2]
    shifted = torch.cat([taylor_softmax(logits + 6, torch.tensor([k])) for k in range(3)])
    assert shifted.argmin() == 0


def test_the_two_losses_called_taylor_cross_entropy_are_different():
    logits, labels = torch.tensor([[-0.5, 0.1, 2.0]]), torch.tensor([0])
    assert (taylor_softmax(logits, labels) - taylor_cross_entropy(logits, labels)).abs() > 1


@pytest.mark.parametrize("order", [1, 3, 8, 2.5, "2"])
def test_taylor_softmax_has_three_orders(order):
    with pytest.raises(
        InputError, match=r"order=.* is unknown\. Expected 2, 4 or 6\. Choose one of these orders\."
    ):
        taylor_softmax(torch.zeros(1, 2), torch.tensor([0]), order=order)


def test_values_out_of_bounds():
    batch = torch.zeros(1, 2), torch.tensor([0])
    with pytest.raises(
        InputError,
        match=r"label_smoothing=1\.5 is out of range\. Expected a number, at least 0 and at most 1",
    ):
        cross_entropy(*batch, label_smoothing=1.5)
    with pytest.raises(InputError, match=r"gamma=0\.5 is out of range\. Expected a number, at least 1"):
        focal(*batch, gamma=0.5)
    with pytest.raises(
        InputError, match=r"given_share=nan is not a number\. Expected a number, at least 0 and at most 1"
    ):
        bootstrap(*batch, given_share=float("nan"))
    with pytest.raises(InputError, match=r"beta='2' is not a number\. Expected a number, at least 0"):
        confidence_regularized(*batch, beta="2")
