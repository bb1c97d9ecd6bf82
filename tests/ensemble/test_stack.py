"""No label of a fold reaches what the fold is scored by; estimators come back from their text."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kiyome.artifacts.predictions import floored_log
from kiyome.ensemble import cross_fitted_stack, fit_stack, out_of_fold_flag_probability
from kiyome.ensemble.classifiers import fit_linear_at, fit_trees_for, read_classifier
from kiyome.errors import InputError, MissingExtra
from kiyome.noise import find_label_issues

MODELS = ("linear", "lightgbm")


@pytest.fixture(scope="module")
def noisy():
    """Labels of which a tenth is wrong, two members, four folds."""
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=400)
    labels = np.where(rng.random(400) < 0.1, (true + 1) % 3, true)
    scores = [rng.normal(size=(400, 3)) + 2.5 * np.eye(3)[true] for _ in range(2)]
    members = [np.exp(s) / np.exp(s).sum(axis=1, keepdims=True) for s in scores]
    return labels, members, np.arange(400) % 4


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_noisy", [False, True])
def test_a_folds_labels_change_nothing_that_it_is_scored_by(noisy, model, is_noisy):
    labels, members, folds = noisy
    held = folds == 2
    changed = np.where(held, (labels + 1) % 3, labels)
    before, after = (
        cross_fitted_stack(given, members, folds, model=model, is_noisy=is_noisy)
        for given in (labels, changed)
    )
    assert np.array_equal(before.pred_probs[held], after.pred_probs[held])
    assert not np.array_equal(before.pred_probs[~held], after.pred_probs[~held])
    if is_noisy:
        assert np.array_equal(before.flag_probability[held], after.flag_probability[held])


@pytest.mark.parametrize("model", MODELS)
def test_the_chance_of_a_flag_never_looks_at_the_rows_own_label(noisy, model):
    labels, members, folds = noisy
    held = folds == 0
    changed = np.where(held, (labels + 1) % 3, labels)
    before, after = (
        out_of_fold_flag_probability(given, members, folds, model=model) for given in (labels, changed)
    )
    assert np.array_equal(before[held], after[held])
    assert not np.array_equal(before[~held], after[~held])
    own = find_label_issues(labels, members[0]), find_label_issues(changed, members[0])
    assert not np.array_equal(own[0][held], own[1][held])  # flags themselves do look


def test_flags_are_refused_unless_they_are_said_to_leak(noisy):
    labels, members, folds = noisy
    flags = find_label_issues(labels, np.mean(members, axis=0))
    with pytest.raises(
        InputError, match=r"is_noisy is of type ndarray; flags found by .* Expected True or False"
    ):
        cross_fitted_stack(labels, members, folds, is_noisy=flags)
    leaking = cross_fitted_stack(labels, members, folds, model="lightgbm", leaking_flags=flags)
    assert leaking.stack is None
    assert leaking.notes
    assert "leaks" in leaking.notes[0]
    honest = cross_fitted_stack(labels, members, folds, model="lightgbm", is_noisy=True)
    right = [(each.pred_probs.argmax(axis=1) == labels).mean() for each in (leaking, honest)]
    assert right[0] > right[1] + 0.02


@pytest.mark.parametrize("model", MODELS)
def test_a_stack_is_the_same_each_time_and_from_its_text(noisy, model):
    labels, members, folds = noisy
    first, again = (fit_stack(labels, members, folds, model=model, is_noisy=True) for _ in range(2))
    assert first.final.as_text() == again.final.as_text()
    assert first.flags.as_text() == again.flags.as_text()
    read = read_classifier(model, first.final.as_text())
    features = np.random.default_rng(1).normal(size=(9, 7))
    assert np.array_equal(read.predict(features), first.final.predict(features))
    assert_allclose(first.predict(members).sum(axis=1), 1, atol=1e-9)


def test_the_linear_model_is_scikit_learns():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    labels, features = rng.integers(3, size=300), rng.normal(size=(300, 4))
    features[:, 0] += labels
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, tol=1e-8)).fit(features, labels)
    ours = fit_linear_at(0.1, features, labels, 3)
    assert_allclose(ours.predict(features), theirs.predict_proba(features), atol=2e-3)


@pytest.mark.parametrize("fit", [lambda *a: fit_linear_at(0.1, *a), lambda *a: fit_trees_for(5, *a)])
@pytest.mark.parametrize("present", [(0, 2), (0, 1, 3)])
def test_a_class_that_no_row_has_gets_next_to_nothing(fit, present):
    rng = np.random.default_rng(0)
    labels = rng.choice(present, size=200)
    probs = fit(rng.normal(size=(200, 3)), labels, 4).predict(rng.normal(size=(20, 3)))
    absent = [k for k in range(4) if k not in present]
    assert_allclose(probs.sum(axis=1), 1)
    assert (probs[:, absent] < 1e-6).all()


def test_one_class_alone_is_predicted_for_sure():
    assert_allclose(fit_linear_at(0.1, np.eye(3), np.array([1, 1, 1]), 2).predict(np.eye(3))[:, 1], 1)


def test_better_members_make_better_stacks(noisy):
    labels, members, folds = noisy
    rows = np.arange(len(labels))
    stacked = cross_fitted_stack(labels, members, folds)
    losses = [-floored_log(probs)[rows, labels].mean() for probs in (stacked.pred_probs, *members)]
    assert losses[0] < min(losses[1:])


def test_progress_is_told(noisy):
    labels, members, folds = noisy
    heard = []
    cross_fitted_stack(labels, members, folds, on_progress=lambda *news: heard.append(news))
    assert heard == [("fit stack", done, 5) for done in range(1, 6)]


def test_lightgbm_is_asked_for_by_its_extra(noisy, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match=r"pip install 'kiyome\[stack\]'"):
        cross_fitted_stack(*noisy, model="lightgbm")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "forest"}, r"The model 'forest' is unknown. Expected one of linear, lightgbm"),
        (
            {"is_noisy": True, "leaking_flags": np.zeros(400, bool)},
            r"Both is_noisy and leaking_flags are given",
        ),
        (
            {"leaking_flags": np.zeros(3, bool)},
            r"leaking_flags has shape \(3,\) of bool\. Expected a mask of 400 rows",
        ),
        ({"leaking_flags": np.zeros(400)}, r"leaking_flags has shape .* of float64"),
    ],
)
def test_what_cannot_be_stacked_is_told(noisy, options, message):
    with pytest.raises(InputError, match=message):
        cross_fitted_stack(*noisy, **options)


def test_two_folds_are_too_few(noisy):
    labels, members, folds = noisy
    with pytest.raises(InputError, match=r"number of folds is 2\. Expected 3 or more"):
        cross_fitted_stack(labels, members, folds % 2)
