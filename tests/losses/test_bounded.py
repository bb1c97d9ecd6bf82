"""The bounded losses: their limits, their sums, and the mistakes that public copies make."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.losses import (
    active_passive,
    cross_entropy,
    generalized_cross_entropy,
    mean_absolute_error,
    normalized_cross_entropy,
    normalized_focal,
    reverse_cross_entropy,
    symmetric_cross_entropy,
    taylor_cross_entropy,
)

examples = settings(derandomize=True, deadline=None, max_examples=50)


@st.composite
def batches(draw):
    """Hard or soft targets and logits of size 0.1 to 30."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    N, K = draw(st.integers(1, 6)), draw(st.integers(2, 7))
    logits = torch.randn(N, K, generator=rng, dtype=torch.float64) * draw(st.sampled_from([0.1, 2.0, 30.0]))
    soft = torch.randn(N, K, generator=rng, dtype=torch.float64).softmax(1)
    return logits, draw(st.sampled_from([soft, soft.argmax(1)]))


@examples
@given(batches())
def test_generalized_cross_entropy_runs_from_cross_entropy_to_absolute_error(batch):
    assert torch.allclose(generalized_cross_entropy(*batch, q=1e-7), cross_entropy(*batch), rtol=1e-4)
    assert torch.allclose(generalized_cross_entropy(*batch, q=1), mean_absolute_error(*batch))
    middle = [generalized_cross_entropy(*batch, q=q) for q in (0.1, 0.4, 0.7, 1.0)]
    assert all((more <= less + 1e-12).all() for less, more in pairwise(middle))


@examples
@given(batches())
def test_taylor_cross_entropy_runs_from_absolute_error_up_to_cross_entropy(batch):
    logits, targets = batch[0].clamp(-1, 1), batch[1]
    orders = [taylor_cross_entropy(logits, targets, order=order) for order in (1, 2, 6, 1000)]
    assert torch.allclose(orders[0], mean_absolute_error(logits, targets))
    assert all((less <= more).all() for less, more in pairwise(orders))
    assert torch.allclose(orders[-1], cross_entropy(logits, targets))


@examples
@given(batches(), st.floats(0, 10), st.floats(0, 10))
def test_weighted_sums(batch, a, b):
    sce = symmetric_cross_entropy(*batch, alpha=a, beta=b)
    assert torch.allclose(sce, a * cross_entropy(*batch) + b * reverse_cross_entropy(*batch))
    for active in (normalized_cross_entropy, normalized_focal):
        for passive in (reverse_cross_entropy, mean_absolute_error):
            names = {"active": active.__name__, "passive": passive.__name__}
            apl = active_passive(*batch, **names, active_weight=a, passive_weight=b)
            assert torch.allclose(apl, a * active(*batch) + b * passive(*batch))


@examples
@given(batches())
def test_bounds(batch):
    logits, targets = batch
    K = logits.shape[1]
    for loss_fn in (mean_absolute_error, normalized_cross_entropy, normalized_focal):
        assert ((loss_fn(logits, targets) >= 0) & (loss_fn(logits, targets) <= 1)).all()
        every_class = sum(loss_fn(logits, torch.full((len(logits),), k)) for k in range(K))
        expected = (
            K - 1 if loss_fn is mean_absolute_error else 1
        )  # symmetric: the sum over classes is constant
        assert torch.allclose(every_class, torch.full_like(every_class, expected))
    assert (generalized_cross_entropy(logits, targets) <= 1 / 0.7).all()


def test_reverse_cross_entropy_is_a_multiple_of_absolute_error_for_hard_labels():
    logits, labels = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 4
    expected = -math.log(1e-4) * mean_absolute_error(logits, labels)
    assert torch.allclose(reverse_cross_entropy(logits, labels), expected)


def test_symmetric_cross_entropy_is_not_a_multiple_of_cross_entropy():
    logits, labels = torch.tensor([[-0.5, 0.1, 2.0], [0.1, 1.5, -5.0]]), torch.tensor([0, 1])
    ratio = symmetric_cross_entropy(logits, labels) / cross_entropy(logits, labels)
    assert (ratio[0] - ratio[1]).abs() > 1


def test_reversing_is_not_symmetric_for_soft_targets():
    logits, shares = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.9, 0.1]])
    assert reverse_cross_entropy(logits, shares).item() == pytest.approx(
        -0.5 * math.log(0.9) - 0.5 * math.log(0.1)
    )


@pytest.mark.parametrize("logit", [5.0, 10.0, 20.0])
def test_the_gradient_does_not_vanish_where_a_clamp_would_cut_it(logit):
    """With p clamped at 1e-7, or by way of expm1, the gradient is exactly 0 from logits of +-20 on."""
    p = math.exp(-2 * logit) / (1 + math.exp(-2 * logit))
    for loss_fn, expected in (
        (generalized_cross_entropy, p**0.7),
        (mean_absolute_error, p),
        (taylor_cross_entropy, p * (2 - p)),
        (reverse_cross_entropy, p * -math.log(1e-4)),
    ):
        logits = torch.tensor([[logit, -logit]], requires_grad=True)
        loss_fn(logits, torch.tensor([1])).sum().backward()
        assert logits.grad[0, 1].item() == pytest.approx(-expected * (1 - p), rel=1e-4, abs=0)


def test_normalized_cross_entropy_at_the_edge_of_half_precision():
    logits = torch.tensor([[6e4, -6e4, 0.0]], dtype=torch.float16, requires_grad=True)
    loss = normalized_cross_entropy(logits, torch.tensor([1]))
    assert loss.item() == pytest.approx(2 / 3)
    loss.sum().backward()
    assert logits.grad.isfinite().all()


def test_values_out_of_bounds():
    batch = torch.zeros(1, 2), torch.tensor([0])
    with pytest.raises(
        InputError, match=r"q=0 is out of range\. Expected a number, above 0 and at most 1\. Correct q\."
    ):
        generalized_cross_entropy(*batch, q=0)
    with pytest.raises(InputError, match=r"order=1\.5 is not a whole number"):
        taylor_cross_entropy(*batch, order=1.5)
    with pytest.raises(
        InputError, match=r"order=0 is out of range\. Expected a number, at least 1 and at most 1000"
    ):
        taylor_cross_entropy(*batch, order=0)
    with pytest.raises(InputError, match=r"beta=-1 is out of range\. Expected a number, at least 0"):
        symmetric_cross_entropy(*batch, beta=-1)
    with pytest.raises(
        InputError,
        match=r"option active 'focal' is unknown. Expected one of normalized_cross_entropy, normalized_focal",
    ):
        active_passive(*batch, active="focal")
    with pytest.raises(
        InputError,
        match=r"option passive 'mae' is unknown. Expected one of mean_absolute_error, reverse_cross_entropy",
    ):
        active_passive(*batch, passive="mae")
