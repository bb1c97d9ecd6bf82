"""What a review says about the whole table, against the truth: intervals, the curve, and the queue."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.review_audit import (
    MOST_LEFT,
    UNSEEN,
    UNSURE,
    ReviewDesign,
    estimate_review,
    looks_to_stop,
)
from kiyome.evaluation.stratified import stratified_proportion


def overconfident_table(rows: int, seed: int) -> tuple[ReviewDesign, np.ndarray]:
    """A table on which suspicions are far too sure, with errors that nobody suspects, and which are wrong."""
    rng = np.random.default_rng(seed)
    true_chance = rng.beta(0.3, 2.5, rows)
    odds = 3 * (true_chance / (1 - true_chance)) ** 2 * np.exp(rng.normal(0, 1, rows))
    suspicion = odds / (1 + odds)
    wrong = rng.random(rows) < true_chance
    ranking = np.argsort(-suspicion, kind="stable")
    design = ReviewDesign(probability=suspicion, ranking=ranking, random_order=rng.permutation(rows))
    return design, wrong


def answers_along(design: ReviewDesign, wrong: np.ndarray, looks: int, share: float = 0.2) -> np.ndarray:
    answers = np.full(len(wrong), UNSEEN)
    seen = design.queue(share)[:looks]
    answers[seen] = wrong[seen]
    return answers


def test_intervals_cover_whatever_the_suspicion_says():
    """Over 30 reviews of tables whose suspicions are wrong in level and slope."""
    covered = []
    for seed in range(30):
        design, wrong = overconfident_table(900, seed)
        answers = answers_along(design, wrong, 250)
        estimate = estimate_review(design, answers)
        left, rate = wrong[answers == UNSEEN].sum() / 900, wrong.mean()
        covered.append(estimate.left.low - 1e-9 <= left <= estimate.left.high + 1e-9)
        assert covered[-1] == (estimate.noise_rate.low - 1e-9 <= rate <= estimate.noise_rate.high + 1e-9)
    assert np.mean(covered) >= 0.9


def test_probabilities_learn_from_answers_and_stay_monotone():
    before, after = [], []
    for seed in range(8):
        design, wrong = overconfident_table(2000, seed)
        answers = answers_along(design, wrong, 60)
        estimate = estimate_review(design, answers)
        rest = np.flatnonzero((design.probability > 0.2) & (answers == UNSEEN))
        before.append(abs(design.probability[rest].mean() - wrong[rest].mean()))
        after.append(abs(estimate.probability[rest].mean() - wrong[rest].mean()))
        assert (np.diff(estimate.probability[design.ranking]) <= 1e-12).all()
    assert np.mean(after) < 0.6 * np.mean(before)


def test_rows_that_people_picked_out_of_turn_do_not_bend_the_sample():
    """Somebody finds wrong labels by another order: they are counted as found, and the rate stays."""
    design, wrong = overconfident_table(2000, 3)
    answers = answers_along(design, wrong, 300)
    plain = estimate_review(design, answers)
    late = design.measured_order[-400:]
    picked = late[wrong[late] & (answers[late] == UNSEEN)]
    answers[picked] = 1
    bent = estimate_review(design, answers)
    assert len(picked) > 5
    assert bent.num_wrong == plain.num_wrong + len(picked)
    assert bent.num_measured == plain.num_measured
    assert bent.noise_rate.value == pytest.approx(plain.noise_rate.value, abs=0.01)
    assert bent.left.value == pytest.approx(plain.left.value - len(picked) / 2000, abs=0.01)


def test_a_few_skipped_rows_keep_the_head_and_widen_the_interval():
    design, wrong = overconfident_table(2000, 4)
    answers = answers_along(design, wrong, 600)
    whole = estimate_review(design, answers)
    answers[design.ranking[[5, 40]]] = UNSEEN
    skipped = estimate_review(design, answers)
    assert skipped.num_seen == whole.num_seen - 2
    assert skipped.left.high == pytest.approx(whole.left.high + 2 / 2000, abs=0.003)


def test_unsure_rows_count_both_ways_in_the_noise_rate():
    design, wrong = overconfident_table(1000, 5)
    answers = wrong.astype(float)
    answers[:50] = UNSURE
    rate = estimate_review(design, answers).noise_rate
    assert rate.low == pytest.approx(wrong[50:].sum() / 1000)
    assert rate.high == pytest.approx(wrong[50:].sum() / 1000 + 0.05)


def test_a_review_of_every_row_leaves_nothing():
    design, wrong = overconfident_table(400, 6)
    answers = wrong.astype(float)
    estimate = estimate_review(design, answers)
    assert (estimate.left.low, estimate.left.high) == (0, 0)
    assert estimate.noise_rate.value == estimate.noise_rate.high == wrong.mean()
    assert looks_to_stop(design, answers, share=0.1) == 0


def test_before_any_answer_the_curve_is_the_prior_and_the_interval_is_everything():
    design, _ = overconfident_table(400, 7)
    estimate = estimate_review(design, np.full(400, UNSEEN))
    assert (estimate.left.low, estimate.left.high, estimate.left.num_rows) == (0, 1, 0)
    assert estimate.left.value == estimate.noise_rate.value == estimate.left_by_curve.value
    assert estimate.left_by_curve.low < estimate.left_by_curve.value < estimate.left_by_curve.high


def test_the_looks_until_people_may_stop_are_about_those_that_it_takes():
    ratios = []
    for seed in range(4):
        design, wrong = overconfident_table(1000, seed)
        told = 300 + looks_to_stop(design, answers_along(design, wrong, 300), share=0.2)
        points = range(300, 1001, 50)
        may_stop = [
            estimate_review(design, answers_along(design, wrong, looks), confidence=0.9).left.high < 0.01
            for looks in points
        ]
        ratios.append(told / points[may_stop.index(True)])
    assert 0.7 < np.mean(ratios) < 1.4


def test_the_queue_holds_each_row_once_and_the_share_at_random():
    design, _ = overconfident_table(1000, 9)
    for share in (0.0, 0.1, 0.5, 1.0):
        queue = design.queue(share)
        assert sorted(queue) == list(range(1000))
    assert design.queue(0.0).tolist() == design.ranking.tolist()
    assert design.queue(1.0).tolist() == design.measured_order.tolist()
    first = design.queue(0.1)[:100]
    assert np.isin(design.ranking[:90], first).all()
    assert np.isin(design.measured_order[:10], first).all()


def test_half_of_the_looks_are_measured_once_few_wrong_labels_are_expected_to_be_left():
    design, _ = overconfident_table(2000, 12)
    behind = design.probability.sum() - np.sort(design.probability)[::-1].cumsum()
    head = int(np.argmax(behind < MOST_LEFT * 2000)) + 1
    early = round(head / 0.9)
    late = design.queue(0.1)[early : early + 200]
    ranks = np.argsort(design.ranking)
    assert (ranks[late] > np.sort(ranks[late])[100]).mean() == pytest.approx(0.5, abs=0.02)
    assert np.isin(design.ranking[:head], design.queue(0.1)[:early]).all()
    assert np.isin(design.ranking[: head + 100], design.queue(0.1)[: early + 200]).all()


def test_people_may_stop_long_before_they_saw_everything():
    """One look in ten alone would need nearly every row of so small a table."""
    rng = np.random.default_rng(0)
    suspicion = np.sort(rng.beta(0.2, 3, 4000))[::-1]
    design = ReviewDesign(probability=suspicion, ranking=np.arange(4000), random_order=rng.permutation(4000))
    wrong = rng.random(4000) < suspicion
    first = next(
        looks
        for looks in range(400, 4001, 100)
        if looks_to_stop(design, answers_along(design, wrong, looks, share=0.1), share=0.1) == 0
    )
    assert wrong[design.queue(0.1)[first:]].sum() < MOST_LEFT * 4000
    assert first < 2400


def test_a_queue_of_another_order_holds_the_same_measured_rows():
    design, _ = overconfident_table(1000, 13)
    other = np.random.default_rng(0).permutation(1000)
    queue = design.queue(0.1, ranking=other)
    assert sorted(queue) == list(range(1000))
    assert np.isin(other[:90], queue[:100]).all()
    assert np.isin(design.measured_order[:10], queue[:100]).all()


def test_each_stratum_is_measured_in_turn():
    design, _ = overconfident_table(1000, 10)
    assert sorted(design.stratum_of_row[design.measured_order[:8]]) == list(range(8))


def test_bad_input_is_named():
    design, _ = overconfident_table(50, 11)
    with pytest.raises(InputError, match=r"The answers have the shape \(3,\) for 50 rows"):
        estimate_review(design, [0, 1, 0])
    with pytest.raises(InputError, match="or other values"):
        estimate_review(design, np.full(50, 2))
    with pytest.raises(InputError, match=r"The share of measured rows is 1\.5"):
        design.queue(1.5)


def test_one_hit_in_a_light_stratum_beside_a_heavy_one_has_an_interval():
    """The lowest end was searched where there is none: even no hit at all is not rejected."""
    rows, sizes = [2, 2, 1, 1, 1, 1, 1, 1], [272, 176, 198, 269, 442, 817, 868, 868]
    few = stratified_proportion([0, 1, 0, 0, 0, 0, 0, 0], rows, sizes)
    assert (few.low, few.high > 0.2) == (0.0, True)
    most = stratified_proportion([2, 1, 1, 1, 1, 1, 1, 1], rows, sizes)
    assert most.high == pytest.approx(1)
