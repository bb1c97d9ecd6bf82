"""The default of the public functions: what it must not depend on, and how good it is where truth is known.

Predictions of `simulate_pred_probs` come from a model that never saw a wrong label.
"""

import re
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from kiyome import checks as arrays
from kiyome.errors import InputError
from kiyome.noise import (
    class_dependent_transition,
    find_label_issues,
    inject_label_noise,
    label_issue_probability,
    label_quality,
    posterior_matrix,
    rank_label_issues,
    simulate_pred_probs,
    top_classes,
    transition_matrix,
)
from kiyome.noise.adaptive import (
    adaptive_mask,
    adaptive_quality,
    fit_adaptive,
    fit_top_classes,
    precision_note,
    weakness_note,
)
from kiyome.noise.suspicion import probability_wrong
from kiyome.noise.top_classes import merge_sampled, read_sampled

examples = settings(derandomize=True, deadline=None, max_examples=25)
seeds = st.integers(0, 2**32 - 1)

CLEANLAB_SCORES = [
    ("self_confidence", False),
    ("self_confidence", True),
    ("normalized_margin", False),
    ("normalized_margin", True),
    ("confidence_weighted_entropy", False),
]


def noisy_set(seed=0, N=600, K=4, rate=0.2, **dials):
    rng = np.random.default_rng(seed)
    true_labels = rng.integers(0, K, N)
    labels = inject_label_noise(true_labels, class_dependent_transition(K, rate, rng), rng)
    return true_labels, labels, simulate_pred_probs(true_labels, K, rng, **dials)


def f1(wrong, flagged):
    return 2 * (wrong & flagged).sum() / (wrong.sum() + flagged.sum())


def best_f1(wrong, scores):
    hits = wrong[np.argsort(scores, kind="stable")].cumsum()
    return (2 * hits / (np.arange(1, len(wrong) + 1) + wrong.sum())).max()


@examples
@given(seeds, st.integers(2, 20))
def test_the_order_of_rows_is_nothing(seed, K):
    _, labels, probs = noisy_set(seed, N=300, K=K)
    order = np.random.default_rng(seed).permutation(len(labels))
    np.testing.assert_allclose(
        label_quality(labels[order], probs[order]), label_quality(labels, probs)[order]
    )
    np.testing.assert_array_equal(
        find_label_issues(labels[order], probs[order]), find_label_issues(labels, probs)[order]
    )


@pytest.mark.parametrize("entries", [3, 1000])
def test_blocks_are_nothing(monkeypatch, entries):
    _, labels, probs = noisy_set(K=7)
    whole = label_quality(labels, probs)
    monkeypatch.setattr(arrays, "BLOCK_ENTRIES", entries)
    np.testing.assert_array_equal(label_quality(labels, probs), whole)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("worth_compiled", [0, sys.maxsize])
def test_threads_and_compiled_code_are_nothing(monkeypatch, threads, worth_compiled):
    _, labels, probs = noisy_set(N=30_000, K=30)
    scores, flagged = label_quality(labels, probs), find_label_issues(labels, probs)
    monkeypatch.setattr(top_classes, "WORTH_COMPILED", worth_compiled)
    monkeypatch.setattr(top_classes, "WORTH_THREADS", 0)
    monkeypatch.setattr(top_classes, "num_cores", lambda: threads)
    np.testing.assert_array_equal(label_quality(labels, probs), scores)
    np.testing.assert_array_equal(find_label_issues(labels, probs), flagged)


def test_merged_chunks_are_one_read():
    _, labels, probs = noisy_set(N=30_000)
    chunks = [
        read_sampled(labels[start : start + 7000], probs[start : start + 7000], first_row=start)
        for start in range(0, 30_000, 7000)
    ]
    np.testing.assert_array_equal(
        adaptive_quality(fit_top_classes(merge_sampled(chunks))), label_quality(labels, probs)
    )


@examples
@given(seeds, st.sampled_from([0.4, 3.0]))
def test_the_temperature_of_predictions_is_nothing_to_the_order(seed, temperature):
    """But for probabilities near the floor, and for classes that are not kept: they are one lump."""
    for K, slack in ((3, 1e-4), (8, 2e-3)):
        _, labels, probs = noisy_set(seed, N=400, K=K)
        other = probs ** (1 / temperature)
        other /= other.sum(axis=1, keepdims=True)
        places = [np.argsort(np.argsort(label_quality(labels, p))) for p in (probs, other)]
        assert 1 - np.corrcoef(*places)[0, 1] < slack


def test_a_table_doubled_row_by_row_says_the_same_twice():
    _, labels, probs = noisy_set(N=2000)
    once = label_issue_probability(labels, probs)
    twice = label_issue_probability(np.repeat(labels, 2), np.repeat(probs, 2, axis=0))
    np.testing.assert_array_equal(twice[::2], twice[1::2])
    assert np.abs(twice[::2] - once).mean() < 0.005


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_short_numbers_say_nearly_the_same(dtype):
    _, labels, probs = noisy_set(N=2000)
    shorter = label_issue_probability(labels, probs.astype(dtype))
    assert np.abs(shorter - label_issue_probability(labels, probs)).mean() < 0.005


@pytest.mark.filterwarnings("ignore:All rows of pred_probs prefer")
@examples
@given(seeds, st.integers(2, 5), st.sampled_from([1, 2, 5, 40]), st.sampled_from(["hot", "flat", "any"]))
def test_any_sound_input_gets_an_answer(seed, K, N, look):
    """Single rows, absent classes, one-hot rows, no information at all: finite, in bounds, in order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, N)
    probs = {"hot": np.eye(K)[rng.integers(0, K, N)], "flat": np.full((N, K), 1 / K)}.get(
        look, rng.dirichlet(np.full(K, 0.2), N)
    )
    fit = fit_adaptive(labels, probs)
    scores = adaptive_quality(fit)
    assert np.isfinite(fit.suspicion).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert ((fit.probability >= 0) & (fit.probability <= 1)).all()
    assert find_label_issues(labels, probs).shape == (N,)
    T = transition_matrix(labels, probs, method="adaptive")
    np.testing.assert_allclose(T.sum(axis=1), 1)


def test_a_predictor_that_agrees_flags_nothing():
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert not find_label_issues(labels, np.eye(3)[labels] * 0.7 + 0.1).any()
    assert not find_label_issues(labels, np.eye(3)[labels]).any()


@examples
@given(seeds, st.integers(2, 12))
def test_quality_ranks_as_suspicion_does(seed, K):
    _, labels, probs = noisy_set(seed, N=500, K=K)
    fit = fit_adaptive(labels, probs)
    scores = adaptive_quality(fit)
    order = np.argsort(-fit.suspicion, kind="stable")
    steps = np.diff(scores[order])
    assert (steps >= 0).all()
    assert (steps[np.diff(fit.suspicion[order]) < -1e-6] > 0).all()
    np.testing.assert_allclose(scores, 1 - fit.probability, atol=1e-3)
    np.testing.assert_array_equal(fit.probability, label_issue_probability(labels, probs))


def test_ranking_is_the_mask_with_the_most_suspicious_first():
    _, labels, probs = noisy_set()
    ranked, flagged = rank_label_issues(labels, probs), find_label_issues(labels, probs)
    np.testing.assert_array_equal(np.sort(ranked), np.flatnonzero(flagged))
    assert (np.diff(label_quality(labels, probs)[ranked]) >= 0).all()
    scores = label_quality(labels, probs)
    assert scores[flagged].max() < scores[~flagged].min()


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize("K", [2, 10])
def test_chances_are_near_the_shares_of_wrong_labels(K, rate):
    """The expected calibration error in five parts is below 0.1, also where the note speaks."""
    true_labels, labels, probs = noisy_set(N=10_000, K=K, rate=rate, accuracy=0.95)
    chances, wrong = label_issue_probability(labels, probs), labels != true_labels
    parts = (chances * 5).astype(int).clip(max=4)
    errors = np.bincount(parts, wrong - chances)
    assert np.abs(errors).sum() / len(labels) < 0.1
    assert average_precision_score(wrong, chances) > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_a_precision_is_kept_by_a_strong_predictor(seed):
    true_labels, labels, probs = noisy_set(seed, N=5000, rate=0.1, accuracy=0.97)
    wrong = labels != true_labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = [find_label_issues(labels, probs, precision=p) for p in (0.95, 0.9, 0.6)]
    sizes = [mask.sum() for mask in masks]
    assert 0 < sizes[0] <= sizes[1] <= sizes[2]
    assert [wrong[mask].mean() >= p for mask, p in zip(masks, (0.95, 0.9, 0.6), strict=True)] == [True] * 3
    ranked = rank_label_issues(labels, probs, precision=0.9)
    np.testing.assert_array_equal(np.sort(ranked), np.flatnonzero(masks[1]))


def test_a_precision_of_a_middling_predictor_comes_with_a_warning():
    _, labels, probs = noisy_set(accuracy=0.85)
    with pytest.warns(UserWarning, match=r"agree with \d\d% of the given labels\. Below 80%, a precision"):
        find_label_issues(labels, probs, precision=0.9)
    assert precision_note(fit_adaptive(labels, probs))


def test_a_precision_is_refused_of_a_weak_predictor():
    _, labels, probs = noisy_set(rate=0.6)
    with pytest.raises(
        InputError,
        match=r"agree with \d+% of the given labels only.*half of the labels or more\. Use a better",
    ):
        find_label_issues(labels, probs, precision=0.9)


@pytest.mark.parametrize("precision", [0, 1, 90, np.nan])
def test_a_precision_out_of_range(precision):
    with pytest.raises(
        InputError, match=r"precision=\S+ is no precision\. Expected a number above 0 and below 1\. Pass 0\.9"
    ):
        find_label_issues([0, 1], np.eye(2), precision=precision)


def test_a_precision_belongs_to_the_adaptive_method():
    with pytest.raises(
        InputError, match=r"method both has no precision \(precision=0\.9\)\. Only the method adaptive"
    ):
        find_label_issues([0, 1], np.eye(2), method="both", precision=0.9)


@pytest.mark.parametrize("K", [2, 10])
def test_doubt_that_hides_errors_is_said_for_any_number_of_classes(K):
    """Two classes were never warned: their likeliest class has half of the probability at least."""
    _, labels, probs = noisy_set(N=2000, K=K, rate=0.02, accuracy=0.7)
    note = weakness_note(fit_adaptive(labels, probs)) or ""
    assert re.search(
        r"cannot tell doubt from errors: they agree with \d\d% .*\(kappa 0\.\d\d, below 0\.65\)", note
    )
    _, labels, probs = noisy_set(N=2000, K=K, rate=0.05, accuracy=0.97)
    assert weakness_note(fit_adaptive(labels, probs)) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_doubtful_predictor_never_makes_nearly_certain(seed):
    """Where 2 % of labels are wrong and the predictor is on 30 %, few sure rows are wrong."""
    _, labels, probs = noisy_set(seed, N=5000, K=10, rate=0.02, accuracy=0.7)
    fit = fit_adaptive(labels, probs)
    assert fit.probability.max() <= fit.model.statistics.most < 0.9
    assert (fit.probability >= 0.95).mean() < 0.005


@pytest.mark.parametrize("seed", range(3))
def test_strong_noise_into_few_classes_is_unmixed(seed):
    """Where 40 % flow into two classes, predictions that learned it rank far better once it is unmixed."""
    rng = np.random.default_rng(seed)
    true_labels = rng.integers(0, 8, 3000)
    T = 0.55 * np.eye(8)
    T[:, [0, 5]] += 0.225
    labels = inject_label_noise(true_labels, T, rng)
    probs = simulate_pred_probs(true_labels, 8, rng, accuracy=0.8) @ T
    wrong = labels != true_labels
    theirs = max(
        average_precision_score(wrong, -label_quality(labels, probs, method=method, adjust=adjust))
        for method, adjust in CLEANLAB_SCORES
    )
    fit = fit_adaptive(labels, probs)
    assert fit.model.statistics.unmixing == 1
    assert average_precision_score(wrong, fit.suspicion) > theirs + 0.05
    assert fit.curve.mean == pytest.approx(wrong.mean(), abs=0.12)


def test_the_adaptive_matrices_are_nearer_for_a_weak_predictor():
    rng = np.random.default_rng(0)
    T = class_dependent_transition(5, 0.15, rng)
    true_labels = rng.integers(0, 5, 8000)
    labels = inject_label_noise(true_labels, T, rng)
    probs = simulate_pred_probs(true_labels, 5, rng, accuracy=0.7)
    near, far = (
        np.abs(transition_matrix(labels, probs, method=method) - T).sum()
        for method in ("adaptive", "confident_joint")
    )
    assert near < 0.8 * far
    posterior = posterior_matrix(labels, probs, method="adaptive")
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    assert (posterior.diagonal() > 0.5).all()


def test_unknown_names_list_adaptive():
    with pytest.raises(
        InputError, match=r"The method 'joint' is unknown. Expected one of confident_joint, adaptive"
    ):
        transition_matrix([0, 1], np.eye(2), method="joint")


# Real labels by people, and the paper's own injected noise: never tuned on, read-only bounds.


def shared_sets(shared_data):
    folder = shared_data / "cifar10"
    with np.load(folder / "cifar10n_out_of_fold.npz") as data:
        for name in ("resnet18", "resnet50d", "efficientnet_b1"):
            probs = data[f"aggre_{name}_pred_probs"]
            yield name, data["aggre_given_label"].astype(int), data["aggre_true_label"], probs
    with np.load(folder / "confident_learning_paper.npz") as data:
        for name in ("noise2_sparsity4", "noise4_sparsity2"):
            probs = data[f"{name}_pred_probs"].astype(np.float32)
            probs /= probs.sum(axis=1, keepdims=True)
            yield name, data[f"{name}_given_label"].astype(int), data["true_label"], probs


def test_no_worse_than_the_best_of_cleanlabs_scores_on_the_shared_sets(shared_data):
    """The mask is 0.02 from the best cut on average; where 40 % of labels are wrong, 0.034."""
    gaps = []
    for name, labels, true_labels, probs in shared_sets(shared_data):
        wrong = labels != true_labels
        theirs = max(
            average_precision_score(wrong, -label_quality(labels, probs, method=method, adjust=adjust))
            for method, adjust in CLEANLAB_SCORES
        )
        ours = label_quality(labels, probs)
        assert average_precision_score(wrong, -ours) > theirs - 0.005, name
        gaps.append(best_f1(wrong, ours) - f1(wrong, find_label_issues(labels, probs)))
    assert np.mean(gaps) < 0.02
    assert max(gaps) < 0.04


def test_stated_probabilities_hold_on_peoples_labels(shared_data):
    """Three networks on CIFAR-10N: of rows with 0.9 and more 85 % are wrong; the flagged miss by 0.2."""
    for name, labels, true_labels, probs in [*shared_sets(shared_data)][:3]:
        fit, wrong = fit_adaptive(labels, probs), labels != true_labels
        flagged = adaptive_mask(fit)
        assert wrong[fit.probability >= 0.9].mean() >= 0.85, name
        assert abs(fit.probability[flagged].mean() - wrong[flagged].mean()) < 0.2, name


def test_the_curve_of_the_shared_sets_is_monotone(shared_data):
    _, labels, _, probs = next(shared_sets(shared_data))
    fit = fit_adaptive(labels, probs)
    order = np.argsort(fit.suspicion)
    assert (np.diff(probability_wrong(fit.suspicion[order], fit.curve)) >= -1e-12).all()
