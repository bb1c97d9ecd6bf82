"""From a noise model to each row: how suspicious, how likely wrong, and which to flag. N rows, K classes.

    z = log of the evidence for another class over that for the given one
      = log( (sum over k != j of (q_k W[k, j] / t_k) ** POWER) ** (1 / POWER) ) - log( q_j W[j, j] / t_j )

With POWER 1 and equal weights these are the odds of self-confidence, with POWER infinite the log-odds of the
best other class over the given one. The chance of being wrong is the EM's own, made monotone in z.
"""

from dataclasses import dataclass

import numpy as np

from kiyome.checks import Labels, Mask, Matrix, Numbers
from kiyome.noise.blocks import over_blocks
from kiyome.noise.latent_noise import TINY, NoiseModel
from kiyome.noise.reading import Classes, kernels_for
from kiyome.noise.row_evidence import KEPT_CLASSES

POWER = 1.5  # between the sum over other classes (best for weak predictors) and the best one (for strong)
LOWEST_OTHER = 1e-30  # stands for a zero of another class
ROWS_A_BLOCK = 2**13  # of suspicion: some ten columns of so many rows stay near the processor
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
    log_weights = (np.log(model.weights) - np.log(model.self_confidence)[:, np.newaxis]).ravel()
    z = np.empty(len(probs))

    def fill(rows: slice) -> None:
        z[rows] = _suspicion(classes[rows], probs[rows], model, log_weights)

    over_blocks(fill, probs, entries=ROWS_A_BLOCK * probs.shape[1])
    return z


def _suspicion(classes: Classes, probs: Numbers, model: NoiseModel, log_weights: Matrix) -> Matrix:
    # one class after the other: numpy is many times faster along memory
    cells = np.ascontiguousarray(classes.T, dtype=np.intp)
    cells = cells * len(model.weights) + cells[0]
    values = np.ascontiguousarray(probs.T, dtype=np.float64)
    evidence = np.empty((len(values) + (len(model.weights) > KEPT_CLASSES), len(probs)))
    if len(evidence) > len(values):
        evidence[-1] = _evidence_of_rest(values, model)
    np.maximum(values, np.array([[TINY]] + [[LOWEST_OTHER]] * (len(values) - 1)), out=values)
    kept = np.log(values, out=evidence[: len(values)])
    kept *= model.power
    kept += log_weights.take(cells)
    own, others = evidence[0], evidence[1:]
    best = others.max(axis=0)
    others -= best
    others *= POWER
    sums = np.exp(others, out=others).sum(axis=0)
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
    knots, values = curve.suspicion, curve.chance
    slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
    kernels = kernels_for(8 * len(z))  # each is searched for
    chances = np.empty(len(z))

    def fill(rows: slice) -> None:
        if kernels is None:
            chances[rows] = along_curve(z[rows], knots, values, slopes)
        else:
            kernels.along_curve(z[rows], knots, values, slopes, chances[rows])

    over_blocks(fill, z[:, np.newaxis])
    return chances


def along_curve(z: Matrix, knots: Matrix, values: Matrix, slopes: Matrix) -> Matrix:
    """Values (n,) on the straight lines between knots, of each end beyond it."""
    z = z.clip(knots[0], knots[-1])
    last = knots.searchsorted(z, side="right") - 1
    found: Matrix = values[last] + slopes[last] * (z - knots[last])
    return found


def monotone_fit(x: Matrix, y: Matrix) -> ChanceCurve:
    """The least-squares never-falling fit of y on x, over bins of equal counts; equal x share a bin."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    firsts = np.flatnonzero(np.diff(x, prepend=-np.inf))  # of equals
    bins = firsts * min(NUM_BINS, len(x)) // len(x)
    starts = firsts[np.flatnonzero(np.diff(bins, prepend=-1))]
    counts = np.diff(starts, append=len(x))
    knots, means = np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts
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
    best and falls from there, so only rows that may be flagged need to be put in order. Chances never fall in
    z: sorted apart, both are in that order.
    """
    candidates = chances >= LEAST_CHANCE
    if not candidates.any():
        return candidates
    hits = np.sort(chances[candidates])[::-1].cumsum()
    best = (2 * hits / (np.arange(1, len(hits) + 1) + chances.sum())).argmax()
    flagged: Mask = z >= np.sort(z[candidates])[-1 - best]
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
