"""Logits become probabilities as the loss reads them: right where it is least, and better on digits."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from kiyome.errors import StaleArtifact
from kiyome.losses import LOSSES, SOFTMAX, Link, link_of_loss, make_loss, stored_link
from kiyome.noise.transition import class_dependent_transition, inject_label_noise

OWN_LINK = [
    ("bi_tempered", {}),
    ("bi_tempered", {"t1": 0.6, "t2": 2.0}),
    ("bi_tempered", {"t1": 0.3, "t2": 0.8}),
    ("taylor_softmax", {}),
    ("taylor_softmax", {"order": 4}),
]
own_link = pytest.mark.parametrize(("loss", "options"), OWN_LINK)


@pytest.mark.parametrize(("loss", "options"), [("cross_entropy", {}), *OWN_LINK])
def test_the_loss_is_least_where_its_link_gives_the_shares_of_the_labels(loss, options):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=rng, dtype=torch.float64).mul(1.5).requires_grad_()
    shares = link_of_loss(loss, options)(logits.detach())
    (slope,) = torch.autograd.grad(make_loss(loss, **options)(logits, shares).sum(), logits)
    assert slope.abs().max() < 1e-9
    if loss != "cross_entropy":
        (slope,) = torch.autograd.grad(make_loss(loss, **options)(logits, logits.softmax(1)).sum(), logits)
        assert slope.abs().max() > 1e-3


def tempered_by_bisection(logits, t):
    """One row's probabilities in float64: the normalizer is searched for, with 200 halvings."""

    def exp_t(x):
        return max(1 + (1 - t) * x, 0.0) ** (1 / (1 - t))

    low, high = max(logits), max(logits) + (len(logits) ** (t - 1) - 1) / (t - 1)  # one share of 1; K of 1/K
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(exp_t(z - middle) for z in logits) > 1 else (low, middle)
    return [exp_t(z - high) for z in logits]


def polynomial_by_hand(logits, order):
    f = [sum(z**k / math.factorial(k) for k in range(order + 1)) for z in logits]
    return [each / sum(f) for each in f]


@pytest.mark.parametrize("size", [0.5, 5.0, 40.0])
def test_links_equal_a_slow_computation(size):
    logits = torch.randn(40, 8, generator=torch.Generator().manual_seed(1)) * size
    for option in (0.7, 1.2, 1.4, 2.0, 3.0):
        expected = [tempered_by_bisection(row, option) for row in logits.double().tolist()]
        probs = Link("tempered_softmax", {"temperature": option})(logits)
        torch.testing.assert_close(probs, torch.tensor(expected), atol=5e-6, rtol=0)
    for order in (2, 4, 6):
        expected = [polynomial_by_hand(row, order) for row in logits.double().tolist()]
        probs = Link("polynomial", {"order": order})(logits)
        torch.testing.assert_close(probs, torch.tensor(expected), atol=2e-6, rtol=0)


def test_all_other_losses_are_read_by_softmax_to_the_last_bit():
    logits = torch.randn(9, 5, generator=torch.Generator().manual_seed(2)) * 4
    for loss in LOSSES:
        link = link_of_loss(loss, {})
        assert (link == SOFTMAX) == (loss not in ("bi_tempered", "taylor_softmax"))
    assert torch.equal(SOFTMAX(logits), logits.softmax(1))


@own_link
def test_a_link_is_stored_and_read_again(loss, options):
    link = link_of_loss(loss, options)
    assert stored_link({"link": link.as_dict()}) == link
    assert stored_link({}) == SOFTMAX


def test_scores_are_logits_where_these_keep_the_order_of_probabilities():
    logits = torch.tensor([[2.0, -6.0, 0.5]])
    assert torch.equal(link_of_loss("bi_tempered", {}).scores(logits), logits)
    assert link_of_loss("taylor_softmax", {}).scores(logits).argmax() == 1


def test_a_link_of_another_version_is_an_error():
    with pytest.raises(
        StaleArtifact,
        match=r"member.json of quick-fold0 has the unknown link 'probit'\. Known links are softmax, ",
    ):
        stored_link({"member": "quick-fold0", "link": {"name": "probit"}})


def test_held_out_digits_are_predicted_with_less_log_loss():
    """A linear head on 900 noisy digits, read on the other 897: see docs/log.md for whole figures."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    labels = inject_label_noise(digits.target, class_dependent_transition(10, 0.2, rng), rng)
    X, y = torch.tensor(digits.data / 16 - 0.3), torch.tensor(labels)
    head = torch.nn.Linear(64, 10, dtype=torch.float64)
    torch.nn.init.zeros_(head.weight)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=15, line_search_fn="strong_wolfe")
    loss_fn = make_loss("bi_tempered")

    def closure():
        optimizer.zero_grad()
        loss = loss_fn(head(X[:900]), y[:900]).mean() + 5e-4 * (head.weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        logits = head(X[900:])
    by_link, by_softmax = (
        -link(logits)[torch.arange(897), y[900:]].log().mean().item()
        for link in (link_of_loss("bi_tempered", {}), SOFTMAX)
    )
    assert by_link < by_softmax - 0.15
