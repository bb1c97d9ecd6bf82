"""The noise model of a sample of rows, and each row's suspicion and probability under it.

The true class of each row is hidden. N rows, S of them sampled, K classes, M top classes of a sampled row.
Every K x K is [true, given].

    q = p ** tau, rows at one    tau by likelihood of the given labels: results are free of p's temperature
    t_k                          mean q_k of the rows labeled k
    A[k, j] = m ** 3 / s         over rows surely of class k: m the mean of q_j, s its mean square
    T                            by EM: true class ~ q ** SHARPNESS, given label ~ T[true]
    W = (A + T) / 2 + leak       the weight of another class in the ranking
    z                            suspicion: log of the evidence for another class over that for the given one
      = log( (sum over k != j of (q_k W[k, j] / t_k) ** POWER) ** (1 / POWER) ) - log( q_j W[j, j] / t_j )

Labels and predictions alone cannot distinguish a predictor's doubt from people's errors. A and T guess in
opposite ways: a predictor's doubt comes and goes, so A shrinks what is not steady over the sure rows; T
counts as noise what surprises a sharpened predictor. Each fails where the other works, and the leak bounds
both.

With POWER 1 and equal weights, z is the odds of self-confidence; with POWER infinite, the log-odds of the
best other class over the given one. The probability of a wrong label is the EM's own, made monotone in z.
"""

from dataclasses import dataclass, replace

import numpy as np

from kiyome.checks import Labels, Mask, Matrix, Numbers
from kiyome.noise.top_classes import NUM_TOP, Classes, Sample, kernels_for, over_blocks

LEAK = 0.04  # times 1 / mean(t): the weaker the predictor, the less its confusions show noise
SHARPNESS = 2.5  # true classes are this much surer than calibrated given ones; not identified by data
NUM_ROUNDS = 10  # of EM; 8 lose 0.001 of average precision
TINY = 1e-12  # below it, a probability is rounding
SLACK = 1e-9  # a row this close below a mean counts as above it

POWER_RANGE = 0.02, 50.0  # a predictor beyond it is one-hot or blind, and tau has no meaning
NEWTON_ROUNDS = 20
CONVERGED = 1e-7  # of the power: Newton doubles the digits, so the next step would be rounding
NEAR = 1e-2  # of the power by some of the rows, where Newton starts with all of them
ONE_IN = 10  # rows for that

POWER = 1.5  # between the sum over other classes (best for weak predictors) and the best one (for strong)
LOWEST_OTHER = 1e-30  # stands for a zero of another class
ROWS_A_BLOCK = 2**13  # of suspicion: some ten columns of so many rows stay near the processor
NUM_BINS = 512  # of the monotone fit; a bin then holds 20 rows of a full sample
LEAST_PROBABILITY = 0.2  # a row that is right four times in five is never flagged


@dataclass(frozen=True, kw_only=True, eq=False)
class LogProbs:
    """Log probabilities of a sample: S rows, each a column, so that sums over classes run along memory."""

    num_classes: int
    classes: Labels
    """(M, S) the given class, then the likeliest others."""
    logs: Matrix
    """(M + 1, S) of the top classes, then of one class of the rest."""
    num_rest: int
    """K - M, the number of classes of the rest."""

    @property
    def given(self) -> Labels:
        """(S,) given labels."""
        given: Labels = self.classes[0]
        return given


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseModel:
    """Parameters fitted on the sample; suspicion and probability of every row follow from them."""

    power: float
    """tau: pred_probs to this power are calibrated to the given labels."""
    self_confidence: Matrix
    """(K,) t."""
    weights: Matrix
    """(K, K) W, leak included."""
    leak: float
    transition: Matrix
    """(K, K) T = P(given given true)."""


def fit_noise(sample: LogProbs) -> tuple[NoiseModel, Matrix]:
    """Return the noise model of a sample, and each row's probability (S,) of a right label."""
    power = calibrating_power(sample)
    q, _ = tempered(sample, power)
    t, A = anchors(sample, q)
    T, right = latent_transition(sample, SHARPNESS * power)
    leak = LEAK / float(t.mean())
    weights = (A + T) / 2 + leak * (1 - np.eye(sample.num_classes))
    weights = weights.clip(min=TINY)
    return NoiseModel(power=power, self_confidence=t, weights=weights, leak=leak, transition=T), right


def log_probs(sample: Sample, num_classes: int) -> LogProbs:
    """Return the log probabilities of a sample, zeros replaced by half of its smallest positive one."""
    probs = np.ascontiguousarray(sample.probs.T, dtype=np.float64)
    num_rest = num_classes - len(probs)
    rest = (1 - probs.sum(axis=0)).clip(min=0) / max(num_rest, 1)
    # forests and neighbors give exact zeros; a floor above their steps would change what they say
    floor = probs.min(where=probs > 0, initial=1) / 2 if (probs <= 0).any() else 0.0
    values = np.vstack([probs.clip(min=max(floor, TINY)), rest.clip(min=TINY)])
    return LogProbs(
        num_classes=num_classes,
        classes=np.ascontiguousarray(sample.classes.T, dtype=np.intp),
        logs=np.log(values),
        num_rest=num_rest,
    )


def tempered(sample: LogProbs, power: float) -> tuple[Matrix, Matrix]:
    """Return p ** power, rows at one: (M, S) of the top classes, and (S,) of one class of the rest."""
    q = sample.logs - sample.logs.max(axis=0)
    q *= power
    np.exp(q, out=q)
    q /= q[:-1].sum(axis=0) + sample.num_rest * q[-1]
    return q[:-1], q[-1]


def calibrating_power(sample: LogProbs) -> float:
    """Return the power tau of largest likelihood: given labels drawn from p ** tau."""
    # concave in tau: Newton's steps, none of which more than doubles or halves it
    some = replace(sample, classes=sample.classes[:, ::ONE_IN], logs=sample.logs[:, ::ONE_IN])
    power = _newton(sample, _newton(some, 1.0, NEAR), CONVERGED)
    return float(np.clip(power, *POWER_RANGE))


def _newton(sample: LogProbs, power: float, tolerance: float) -> float:
    for _ in range(NEWTON_ROUNDS):
        q, rest = tempered(sample, power)
        weighted = np.vstack([q, rest * sample.num_rest])
        weighted *= sample.logs
        means = weighted.sum(axis=0)
        slope = float(sample.logs[0].sum() - means.sum())
        weighted *= sample.logs
        curvature = float(weighted.sum() - (means**2).sum())
        before, step = power, slope / max(curvature, TINY)
        power = float(np.clip(power + step, power / 2, power * 2))
        if abs(power - before) < tolerance * power:
            break
    return power


def anchors(sample: LogProbs, q: Matrix) -> tuple[Matrix, Matrix]:
    """Return t (K,), and A (K, K) [true, given]: what rows surely of one class steadily give to another."""
    K, given_probs, given = sample.num_classes, q[0], sample.given
    t = _means(given, given_probs, np.full(K, 1 / K)).clip(min=2e-6)
    confident = given_probs >= t[given] - SLACK
    bars = _means(given[confident], given_probs[confident], t)
    relative = q / t[sample.classes]
    best, rows = _first_largest(relative), np.arange(len(given_probs))
    anchor_class = sample.classes[best, rows]
    sure = q[best, rows] >= bars[anchor_class] - TINY
    counts = np.bincount(anchor_class[sure], minlength=K)[:, np.newaxis]
    q = q[:, sure]
    cells = anchor_class[sure] * K + sample.classes[:, sure]
    means = _sums(cells, q, K) / counts.clip(min=1)
    squares = _sums(cells, q**2, K) / counts.clip(min=1)
    # a class without a sure row: its labels count as right
    A = np.where(counts > 0, means * means * means / squares.clip(min=1e-30), np.eye(K))
    return t, A


def latent_transition(
    sample: LogProbs,
    power: float,
    *,
    row_weights: Matrix | None = None,
    start: Matrix | None = None,
    num_rounds: int = NUM_ROUNDS,
) -> tuple[Matrix, Matrix]:
    """Return T (K, K) by EM, and each row's probability (S,) that its given label is right under T.

    The true class of a row is drawn from p ** power, its label from T[true]; T's rows carry one
    pseudo-count, spread evenly.
    """
    K, cells = sample.num_classes, _cells(sample)
    q, rest = tempered(sample, power)
    weights = 1.0 if row_weights is None else row_weights
    transposed = (_mostly_right(K) if start is None else start).T
    joint, total = _evidence(transposed, q, rest, cells, sample)
    for _ in range(num_rounds):
        joint *= weights / total
        counts = _sums(cells, joint, K)
        totals = counts.sum(axis=0) + 1
        counts += 1 / K
        transposed = np.divide(counts, totals, out=counts)
        joint, total = _evidence(transposed, q, rest, cells, sample)
    return transposed.T, joint[0] / total


def expected_joint(sample: LogProbs, T: Matrix, power: float) -> Matrix:
    """Return expected counts (K, K) [true, given] of the sample's rows, true classes ~ p ** power under T."""
    cells = _cells(sample)
    joint, total = _evidence(T.T, *tempered(sample, power), cells, sample)
    return _sums(cells, joint / total, sample.num_classes).T


def _evidence(
    transposed: Matrix, q: Matrix, rest: Matrix, cells: Labels, sample: LogProbs
) -> tuple[Matrix, Matrix]:
    """Return P(true class and given label) of the top classes (M, S), and its sum over all classes (S,)."""
    joint = transposed.ravel().take(cells)
    joint *= q
    off_diagonal = (transposed.sum(axis=1) - transposed.diagonal()) / max(len(transposed) - 1, 1)
    return joint, joint.sum(axis=0) + sample.num_rest * rest * off_diagonal[sample.given]


def _mostly_right(num_classes: int) -> Matrix:
    """Return T (K, K) where nine labels in ten are right."""
    T = np.full((num_classes, num_classes), 0.1 / (num_classes - 1))
    np.fill_diagonal(T, 0.9)
    return T


def _first_largest(values: Matrix) -> Labels:
    """Return the row of each column's first largest value; `argmax` over rows is far slower."""
    best, first = values[0].copy(), np.zeros(values.shape[1], dtype=np.intp)
    for row in range(1, len(values)):
        first[values[row] > best] = row
        np.maximum(best, values[row], out=best)
    return first


def _means(classes: Labels, values: Matrix, default: Matrix) -> Matrix:
    """Return each class's mean value (K,), the default where it has no row."""
    counts = np.bincount(classes, minlength=len(default))
    sums = np.bincount(classes, values, minlength=len(default))
    return np.where(counts > 0, sums / counts.clip(min=1), default)


def _cells(sample: LogProbs) -> Labels:
    """Return indices (M, S) of the top classes in a flat [given, true] table: a row's cells lie together."""
    return sample.given * sample.num_classes + sample.classes


def _sums(cells: Labels, values: Numbers, num_classes: int) -> Matrix:
    flat = np.bincount(cells.ravel(), values.ravel(), minlength=num_classes**2)
    table: Matrix = flat.astype(np.float64, copy=False).reshape(num_classes, num_classes)  # whole if empty
    return table


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbabilityCurve:
    """Probability of a wrong label as a rising function of suspicion, linear between its knots."""

    suspicion: Matrix
    """Knots, rising."""
    probability: Matrix
    """Values there, never falling."""
    mean: float
    """Mean probability of the rows it was fitted on: their noise rate."""


def suspicion(classes: Classes, probs: Numbers, model: NoiseModel) -> Matrix:
    """Return z (N,) of top classes and their probabilities: the higher, the more suspicious."""
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
    evidence = np.empty((len(values) + (len(model.weights) > NUM_TOP), len(probs)))
    if len(evidence) > len(values):
        evidence[-1] = _evidence_of_rest(values, model)
    np.maximum(values, np.array([[TINY]] + [[LOWEST_OTHER]] * (len(values) - 1)), out=values)
    top = np.log(values, out=evidence[: len(values)])
    top *= model.power
    top += log_weights.take(cells)
    given, others = evidence[0], evidence[1:]
    best = others.max(axis=0)
    others -= best
    others *= POWER
    sums = np.exp(others, out=others).sum(axis=0)
    z: Matrix = best + np.log(sums) / POWER - given
    return z


def _evidence_of_rest(values: Matrix, model: NoiseModel) -> Matrix:
    """Return the evidence of the classes below the top as one, equally likely and weighted by the leak."""
    num_rest = len(model.weights) - NUM_TOP
    each = (1 - values.sum(axis=0)).clip(min=0) / num_rest
    scale = num_rest * model.leak / float(model.self_confidence.mean())
    evidence: Matrix = model.power * np.log(each.clip(min=LOWEST_OTHER)) + np.log(scale)
    return evidence


def probability_wrong(z: Matrix, curve: ProbabilityCurve) -> Matrix:
    """Return probabilities (N,) in 0..1 that given labels are wrong, by suspicion."""
    knots, values = curve.suspicion, curve.probability
    slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
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
    return ProbabilityCurve(
        suspicion=knots, probability=_pooled(means, counts).clip(0, 1), mean=float(y.mean())
    )


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
