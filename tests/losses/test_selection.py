"""OUSM leaves out the largest losses, after the warm-up, and never everything."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.losses import cross_entropy, keep_small_losses

examples = settings(derandomize=True, deadline=None, max_examples=100)


@examples
@given(st.lists(st.floats(-5, 50, width=32), min_size=1, max_size=20), st.integers(0, 25))
def test_the_largest_are_left_out(values, num_omitted):
    losses = torch.tensor(values)
    mask = keep_small_losses(losses, epoch=5, num_omitted=num_omitted)
    assert mask.sum() == max(len(values) - num_omitted, 1)
    assert sorted(losses[mask].tolist()) == sorted(losses.tolist())[: int(mask.sum())]


def test_it_keeps_the_small_losses_and_not_the_large_ones():
    mask = keep_small_losses(torch.tensor([0.1, 9.0, 0.3, 4.0]), epoch=5, num_omitted=2)
    assert mask.tolist() == [True, False, True, False]


def test_everything_is_kept_up_to_the_end_of_the_warm_up():
    losses = torch.tensor([0.1, 9.0])
    kept = [keep_small_losses(losses, epoch=epoch, warmup_epochs=2).all().item() for epoch in range(4)]
    assert kept == [True, True, False, False]


def test_a_batch_of_one_and_an_empty_batch():
    assert keep_small_losses(torch.tensor([9.0]), epoch=9).tolist() == [True]
    assert keep_small_losses(torch.tensor([]), epoch=9).tolist() == []


def test_a_loss_that_is_not_a_number_stays_in_sight():
    mask = keep_small_losses(torch.tensor([0.1, float("nan"), 0.3]), epoch=9)
    assert mask.tolist() == [True, True, False]


def test_an_infinite_loss_is_the_largest():
    assert keep_small_losses(torch.tensor([0.1, float("inf"), 0.3]), epoch=9).tolist() == [True, False, True]


def test_no_gradient_reaches_the_samples_left_out():
    logits = torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 0.0]], requires_grad=True)
    losses = cross_entropy(logits, torch.tensor([0, 0, 0]))
    losses[keep_small_losses(losses, epoch=9)].mean().backward()
    assert (logits.grad[1] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


def test_bad_counts():
    with pytest.raises(InputError, match=r"num_omitted=-1 is out of range\. Expected a number, at least 0"):
        keep_small_losses(torch.tensor([1.0]), epoch=0, num_omitted=-1)
