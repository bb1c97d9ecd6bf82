"""The tempered softmax sums to one, keeps order, has its zeros; the loss is a divergence, and bounded."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.losses import bi_tempered, cross_entropy, tempered_softmax

examples = settings(derandomize=True, deadline=None, max_examples=60)
temperatures = st.sampled_from([0.1, 0.5, 0.9, 0.99, 1.0, 1.01, 1.2, 1.4, 2.0, 4.0])


@examples
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 100, 1000]), temperatures, st.floats(-3, 4.8))
def test_probabilities_sum_to_one(seed, K, t, log_size):
    """In float64 to 1e-9; in float32 to 1e-5 from t = 0.5 on, where exp_t does not magnify rounding."""
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, K, generator=rng, dtype=torch.float64) * 10**log_size
    logits[1] = (logits[1] > logits[1].median()) * 10**log_size  # two levels
    logits[2, 1:] = -(10**log_size)  # one class far above the others
    assert (tempered_softmax(logits, temperature=t).sum(1) - 1).abs().max() < 1e-9
    if t >= 0.5:
        assert (tempered_softmax(logits.float(), temperature=t).sum(1) - 1).abs().max() < 1e-5


def test_fifty_thousand_classes():
    logits = torch.randn(2, 50_000, generator=torch.Generator().manual_seed(0))
    for t in (0.99, 1.01, 2.0, 4.0):
        assert (tempered_softmax(logits, temperature=t).sum(1) - 1).abs().max() < 1e-5


@examples
@given(st.integers(0, 2**32 - 1), temperatures)
def test_order_is_kept(seed, t):
    logits = (
        torch.randn(3, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sort(1).values
    )
    assert (tempered_softmax(logits, temperature=t).diff(dim=1) >= 0).all()


def test_temperature_one_is_softmax_and_others_have_heavier_or_no_tails():
    logits = torch.tensor([[3.0, 0.0, -20.0]])
    light, plain, heavy = (tempered_softmax(logits, temperature=t) for t in (0.5, 1.0, 1.5))
    assert torch.allclose(plain, logits.softmax(1))
    assert light[0, 2] == 0
    assert heavy[0, 2] > 1e-3 > plain[0, 2] > 0


@examples
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 40]), st.booleans())
def test_at_temperatures_one_it_is_cross_entropy_minus_the_entropy_of_the_target(seed, K, soft):
    rng = torch.Generator().manual_seed(seed)
    logits, shares = torch.randn(2, 3, K, generator=rng, dtype=torch.float64) * 3
    shares = shares.softmax(1)
    targets = shares if soft else shares.argmax(1)
    entropy = -(shares * shares.log()).sum(1) if soft else 0
    logits.requires_grad_()
    ours, plain = bi_tempered(logits, targets, t1=1, t2=1), cross_entropy(logits, targets)
    assert torch.allclose(ours, plain - entropy)
    assert torch.allclose(*(torch.autograd.grad(each.sum(), logits)[0] for each in (ours, plain)))


def test_the_soft_label_choice_is_the_limit_of_the_formula():
    logits, shares = torch.tensor([[1.0, -1.0]], dtype=torch.float64), torch.tensor([[0.7, 0.3]])
    near = bi_tempered(logits, shares, t1=1 - 1e-7, t2=1 + 1e-7)
    assert torch.allclose(near, bi_tempered(logits, shares, t1=1, t2=1), atol=1e-6)
    at_target = tempered_softmax(logits, temperature=1.3)
    assert bi_tempered(logits, at_target, t1=0.6, t2=1.3).abs().item() < 1e-12


@pytest.mark.parametrize(("t1", "bound"), [(0.8, 5.0), (0.5, 2.0), (0.0, 1.0)])
def test_a_hard_label_costs_at_most_the_bound_of_t1(t1, bound):
    logits = torch.tensor([[6e4, -6e4, 0.0], [50.0, -50.0, 0.0], [2.0, 0.0, 1.0]])
    losses = bi_tempered(logits, torch.tensor([1, 1, 1]), t1=t1, t2=1.0)
    assert (losses <= bound + 1e-5).all()
    assert losses[0].item() == pytest.approx(bound, rel=1e-5)


def test_gradient_is_the_closed_form():
    """With d = (p - y) p^(t2 - t1) and e = p^t2 / sum p^t2, it is d - e sum d."""
    logits = torch.randn(
        4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    y = torch.eye(6, dtype=torch.float64)[:4]
    for t1, t2 in ((0.8, 1.4), (0.2, 4.0), (0.5, 0.8), (1.0, 1.0)):
        p = tempered_softmax(logits.detach(), temperature=t2)
        d, e = (p - y) * p ** (t2 - t1), p**t2 / (p**t2).sum(1, keepdim=True)
        (ours,) = torch.autograd.grad(bi_tempered(logits, y, t1=t1, t2=t2).sum(), logits)
        assert torch.allclose(ours, d - e * d.sum(1, keepdim=True), atol=1e-10)


def test_the_gradient_does_not_vanish_at_probabilities_that_float32_adds_nothing_to():
    logits = torch.tensor([[20.0, -20.0]], requires_grad=True)
    bi_tempered(logits, torch.tensor([1]), t1=0.5, t2=1.0).sum().backward()
    p = math.exp(-40)
    assert logits.grad[0, 1].item() == pytest.approx(-(p**0.5), rel=1e-4, abs=0)


def test_exact_zeros_give_finite_gradients():
    logits = torch.tensor([[5.0, -5.0, -6.0]], requires_grad=True)
    loss = bi_tempered(logits, torch.tensor([1]), t1=0.5, t2=0.8)
    loss.sum().backward()
    assert tempered_softmax(logits, temperature=0.8)[0, 1] == 0
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_temperatures_out_of_order():
    batch = torch.zeros(1, 2), torch.tensor([0])
    with pytest.raises(InputError, match=r"t2=0\.8 is below t1=0\.9\. Raise t2 or lower t1\."):
        bi_tempered(*batch, t1=0.9, t2=0.8)
    with pytest.raises(
        InputError, match=r"t1=1\.2 is out of range\. Expected a number, at least 0 and at most 1\."
    ):
        bi_tempered(*batch, t1=1.2, t2=1.4)
    with pytest.raises(InputError, match=r"temperature=0 is out of range\. Expected a number, above 0\."):
        tempered_softmax(batch[0], temperature=0)
