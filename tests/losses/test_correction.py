"""The corrections read T by rows, meet the clean loss where they must, and refuse what is no T."""

import numpy as np
import pytest
import torch

from kiyome.errors import InputError
from kiyome.losses import backward_correction, cross_entropy, forward_correction

T = np.array([[0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.2, 0.2, 0.6]])
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(6) % 3


def test_without_noise_both_are_cross_entropy():
    for loss_fn in (forward_correction, backward_correction):
        ours = loss_fn(LOGITS, LABELS, transition_matrix=np.eye(3))
        assert torch.allclose(ours, cross_entropy(LOGITS, LABELS))


def test_forward_predicts_the_given_label_by_the_rows_of_the_true_one():
    sure = torch.tensor([[99.0, 0.0, 0.0]], dtype=torch.float64)  # the true class is 0
    losses = [
        forward_correction(sure, torch.tensor([given]), transition_matrix=T).item() for given in range(3)
    ]
    assert losses == pytest.approx(-np.log(T[0]))


def test_backward_is_right_on_average_over_the_noise():
    """The mean over given labels, drawn by row `true` of T, is the clean loss of `true`."""
    for true in range(3):
        losses = [
            backward_correction(LOGITS, torch.full((6,), given), transition_matrix=T) * T[true, given]
            for given in range(3)
        ]
        assert torch.allclose(sum(losses), cross_entropy(LOGITS, torch.full((6,), true)))


def test_backward_may_be_negative():
    assert (
        backward_correction(torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([0]), transition_matrix=T).item()
        < 0
    )


def test_zeros_in_the_matrix_and_sure_logits_stay_finite():
    """p T underflows to 0 here, its logarithm does not."""
    logits = torch.tensor([[6e4, -6e4]], requires_grad=True)
    for targets in (torch.tensor([1]), torch.tensor([[0.5, 0.5]])):
        loss = forward_correction(logits, targets, transition_matrix=np.eye(2))
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss_fn", [forward_correction, backward_correction])
def test_what_is_no_transition_matrix(loss_fn):
    def loss(matrix):
        return loss_fn(LOGITS, LABELS, transition_matrix=matrix)

    with pytest.raises(
        InputError, match=r"has row sums \[1\.05, 1\.2, 0\.75\]\. .* rows that sum to one\. .* transpose\."
    ):
        loss(T.T)
    with pytest.raises(InputError, match=r"T\[true, given\] has shape \(2, 2\)\. Expected 3 x 3"):
        loss(np.eye(2))
    with pytest.raises(InputError, match=r"never negative"):
        loss([[1.1, -0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(InputError, match=r"Expected 3 x 3"):
        loss([[1.0, 0.0, 0.0], [0.0, float("nan"), 0.0], [0.0, 0.0, 1.0]])
    with pytest.raises(InputError, match=r"T\[true, given\] has shape .* Expected 3 x 3"):
        loss([[1.0], [0.0, 1.0]])
    with pytest.raises(InputError, match=r"T\[true, given\] never gives class 2"):
        loss([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.5, 0.5, 0.0]])


def test_backward_refuses_a_matrix_without_a_safe_inverse():
    even = np.full((3, 3), 1 / 3)
    with pytest.raises(InputError, match=r"is nearly singular.* Use forward_correction"):
        backward_correction(LOGITS, LABELS, transition_matrix=even)
    assert torch.allclose(
        forward_correction(LOGITS, LABELS, transition_matrix=even),
        torch.full((6,), np.log(3), dtype=torch.float64),
    )
