"""The audited difference of two models: unbiased over every sample, a loop as oracle, coverage, bounds."""

from itertools import combinations, product

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.audit import UNSURE, CheckedSample
from kiyome.evaluation.audit_design import AuditDesign, Strata, draw_audit, draw_from, strata_of
from kiyome.evaluation.audited_difference import audited_difference, difference_estimate, expected_difference
from kiyome.noise import inject_label_noise, simulate_pred_probs

TRANSITION = np.array([[0.9, 0.1, 0.0], [0.05, 0.8, 0.15], [0.0, 0.1, 0.9]])
N = 6000


@pytest.fixture(scope="module")
def population() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True labels, given labels, probabilities of two models, the first the better one."""
    rng, truth = np.random.default_rng(0), np.arange(N) % 3
    good, bad = (simulate_pred_probs(truth, 3, rng, accuracy=accuracy) for accuracy in (0.93, 0.9))
    return truth, inject_label_noise(truth, TRANSITION, rng), good, bad


def in_truth(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    return float(np.mean(first.argmax(axis=1) == truth) - np.mean(second.argmax(axis=1) == truth))


def near(first: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """The first model, which on this share of the rows predicts as the other."""
    return np.where((np.random.default_rng(1).random(N) < share)[:, np.newaxis], other, first)


def strata_at(stratum_of_row: list[int]) -> Strata:
    num_strata = max(stratum_of_row) + 1
    return Strata(
        stratum_of_row=np.array(stratum_of_row, dtype=np.int8),
        num_disagreeing=0,
        guesses=np.full(num_strata, 0.5),
        spreads=np.full(num_strata, 0.5),
    )


def test_the_mean_over_every_sample_is_the_truth_whatever_is_guessed() -> None:
    rng, strata = np.random.default_rng(3), strata_at([0, 0, 0, 0, 1, 1, 1, 1, 1])
    truth, labels = np.array([0, 1, 1, 0, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 0, 0, 1, 0, 1])
    first, second = (rng.dirichlet([0.5, 0.5], 9) for _ in range(2))
    values = [
        audited_difference(
            AuditDesign(rows=np.array([*a, *b]), strata=strata, seed=0),
            truth[[*a, *b]],
            labels,
            first,
            second,
        ).difference.value
        for a, b in product(combinations(range(4), 2), combinations(range(4, 9), 3))
    ]
    assert len(values) == 60
    assert np.ptp(values) > 0.1
    assert np.mean(values) == pytest.approx(in_truth(truth, first, second))


def test_values_are_those_of_a_plain_loop(population) -> None:
    truth, labels, good, bad = population
    design = draw_audit(labels, good, 150)
    guess, differ = expected_difference(labels, good, bad)
    total = guess.sum()
    for row, weight in zip(design.rows, design.weights, strict=True):
        d = int(good[row].argmax() == truth[row]) - int(bad[row].argmax() == truth[row])
        assert differ[row] or (d == 0 and guess[row] == 0)
        total += weight * (d - guess[row])
    found = audited_difference(design, truth[design.rows], labels, good, bad)
    assert found.difference.value == pytest.approx(total / N)
    turned = audited_difference(design, truth[design.rows], labels, bad, good)
    assert turned.difference.value == pytest.approx(-found.difference.value)
    assert (turned.only_first, turned.only_second) == (found.only_second, found.only_first)


@pytest.mark.parametrize(
    ("share", "sign", "labeled"), [(1, 1, 1), (1, -1, 1), (0.05, 1, 1), (0.05, -1, 1), (1, 1, 0)]
)
def test_repeated_audits_cover_the_truth_also_of_near_equal_models_and_without_labels(
    population, share: float, sign: int, labeled: int
) -> None:
    truth, labels, good, bad = population
    labels = labels if labeled else None
    second = near(good, bad, share)
    strata = strata_of(labels, good)
    guess, differ = expected_difference(labels, good, second)
    d = (good.argmax(axis=1) == truth).astype(float) - (second.argmax(axis=1) == truth)
    held, values = [], []
    for seed in range(300):
        drawn = CheckedSample.of(design := draw_from(strata, 100, seed=seed), design.rows)
        value, error = difference_estimate(
            drawn, d[drawn.rows], sign * guess, differ
        )  # turned round, they are all wrong
        held.append(abs(value - d.mean()) <= 1.96 * error)
        values.append(value)
    assert np.mean(held) > 0.91
    assert abs(np.mean(values) - d.mean()) < 3.5 * np.std(values) / np.sqrt(300)


def test_it_tells_more_than_a_plain_paired_sample(population) -> None:
    truth, labels, good, bad = population
    d = (good.argmax(axis=1) == truth).astype(float) - (bad.argmax(axis=1) == truth)
    strata = strata_of(labels, good)
    values = []
    for seed in range(100):
        design = draw_from(strata, 200, seed=seed)
        values.append(audited_difference(design, truth[design.rows], labels, good, bad).difference.value)
    assert np.std(values) < 0.8 * d.std() / np.sqrt(200)


def test_the_same_model_twice_differs_by_nothing(population) -> None:
    truth, labels, good, _ = population
    design = draw_audit(labels, good, 60)
    found = audited_difference(design, truth[design.rows], labels, good, good)
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert (found.verdict, found.rows_needed, found.num_differing) == ("cannot tell", None, 0)
    assert found.describe() == "cannot tell: +0.00 points (+0.00 to +0.00, 60 rows checked)"


def test_no_interval_reaches_beyond_the_rows_on_which_they_differ(population) -> None:
    truth, labels, good, bad = population
    second = near(good, bad, 0.05)
    design = draw_audit(labels, good, 40)
    found = audited_difference(design, truth[design.rows], labels, good, second)
    most = found.num_differing / N
    assert 0 < most < 0.02
    assert -most <= found.difference.low <= found.difference.value <= found.difference.high <= most


def test_unsure_rows_are_bounded(population) -> None:
    truth, labels, good, bad = population
    design = draw_audit(labels, good, 300)
    sure = audited_difference(design, truth[design.rows], labels, good, bad)
    assert sure.bounds == pytest.approx((sure.difference.low, sure.difference.high))
    said = truth[design.rows].copy()
    said[::5] = UNSURE
    found = audited_difference(design, said, labels, good, bad)
    assert found.difference.num_rows == 240
    assert found.bounds[0] < min(found.difference.low, sure.difference.value)
    assert found.bounds[1] > max(found.difference.high, sure.difference.value)


def test_a_difference_that_cannot_be_told_says_how_many_rows_would_tell(population) -> None:
    truth, labels, good, bad = population
    few = draw_audit(labels, good, 40, seed=1)
    found = audited_difference(few, truth[few.rows], labels, good, bad)
    assert found.verdict == "cannot tell"
    assert 40 < found.rows_needed < N
    assert "checked rows are needed" in found.describe()
    every = draw_audit(labels, good, N)
    whole = audited_difference(every, truth[every.rows], labels, good, bad)
    assert whole.difference.value == pytest.approx(in_truth(truth, good, bad))
    assert (whole.verdict, whole.rows_needed) == ("better", None)


def test_what_does_not_fit_is_refused(population) -> None:
    truth, labels, good, bad = population
    design = draw_audit(labels, good, 40)
    with pytest.raises(InputError, match=r"true_labels have .*Expected whole numbers from 0 to 2"):
        audited_difference(design, [9], labels, good, bad)
    with pytest.raises(InputError):
        audited_difference(design, truth[design.rows], labels[1:], good, bad)
    with pytest.raises(InputError, match="rows of the design and the same classes in both"):
        audited_difference(design, truth[design.rows], labels[1:], good[1:], bad[1:])
