"""A known temperature is found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from kiyome.ensemble import (
    at_temperature,
    calibrate_pred_probs,
    fit_temperature,
)
from kiyome.errors import InputError


def drawn(seed, num_rows=20_000, num_classes=4):
    """Probabilities, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(num_classes, 0.5), size=num_rows)
    labels = (rng.random((num_rows, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=num_classes - 1)
    return labels, probs


@given(temperature=st.floats(0.4, 4), seed=st.integers(0, 50))
@settings(derandomize=True, deadline=None, max_examples=12)
def test_a_known_temperature_is_found_again(temperature, seed):
    labels, probs = drawn(seed)
    sharpened = at_temperature(probs, 1 / temperature)
    assert fit_temperature(labels, sharpened) == pytest.approx(temperature, rel=0.06)


def test_the_temperature_is_that_of_a_general_solver():
    labels, probs = drawn(1, num_rows=500)
    rows = np.arange(500)

    def loss(temperature):
        return -np.log(at_temperature(probs, temperature)[rows, labels]).mean()

    found = minimize_scalar(loss, bounds=(0.2, 5), method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(labels, probs) == pytest.approx(found.x, rel=1e-4)


def test_temperature_one_changes_nothing_and_no_temperature_changes_the_choice():
    _, probs = drawn(2, num_rows=200)
    assert_allclose(at_temperature(probs, 1.0), probs, atol=1e-6)
    assert (at_temperature(probs, 3.0).argmax(axis=1) == probs.argmax(axis=1)).all()


def test_a_folds_labels_have_no_say_in_its_temperature():
    labels, probs = drawn(3, num_rows=300)
    folds = np.arange(300) % 3
    held = folds == 0
    changed = np.where(held, (labels + 1) % 4, labels)
    before, after = (calibrate_pred_probs(given, probs, folds) for given in (labels, changed))
    assert np.array_equal(before.pred_probs[held], after.pred_probs[held])
    assert before.temperature != after.temperature
    assert before.temperature_by_fold[0] == fit_temperature(labels[~held], probs[~held])


def test_a_model_that_is_always_right_has_a_temperature_that_ends():
    labels, sure = [0, 1] * 10, [[0.9, 0.1], [0.1, 0.9]] * 10
    assert 1 / 50 <= fit_temperature(labels, sure) < 0.1
    assert fit_temperature([1, 0] * 10, sure) == pytest.approx(50)


def test_wrong_numbers_are_told():
    with pytest.raises(InputError, match=r"temperature=0\S*: expected a number above zero"):
        at_temperature([[0.5, 0.5]], 0)
