"""From a noise model to each row: how suspicious, how likely wrong, and which to flag. N rows, K classes.

    z = log of the evidence for another class over that for the given one
      = log( (sum over k != j of (q_k W[k, j] / t_k) ** POWER) ** (1 / POWER) ) - log( q_j W[j, j] / t_j )

With POWER 1 and equal weights these are the odds of self-confidence, with POWER infinite the log-odds of the
best other class over the given one. The chance of being wrong is the EM's own, made monotone in z.
"""

from dataclasses import dataclass

import numpy as np

from kiyome.noise.arrays import Labels, Mask, Matrix, Numbers
from kiyome.noise.blocks import over_blocks
from kiyome.noise.latent_noise import TINY, NoiseModel
from kiyome.noise.reading import Classes
from kiyome.noise.row_evidence import KEPT_CLASSES

POWER = 1.5  # between the sum over other classes (best for weak predictors) and the best one (for strong)
LOWEST_OTHER = 1e-30  # stands for a zero of another class
NUM_BINS = 512  # of the monotone fit; a bin then holds 20 rows of a full sample
LEAST_CHANCE = 0.2  # a row that is right four times in five is never flagged


@dataclass(frozen=True, kw_only=True, eq=False)
class ChanceCurve:
    """Chance of a wrong label as a rising function of suspicion, straight between its knots."""

    suspicion: Matrix
    """Knots, rising."""
    chance: Matrix
    """Values there, never falling."""
    mean: float
    """Mean chance of the rows it was fitted on: their noise rate."""


def suspicion(classes: Classes, probs: Numbers, model: NoiseModel) -> Matrix:
    """Numbers z (N,) of kept rows, the given class first: the higher, the more suspicious."""
    log_weights = np.log(model.weights) - np.log(model.self_confidence)[:, np.newaxis]
    z = np.empty(len(probs))

    def fill(rows: slice) -> None:
        z[rows] = _suspicion(classes[rows], probs[rows], model, log_weights)

    over_blocks(fill, probs)
    return z


def _suspicion(classes: Classes, probs: Numbers, model: NoiseModel, log_weights: Matrix) -> Matrix:
    given, values = classes[:, 0], probs.T.astype(np.float64)  # one class after the other, for speed
    own = model.power * np.log(values[0].clip(min=TINY)) + log_weights[given, given]
    evidence = [
        model.power * np.log(value.clip(min=LOWEST_OTHER)) + log_weights[other, given]
        for value, other in zip(values[1:], classes.T[1:], strict=True)
    ]
    if len(model.weights) > KEPT_CLASSES:
        evidence.append(_evidence_of_rest(values, model))
    best = np.maximum.reduce(evidence)
    sums = sum(np.exp(POWER * (of_one - best)) for of_one in evidence)
    z: Matrix = best + np.log(sums) / POWER - own
    return z


def _evidence_of_rest(values: Matrix, model: NoiseModel) -> Matrix:
    """The classes that were not kept as one lump, equally likely and weighed by the leak."""
    num_rest = len(model.weights) - KEPT_CLASSES
    each = (1 - values.sum(axis=0)).clip(min=0) / num_rest
    scale = num_rest * model.leak / float(model.self_confidence.mean())
    evidence: Matrix = model.power * np.log(each.clip(min=LOWEST_OTHER)) + np.log(scale)
    return evidence


def chance_wrong(z: Matrix, curve: ChanceCurve) -> Matrix:
    """Chances (N,) in 0..1 that given labels are wrong, by suspicion."""
    chances = np.empty(len(z))

    def fill(rows: slice) -> None:
        chances[rows] = np.interp(z[rows], curve.suspicion, curve.chance)

    over_blocks(fill, z[:, np.newaxis])
    return chances


def monotone_fit(x: Matrix, y: Matrix) -> ChanceCurve:
    """The least-squares never-falling fit of y on x, over bins of equal counts; equal x share a bin."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    first_of_equals = np.searchsorted(x, x)
    _, bins, counts = np.unique(
        first_of_equals * min(NUM_BINS, len(x)) // len(x), return_inverse=True, return_counts=True
    )
    knots, means = np.bincount(bins, x) / counts, np.bincount(bins, y) / counts
    return ChanceCurve(suspicion=knots, chance=_pooled(means, counts).clip(0, 1), mean=float(y.mean()))


def _pooled(values: Matrix, counts: Labels) -> Matrix:
    """Neighbors that fall are pooled to their mean until none falls (Ayer et al. 1955)."""
    pools: list[tuple[float, int, int]] = []  # mean, weight, number of bins
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        pools.append((value, count, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (mean, weight, length), (last, more, longer) = pools[-2:]
            pools[-2:] = [((mean * weight + last * more) / (weight + more), weight + more, length + longer)]
    return np.repeat([mean for mean, _, _ in pools], [length for _, _, length in pools])


def best_f1_mask(z: Matrix, chances: Matrix) -> Mask:
    """The most suspicious rows (N,), as many as have the best expected F1, equally suspicious ones whole.

    Of the first n rows, expected F1 is 2 * (sum of their chances) / (n + sum of all chances). It rises to its
    best and falls from there, so only rows that may be flagged need to be put in order.
    """
    candidates = np.flatnonzero(chances >= LEAST_CHANCE)
    flagged = np.zeros(len(z), dtype=np.bool_)
    if len(candidates):
        order = candidates[np.argsort(-z[candidates], kind="stable")]
        hits = chances[order].cumsum()
        best = (2 * hits / (np.arange(1, len(order) + 1) + chances.sum())).argmax()
        flagged[candidates] = z[candidates] >= z[order[best]]
    return flagged


def precise_mask(z: Matrix, chances: Matrix, precision: float) -> Mask:
    """The largest head (N,) of the ranking whose mean chance is at least `precision`; may be empty."""
    order = np.argsort(-z, kind="stable")
    means = chances[order].cumsum() / np.arange(1, len(z) + 1)
    # equally suspicious rows stay together
    ends = np.append(z[order][1:] < z[order][:-1], True)
    kept = np.flatnonzero((means >= precision) & ends)
    flagged = np.zeros(len(z), dtype=np.bool_)
    if len(kept):
        flagged[order[: kept[-1] + 1]] = True
    return flagged
