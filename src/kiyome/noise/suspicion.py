"""Suspicion of each row under a noise model; probabilities and masks that follow. N rows, K classes.

    e_k = q_k W[k, j] / t_k      evidence for class k where j is given; e_none for none of the classes
    z = log( (sum over k != j of e_k ** POWER) ** (1 / POWER) ) - log( e_j )
    u = asinh(z) + flow * MARGIN * (max over k != j of (q_k - t_k) - (q_j - t_j))
    suspicion = u, or where noise flows one way the log odds of q unmixed by A

With POWER 1 and equal weights, z is the odds of self-confidence; with POWER infinite, the log-odds of the
best other class over the given one. Where noise is strong, T is hard to estimate and the margin adjusted by
class adds to it; where it is weak, a photo may show none of the classes. The probability of a wrong label is
the EM's own, made monotone in suspicion (sharpness.py says which may be stated).
"""

from dataclasses import dataclass

import numpy as np

from kiyome.checks import Labels, Mask, Matrix, Numbers
from kiyome.noise.noise_model import SLACK, TINY, NoiseModel
from kiyome.noise.top_classes import Classes, kernels_for, over_blocks

POWER = 1.5  # between the sum over other classes (best for weak predictors) and the best one (for strong)
NONE = 0.3  # evidence for none of the classes, of many and without strong flow
MARGIN = 2.0  # of margins between -1 and 1, beside suspicions of some units
LEAST_UNMIXED = 1e-4  # unmixed probabilities may come out negative
LOWEST_OTHER = 1e-30  # stands for a zero of another class
ROWS_A_BLOCK = 2**13  # of suspicion: some ten columns of so many rows stay near the processor
NUM_BINS = 512  # of the monotone fit; a bin then holds 20 rows of a full sample
LEAST_PROBABILITY = 0.2  # a row that is right four times in five is never flagged


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityCurve:
    """Probability of a wrong label as a rising function of suspicion, linear between its knots."""

    suspicion: Matrix
    """Knots, rising."""
    probability: Matrix
    """Values there, never falling."""
    counts: Labels
    """Rows at each knot, of those that it was fitted on."""

    @property
    def mean(self) -> float:
        """Mean probability of the rows it was fitted on: their noise rate."""
        return float(np.average(self.probability, weights=self.counts))


def suspicion(classes: Classes, probs: Numbers, model: NoiseModel) -> Matrix:
    """Return the suspicion (N,) of top classes and their probabilities: the higher, the likelier wrong."""
    log_weights = (np.log(model.weights) - np.log(model.self_confidence)[:, np.newaxis]).ravel()
    suspicions = np.empty(len(probs))

    def fill(rows: slice) -> None:
        suspicions[rows] = _suspicion(classes[rows], probs[rows], model, log_weights)

    over_blocks(fill, probs, entries=ROWS_A_BLOCK * probs.shape[1])
    return suspicions


def _suspicion(classes: Classes, probs: Numbers, model: NoiseModel, log_weights: Matrix) -> Matrix:
    # one class after the other: numpy is many times faster along memory
    transposed = np.ascontiguousarray(classes.T, dtype=np.intp)
    values = np.ascontiguousarray(probs.T, dtype=np.float64)
    num_top, num_rest = len(values), len(model.weights) - len(values)
    logs = np.full((num_top + 2, len(probs)), -np.inf)  # then of one class of the rest, then of none
    if num_rest:
        each = (1 - values.sum(axis=0)).clip(min=0) / num_rest
        logs[num_top] = model.power * np.log(each.clip(min=LOWEST_OTHER))
    np.maximum(values, np.array([[TINY]] + [[LOWEST_OTHER]] * (num_top - 1)), out=values)
    logs[:num_top] = model.power * np.log(values)
    q = np.exp(logs[:-1])
    total = q[:-1].sum(axis=0) + num_rest * q[-1]
    if none := NONE * (1 - model.statistics.flow) * (1 - 2 / len(model.weights)):
        logs[-1] = np.log(none * total)  # with two classes, predictions cannot show a photo of neither
    if num_rest:
        logs[num_top] += np.log(num_rest * model.leak / float(model.self_confidence.mean()))
    logs[:num_top] += log_weights.take(transposed * len(model.weights) + transposed[0])
    z = _log_odds(logs[0], logs[1:])
    q /= total
    lead = q[:-1] - model.self_confidence[transposed]
    margin = lead[1:].max(axis=0) - lead[0]
    scores: Matrix = np.arcsinh(z) + model.statistics.flow * MARGIN * margin
    if share := model.statistics.unmixing:
        scores = (1 - share) * scores + share * np.arcsinh(_unmixed_log_odds(transposed, q, model))
    return scores


def _unmixed_log_odds(classes: Labels, q: Matrix, model: NoiseModel) -> Matrix:
    """Return log odds (n,) against the given class where predictions are the true classes' mixed by A."""
    inverse, each = model.inverse, q[-1]
    true = inverse.sum(axis=0)[classes] * each
    for given, probs in zip(classes, q[:-1] - each, strict=True):
        true += probs * inverse[given, classes]
    joint = true.clip(min=LEAST_UNMIXED) * model.anchors[classes, classes[0]]
    joint = joint.clip(min=SLACK)
    log_odds: Matrix = np.log(joint[1:].sum(axis=0)) - np.log(joint[0])
    return log_odds


def _log_odds(given: Matrix, others: Matrix) -> Matrix:
    """Return z (n,) from log evidence; that for others is overwritten."""
    best = others.max(axis=0)
    others -= best
    others *= POWER
    sums = np.exp(others, out=others).sum(axis=0)
    z: Matrix = best + np.log(sums) / POWER - given
    return z


def probability_wrong(z: Matrix, curve: ProbabilityCurve) -> Matrix:
    """Return probabilities (N,) in 0..1 that given labels are wrong, by suspicion."""
    knots, values = curve.suspicion, curve.probability
    steps = np.diff(knots)
    slopes = np.append(np.diff(values) / np.where(steps > 0, steps, np.inf), 0.0)
    kernels = kernels_for(8 * len(z))  # each is searched for
    probability = np.empty(len(z))

    def fill(rows: slice) -> None:
        if kernels is None:
            probability[rows] = along_curve(z[rows], knots, values, slopes)
        else:
            kernels.along_curve(z[rows], knots, values, slopes, probability[rows])

    over_blocks(fill, z[:, np.newaxis])
    return probability


def along_curve(z: Matrix, knots: Matrix, values: Matrix, slopes: Matrix) -> Matrix:
    """Return values (n,) on the lines between knots, and the end values beyond them."""
    z = z.clip(knots[0], knots[-1])
    last = knots.searchsorted(z, side="right") - 1
    found: Matrix = values[last] + slopes[last] * (z - knots[last])
    return found


def monotone_fit(x: Matrix, y: Matrix) -> ProbabilityCurve:
    """Return the isotonic least-squares fit of y on x, over bins of equal counts; equal x share a bin."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    firsts = np.flatnonzero(np.diff(x, prepend=-np.inf))  # of equals
    bins = firsts * min(NUM_BINS, len(x)) // len(x)
    starts = firsts[np.flatnonzero(np.diff(bins, prepend=-1))]
    counts = np.diff(starts, append=len(x))
    knots, means = np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts
    return ProbabilityCurve(suspicion=knots, probability=_pooled(means, counts).clip(0, 1), counts=counts)


def _pooled(values: Matrix, counts: Labels) -> Matrix:
    """Return values with falling neighbors pooled to their mean until none falls (Ayer et al. 1955)."""
    pools: list[tuple[float, int, int]] = []  # mean, weight, number of bins
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        pools.append((value, count, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (mean, weight, length), (last, more, longer) = pools[-2:]
            pools[-2:] = [((mean * weight + last * more) / (weight + more), weight + more, length + longer)]
    return np.repeat([mean for mean, _, _ in pools], [length for _, _, length in pools])


def best_f1_mask(z: Matrix, probability: Matrix) -> Mask:
    """Return a mask (N,) of the most suspicious rows, as many as have the best expected F1; ties stay whole.

    Of the first n rows, expected F1 is 2 * (sum of their probabilities) / (n + sum of all of them). It rises
    to its best and falls from there, so only rows that may be flagged are sorted. Probability never falls in
    z: sorted apart, both have the same order.
    """
    candidates = probability >= LEAST_PROBABILITY
    if not candidates.any():
        return candidates
    hits = np.sort(probability[candidates])[::-1].cumsum()
    best = (2 * hits / (np.arange(1, len(hits) + 1) + probability.sum())).argmax()
    flagged: Mask = z >= np.sort(z[candidates])[-1 - best]
    return flagged


def precise_mask(z: Matrix, probability: Matrix, precision: float) -> Mask:
    """Return a mask (N,) of the longest head of the ranking whose mean probability reaches `precision`."""
    order = np.argsort(-z, kind="stable")
    means = probability[order].cumsum() / np.arange(1, len(z) + 1)
    # equally suspicious rows stay together
    ends = np.append(z[order][1:] < z[order][:-1], True)
    kept = np.flatnonzero((means >= precision) & ends)
    flagged = np.zeros(len(z), dtype=np.bool_)
    if len(kept):
        flagged[order[: kept[-1] + 1]] = True
    return flagged
