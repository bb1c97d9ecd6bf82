"""What checked rows say of all: unbiased over every sample, plain loops as oracle, unsure rows bounded."""

from itertools import combinations, product

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.audit import UNSURE, audited_accuracy
from kiyome.evaluation.audit_design import AuditDesign, Strata, draw_audit, draw_from, strata_of
from kiyome.noise import inject_label_noise, simulate_pred_probs

TRANSITION = np.array([[0.9, 0.1, 0.0], [0.05, 0.8, 0.15], [0.0, 0.1, 0.9]])


@pytest.fixture(scope="module")
def population() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True labels, given labels, probabilities."""
    rng, truth = np.random.default_rng(0), np.arange(6000) % 3
    return truth, inject_label_noise(truth, TRANSITION, rng), simulate_pred_probs(truth, 3, rng)


def design_of(rows: list[int], stratum_of_row: list[int]) -> AuditDesign:
    num_strata = max(stratum_of_row) + 1
    strata = Strata(
        stratum_of_row=np.array(stratum_of_row, dtype=np.int8),
        num_disagreeing=0,
        guesses=np.full(num_strata, 0.5),
        spreads=np.full(num_strata, 0.5),
    )
    return AuditDesign(rows=np.array(rows), strata=strata, seed=0)


def test_the_mean_over_every_sample_is_the_truth() -> None:
    stratum = [0, 0, 0, 0, 1, 1, 1, 1, 1]
    true = np.array([0, 1, 1, 0, 0, 1, 1, 0, 1])
    given = np.array([0, 1, 0, 0, 0, 0, 1, 0, 1])
    predicted = np.array([1, 1, 0, 0, 0, 1, 1, 1, 0])
    scores = [
        audited_accuracy(design_of(rows, stratum), true[rows], given, predicted, num_classes=2)
        for rows in ([*a, *b] for a, b in product(combinations(range(4), 2), combinations(range(4, 9), 3)))
    ]
    assert len(scores) == 60
    assert np.mean([s.accuracy_on_true.value for s in scores]) == pytest.approx(np.mean(predicted == true))
    assert np.mean([s.labels.noise_rate.value for s in scores]) == pytest.approx(np.mean(given != true))


def test_values_are_those_of_a_plain_loop(population) -> None:
    truth, labels, probs = population
    design, predicted = draw_audit(labels, probs, 150), probs.argmax(axis=1)
    score = audited_accuracy(design, truth[design.rows], labels, predicted, num_classes=3)
    right, joint = 0.0, np.zeros((3, 3))
    for row, weight in zip(design.rows, design.weights, strict=True):
        right += weight * (predicted[row] == truth[row])
        joint[truth[row], labels[row]] += weight
    assert score.accuracy_on_true.value == pytest.approx(right / 6000)
    assert score.labels.noise_rate.value == pytest.approx(1 - np.trace(joint) / 6000)
    assert score.labels.transition.value == pytest.approx(joint / joint.sum(axis=1, keepdims=True))
    assert score.labels.transition.rows_seen.sum() == 150
    for k, found in enumerate(score.labels.noise_by_given_class):
        assert found.value == pytest.approx(1 - joint[k, k] / joint[:, k].sum())


def test_repeated_audits_cover_the_truth(population) -> None:
    truth, labels, probs = population
    predicted = probs.argmax(axis=1)
    T = np.array([np.bincount(labels[truth == t], minlength=3) / (truth == t).sum() for t in range(3)])
    held, cells = [], []
    strata = strata_of(labels, probs)
    for seed in range(80):
        design = draw_from(strata, 100, seed=seed)
        score = audited_accuracy(design, truth[design.rows], labels, predicted, num_classes=3)
        accuracy, noise = score.accuracy_on_true, score.labels.noise_rate
        held.append(accuracy.low <= np.mean(predicted == truth) <= accuracy.high)
        held.append(noise.low <= np.mean(labels != truth) <= noise.high)
        cells.append((score.labels.transition.low <= T) & (score.labels.transition.high >= T))
    assert 0.91 < np.mean(held) <= 1  # 160 draws
    assert 0.91 < np.mean(cells) <= 1


def test_rows_without_labels_have_accuracy_and_class_shares_that_cover(population) -> None:
    truth, _, probs = population
    predicted, strata, held = probs.argmax(axis=1), strata_of(None, probs), []
    assert strata.num_disagreeing == 0
    for seed in range(80):
        design = draw_from(strata, 100, seed=seed)
        score = audited_accuracy(design, truth[design.rows], None, predicted, num_classes=3)
        assert score.labels is None
        held.append(score.accuracy_on_true.low <= np.mean(predicted == truth) <= score.accuracy_on_true.high)
        held += [share.low <= np.mean(truth == k) <= share.high for k, share in enumerate(score.class_shares)]
    assert 0.92 < np.mean(held) <= 1  # 320 intervals


def test_class_shares_are_unbiased_whatever_the_model_predicts() -> None:
    stratum, true = [0, 0, 0, 1, 1, 1, 1], np.array([0, 1, 1, 0, 0, 1, 0])
    predicted = np.array([1, 1, 0, 1, 1, 1, 1])
    shares = [
        [
            share.value
            for share in audited_accuracy(
                design_of([*a, *b], stratum), true[[*a, *b]], None, predicted, num_classes=2
            ).class_shares
        ]
        for a, b in product(combinations(range(3), 2), combinations(range(3, 7), 3))
    ]
    assert np.mean(shares, axis=0) == pytest.approx([4 / 7, 3 / 7])


def test_any_model_can_be_judged_by_the_same_sample(population) -> None:
    truth, labels, probs = population
    design = draw_audit(labels, probs, 300)
    always_one = audited_accuracy(
        design, truth[design.rows], labels, np.ones(6000, dtype=int), num_classes=3
    ).accuracy_on_true
    assert always_one.low < 1 / 3 < always_one.high


def test_unsure_rows_are_bounded_by_all_right_and_all_wrong(population) -> None:
    truth, labels, probs = population
    design, predicted = draw_audit(labels, probs, 200), probs.argmax(axis=1)
    said = truth[design.rows].copy()
    sure = audited_accuracy(design, said, labels, predicted, num_classes=3)
    said[::10] = UNSURE
    score = audited_accuracy(design, said, labels, predicted, num_classes=3)
    assert (score.num_checked, score.num_unsure) == (200, 20)
    assert score.accuracy_on_true.num_rows == 180
    low, high = score.accuracy_bounds
    assert low < min(score.accuracy_on_true.low, sure.accuracy_on_true.low)
    assert high > max(score.accuracy_on_true.high, sure.accuracy_on_true.value)
    assert score.labels.noise_bounds[0] < sure.labels.noise_rate.value < score.labels.noise_bounds[1]
    assert sure.accuracy_bounds == (sure.accuracy_on_true.low, sure.accuracy_on_true.high)


def test_the_first_rows_are_a_sample_themselves(population) -> None:
    truth, labels, probs = population
    predicted, strata, values = probs.argmax(axis=1), strata_of(labels, probs), []
    for seed in range(60):
        design = draw_from(strata, 120, seed=seed)
        score = audited_accuracy(design, truth[design.rows[:60]], labels, predicted, num_classes=3)
        assert score.num_checked == 60
        values.append(score.accuracy_on_true.value)
    error = np.mean(values) - np.mean(predicted == truth)
    assert abs(error) < 3 * np.std(values) / np.sqrt(60)


def test_strata_without_an_answer_join_a_neighbor() -> None:
    design = design_of([0, 1, 5], [0, 0, 0, 1, 1, 2, 2, 2, 2])
    score = audited_accuracy(design, [0, 1, 0], [0] * 9, [0] * 9, num_classes=2)
    # 5 rows of the first two strata are half right, 4 of the last are right
    assert score.accuracy_on_true.value == pytest.approx((5 * 0.5 + 4) / 9)


def test_classes_that_nobody_saw_stay_open(population) -> None:
    truth, labels, probs = population
    design = draw_audit(labels, probs, 40)
    said = np.where(truth[design.rows] == 2, UNSURE, truth[design.rows])
    transition = audited_accuracy(design, said, labels, probs.argmax(axis=1), num_classes=3).labels.transition
    assert np.isnan(transition.value[2]).all()
    assert transition.rows_seen[2] == 0
    assert not transition.is_enough[2]
    assert transition.value[:2].sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("said", [[0.0, 1.0], [3], [-3], [], [UNSURE, UNSURE], [0] * 41])
def test_answers_that_cannot_be_are_refused(population, said: list) -> None:
    _, labels, probs = population
    design = draw_audit(labels, probs, 40)
    with pytest.raises(
        InputError, match=r"true_labels have shape .* Expected whole numbers from 0 to 2, -1 for unsure"
    ):
        audited_accuracy(design, said, labels, probs.argmax(axis=1), num_classes=3)


@pytest.mark.slow
def test_people_who_label_photos_are_audited_at_a_third_of_the_cost(shared_data) -> None:
    with np.load(shared_data / "cifar10/cifar10n_out_of_fold.npz") as stored:
        labels, truth = (stored[f"aggre_{kind}_label"].astype(int) for kind in ("given", "true"))
        probs = stored["aggre_resnet18_pred_probs"]
    right = probs.argmax(axis=1) == truth
    values, held = [], []
    strata = strata_of(labels, probs)
    for seed in range(200):
        design = draw_from(strata, 300, seed=seed)
        found = audited_accuracy(
            design, truth[design.rows], labels, probs.argmax(axis=1), num_classes=10
        ).accuracy_on_true
        values.append(found.value)
        held.append(found.low <= right.mean() <= found.high)
    plain = np.sqrt(right.mean() * (1 - right.mean()) / 300)
    assert np.std(values) < 0.65 * plain
    assert np.mean(held) > 0.91
