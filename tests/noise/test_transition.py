"""Closed forms go there and back; rows are what is conditioned on, also where classes are unequal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.noise import (
    confident_joint,
    joint_from_posterior,
    joint_from_transition,
    posterior_from_transition,
    posterior_matrix,
    posterior_of,
    transition_from_posterior,
    transition_matrix,
    transition_of,
)

examples = settings(derandomize=True, deadline=None, max_examples=100)

UNEQUAL = np.array([[60, 20, 0], [5, 5, 0], [0, 2, 8]])  # [true, given]


@st.composite
def joints(draw):
    """Joints [true, given] of very unequal classes, some of them without any mass."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K = draw(st.integers(2, 7))
    joint = rng.gamma(0.5, size=(K, K)) * rng.exponential(size=(K, 1)) ** 3
    joint[rng.random(K) < 0.2] = 0
    joint[:, rng.random(K) < 0.2] = 0
    joint[0, 0] += 1
    return joint / joint.sum()


@examples
@given(joints())
def test_there_and_back(joint):
    true_shares, given_shares = joint.sum(axis=1), joint.sum(axis=0)
    T, posterior = transition_of(joint), posterior_of(joint)
    np.testing.assert_allclose(joint_from_transition(T, true_shares), joint, atol=1e-15)
    np.testing.assert_allclose(joint_from_posterior(posterior, given_shares), joint, atol=1e-15)
    np.testing.assert_allclose(posterior_from_transition(T, true_shares), posterior, atol=1e-12)
    np.testing.assert_allclose(transition_from_posterior(posterior, given_shares), T, atol=1e-12)


@examples
@given(joints())
def test_rows_are_distributions(joint):
    for matrix in (transition_of(joint), posterior_of(joint)):
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        assert (matrix >= 0).all()


def test_unequal_classes_by_hand():
    np.testing.assert_allclose(transition_of(UNEQUAL), [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0.2, 0.8]])
    np.testing.assert_allclose(
        posterior_of(UNEQUAL), [[60 / 65, 5 / 65, 0], [20 / 27, 5 / 27, 2 / 27], [0, 0, 1]]
    )


def test_a_class_without_mass_keeps_its_label():
    joint = np.array([[4, 0, 1], [0, 0, 0], [2, 0, 3]])
    np.testing.assert_array_equal(transition_of(joint)[1], [0, 1, 0])
    np.testing.assert_array_equal(posterior_of(joint)[1], [0, 1, 0])


def test_estimates_are_the_closed_forms_of_the_joint():
    rng = np.random.default_rng(0)
    labels, probs = rng.choice(3, 400, p=[0.7, 0.2, 0.1]), rng.dirichlet(np.ones(3), 400)
    joint = confident_joint(labels, probs)
    np.testing.assert_array_equal(transition_matrix(labels, probs), transition_of(joint))
    np.testing.assert_array_equal(posterior_matrix(labels, probs), posterior_of(joint))


@pytest.mark.parametrize("matrix", [[[1, 2, 3]], [1, 2], [[1, -1], [0, 1]], [[np.nan, 1], [0, 1]]])
def test_what_is_no_such_matrix(matrix):
    with pytest.raises(InputError, match="Expected a square matrix without negative or missing numbers"):
        transition_of(matrix)
