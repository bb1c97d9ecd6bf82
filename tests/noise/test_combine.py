"""Several predictors as one: what the mean is made of, and that independent members help."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from kiyome.errors import InputError
from kiyome.noise import (
    class_dependent_transition,
    combine_pred_probs,
    inject_label_noise,
    label_quality,
    simulate_pred_probs,
)

examples = settings(derandomize=True, deadline=None, max_examples=20)


def members_of(seed=0, N=2000, K=4, num_members=2, accuracy=0.85):
    rng = np.random.default_rng(seed)
    true_labels = rng.integers(0, K, N)
    labels = inject_label_noise(true_labels, class_dependent_transition(K, 0.15, rng), rng)
    members = [simulate_pred_probs(true_labels, K, rng, accuracy=accuracy) for _ in range(num_members)]
    return true_labels, labels, members


@pytest.mark.parametrize("seed", range(3))
def test_independent_members_rank_better_than_each(seed):
    true_labels, labels, members = members_of(seed)
    wrong = labels != true_labels
    alone = [average_precision_score(wrong, -label_quality(labels, member)) for member in members]
    together = label_quality(labels, combine_pred_probs(labels, members))
    assert average_precision_score(wrong, -together) > max(alone) + 0.03


@examples
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.7, 2.0]))
def test_an_overconfident_copy_adds_nothing(seed, temperature):
    """Calibration takes its temperature off: what remains is the floor, which the copy meets sooner."""
    _, labels, (member,) = members_of(seed, N=300, num_members=1)
    copy = member ** (1 / temperature)
    copy /= copy.sum(axis=1, keepdims=True)
    alone = combine_pred_probs(labels, [member])
    np.testing.assert_allclose(combine_pred_probs(labels, [member, copy]), alone, atol=0.02)


def test_rows_sum_to_one_in_any_order_of_members():
    _, labels, members = members_of(num_members=3)
    combined = combine_pred_probs(labels, members)
    assert combined.dtype == np.float32
    np.testing.assert_allclose(combined.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(combine_pred_probs(labels, members[::-1]), combined, atol=1e-6)


def test_zeros_and_types_do_not_matter():
    labels = np.arange(40) % 4
    hot = np.eye(4, dtype=np.float16)[labels]
    combined = combine_pred_probs(labels, [hot, np.full((40, 4), 0.25)])
    assert (combined.argmax(axis=1) == labels).all()
    assert np.isfinite(combined).all()


def test_no_member_and_unequal_members_are_refused():
    with pytest.raises(
        InputError, match=r"members have shapes \[\]\. Expected one or more arrays of the same shape"
    ):
        combine_pred_probs([0, 1], [])
    with pytest.raises(InputError, match=r"shapes \[\(2, 2\), \(2, 3\)\]"):
        combine_pred_probs([0, 1], [np.eye(2), np.full((2, 3), 1 / 3)])
    with pytest.raises(InputError, match="Expected finite numbers"):
        combine_pred_probs([0, 1], [np.eye(2), np.full((2, 2), np.nan)])
    with pytest.raises(InputError, match="one label for each row"):
        combine_pred_probs([0], [np.eye(2)])
