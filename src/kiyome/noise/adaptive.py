"""The adaptive method from one read of the arrays: suspicion, chances, masks. N rows, K classes.

    read_rows ─► log_probs of the sample ─► fit_noise ─► suspicion of all rows ─► chances ─► mask
    order N·K              order S                            order N

    judge_labels(labels, pred_probs) -> Judgement     judge_rows does the same for merged chunks

Why it adapts: docs/noise.md. Every result is the same for any block size; of up to `sample_size(K)` rows it
is free of row order, too, beyond that as far as the sample of 10,000 rows decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Mask, Matrix, Numbers, check_arrays
from kiyome.errors import InputError
from kiyome.noise.latent_noise import (
    SHARPNESS,
    LogProbs,
    NoiseModel,
    expected_joint,
    fit_noise,
    latent_transition,
    log_probs,
    tempered,
)
from kiyome.noise.row_evidence import KEPT_CLASSES, RowEvidence, read_rows
from kiyome.noise.suspicion import (
    ChanceCurve,
    best_f1_mask,
    chance_wrong,
    monotone_fit,
    precise_mask,
    suspicion,
)

ADAPTIVE = "adaptive"
"""The method's name, wherever a method is chosen."""

CAREFUL_SHARPNESS = 1.25  # the least sharpness that is believed: for promises, and the band's lower end
ORDER_SHARE = 1e-3  # of a quality: what tells rows of one chance apart
PROMISE_ACCURACY = 0.8  # on given labels; above it a precision of 0.9 was kept in 84 % of sets, 0.85 in all
REFUSE_ACCURACY = 0.5  # below it, 0.9 was kept in 37 %
WEAK_SURENESS = 0.5  # mean largest calibrated probability, below which low noise rates come out far too high


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """What the adaptive method says of N labels."""

    model: NoiseModel
    sample: LogProbs
    sample_suspicion: Matrix
    """(S,) of the sampled rows."""
    curve: ChanceCurve
    suspicion: Matrix
    """(N,) z, any number: the higher, the more suspicious."""
    probability: Matrix
    """(N,) chance that the given label is wrong."""
    accuracy_on_given: float
    """Share of rows where no class is likelier than the given one."""
    sureness: float
    """Mean of the largest calibrated probability, over the sample."""


def judge_labels(labels: Labels, pred_probs: Numbers) -> Judgement:
    """The judgement of arrays that were checked before."""
    return judge_rows(read_rows(labels, pred_probs))


def judge_rows(rows: RowEvidence) -> Judgement:
    """The judgement of one read, or of chunks that were merged."""
    kept = slice(0, KEPT_CLASSES)
    sample = log_probs(rows.sample, rows.num_classes)
    model, right = fit_noise(sample)
    sample_z = suspicion(rows.sample.classes[:, kept], rows.sample.probs[:, kept], model)
    curve = monotone_fit(sample_z, 1 - right)
    z = suspicion(rows.classes, rows.probs, model)
    return Judgement(
        model=model,
        sample=sample,
        sample_suspicion=sample_z,
        curve=curve,
        suspicion=z,
        probability=chance_wrong(z, curve),
        accuracy_on_given=float((rows.probs[:, 0] >= rows.probs[:, 1]).mean()),
        sureness=float(tempered(sample, model.power)[0].max(axis=0).mean()),
    )


def quality(judged: Judgement) -> Matrix:
    """Scores (N,) in 0..1: the chance of a right label; within 0.001 they order rows of equal chance."""
    z = judged.suspicion
    order = 0.5 - 0.5 * z / (1 + np.abs(z))  # falls from one to zero as suspicion rises
    scores: Matrix = (1 - ORDER_SHARE) * (1 - judged.probability) + ORDER_SHARE * order
    return scores


def issues(judged: Judgement, *, precision: float | None = None) -> Mask:
    """The mask (N,) of best expected F1, or of the wished precision."""
    if precision is None:
        return best_f1_mask(judged.suspicion, judged.probability)
    _refuse_weak(judged)
    chances = chance_wrong(judged.suspicion, careful_curve(judged))
    return precise_mask(judged.suspicion, chances, precision)


def careful_curve(judged: Judgement) -> ChanceCurve:
    """The chance of a wrong label as the least believed sharpness sees it: lower, hence safer to promise."""
    _, right = latent_transition(judged.sample, CAREFUL_SHARPNESS * judged.model.power)
    return monotone_fit(judged.sample_suspicion, 1 - right)


def judged_joint(judged: Judgement) -> Matrix:
    """Expected counts (K, K) [true, given] of the sampled rows."""
    return expected_joint(judged.sample, judged.model.transition, SHARPNESS * judged.model.power)


def check_precision(precision: float) -> None:
    """Raise where no mask can have that precision."""
    if not 0 < precision < 1:
        raise InputError(
            "A precision lies between 0 and 1.", came=f"precision={precision}", remedy="Pass 0.9, say."
        )


def _refuse_weak(judged: Judgement) -> None:
    if judged.accuracy_on_given < REFUSE_ACCURACY:
        raise InputError(
            "A precision can be promised only where predictions agree with half of the given labels or more.",
            came=f"predictions that agree with {judged.accuracy_on_given:.0%}: their own mistakes look like"
            " wrong labels",
            remedy="Take a better predictor, or leave precision out: every row carries its probability.",
        )


def precision_note(judged: Judgement) -> str | None:
    """What to tell whoever asked for a precision; None where experience says that it is kept."""
    if judged.accuracy_on_given > PROMISE_ACCURACY:
        return None
    return (
        f"The predictions agree with {judged.accuracy_on_given:.0%} of the given labels. Below"
        f" {PROMISE_ACCURACY:.0%}, a precision of 0.9 was kept in about two of three sets: do not rely on it."
    )


def weakness_note(judged: Judgement) -> str | None:
    """What to tell about a predictor that is too unsure for its chances to be believed; else None."""
    if judged.sureness >= WEAK_SURENESS:
        return None
    return (
        f"The predictor is weak: its likeliest class has {judged.sureness:.0%} on average. Where few labels"
        " are wrong, chances and noise rate come out too high; trust the order of rows only."
    )


def label_issue_probability(labels: ArrayLike, pred_probs: ArrayLike) -> Matrix:
    """The chance (N,) that each given label is wrong, in 0..1.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1. Classes may be absent.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one; of any temperature.

    Raises
    ------
    InputError
        Arrays that break a stated rule; the message names the first such row.

    Notes
    -----
    From the model of docs/noise.md: a hidden true class, expectation maximization over 10,000 rows, made
    monotone in the row's suspicion. Labels and predictions alone do not fix it: it rests on the experience
    that true classes are 2.5 times as sure as given ones. Too high where the predictor is weak and labels are
    good, too low for mistakes that the predictor shares. Use it to order and to size a review, not as a fact.

    Examples
    --------
    >>> from kiyome.noise import inject_label_noise, simulate_pred_probs
    >>> rng, true_labels = np.random.default_rng(0), np.arange(3000) % 3
    >>> labels = inject_label_noise(true_labels, np.full((3, 3), 0.05) + 0.85 * np.eye(3), rng)
    >>> chances = label_issue_probability(labels, simulate_pred_probs(true_labels, 3, rng))
    >>> wrong = labels != true_labels
    >>> bool(chances[wrong].mean() > 0.7), bool(chances[~wrong].mean() < 0.1)
    (True, True)
    """
    return judge_labels(*check_arrays(labels, pred_probs)).probability
