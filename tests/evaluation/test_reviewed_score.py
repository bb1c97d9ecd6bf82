"""The score by a review against the truth, where suspicion is wrong and the model repeats mistakes."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.review_audit import RIGHT, UNSEEN, UNSURE, WRONG, ReviewDesign
from kiyome.evaluation.reviewed_score import ReviewedScore, reviewed_score

N = 800


def world(seed: int) -> tuple[ReviewDesign, np.ndarray, np.ndarray, np.ndarray]:
    """Design, wrong labels, and whether the model is right on given and on true labels."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(N) < 0.12
    repeats = wrong & (rng.random(N) < 0.3)
    right = np.where(wrong, ~repeats & (rng.random(N) < 0.8), rng.random(N) < 0.93)
    on_given = np.where(wrong, repeats, right)
    suspicion = np.clip(np.where(on_given, 0.03, 0.5) * rng.lognormal(0, 0.7, N), 0.001, 0.999)
    ranking = np.argsort(-suspicion, kind="stable")
    design = ReviewDesign(probability=suspicion, ranking=ranking, random_order=rng.permutation(N))
    return design, wrong, on_given, right


def reviewed(seed: int, looks: int, share: float) -> tuple[ReviewedScore, float, float]:
    design, wrong, on_given, right = world(seed)
    answers = np.full(N, UNSEEN)
    seen = design.queue(share)[:looks]
    answers[seen] = np.where(wrong[seen], WRONG, RIGHT)
    return reviewed_score(design, answers, on_given, right & wrong), right.mean(), on_given.mean()


def test_the_interval_holds_the_true_accuracy() -> None:
    found = [reviewed(seed, 250, 0.3) for seed in range(60)]
    covered = [score.accuracy_on_true.low <= true <= score.accuracy_on_true.high for score, true, _ in found]
    errors = [score.accuracy_on_true.value - true for score, true, _ in found]
    off = np.mean([given - true for _, true, given in found])
    assert np.mean(covered) >= 0.93
    assert abs(np.mean(errors)) < 0.3 * abs(off)


def test_without_random_rows_any_unseen_label_may_be_wrong() -> None:
    score, true, given = reviewed(0, 100, 0.0)
    assert score.num_measured == 0
    assert score.accuracy_on_true.value > given
    assert score.accuracy_on_true.low < true < score.accuracy_on_true.high
    assert score.accuracy_on_true.high - score.accuracy_on_true.low > 0.7


def test_a_whole_review_is_a_count() -> None:
    score, true, _ = reviewed(1, N, 0.1)
    assert (score.accuracy_on_true.low, score.accuracy_on_true.high) == pytest.approx((true, true))
    assert score.describe().startswith(f"True accuracy by the review: {100 * true:.1f} %")


def test_unsure_rows_count_both_ways() -> None:
    design, wrong, on_given, right = world(2)
    answers = np.where(wrong, WRONG, RIGHT)
    answers[design.ranking[:40]] = UNSURE
    score = reviewed_score(design, answers, on_given, right & wrong)
    found = score.accuracy_on_true
    assert found.low <= right.mean() <= found.high
    assert found.high - found.low == pytest.approx(40 / N)
    assert "labels found wrong, 40 unsure or disputed; rest by" in score.describe()


def test_arrays_that_do_not_fit_are_refused() -> None:
    design, _, on_given, _ = world(0)
    with pytest.raises(InputError, match=r"Right rows have shape \(5,\) of bool, there are 800 rows"):
        reviewed_score(design, np.full(N, UNSEEN), on_given, on_given[:5])
