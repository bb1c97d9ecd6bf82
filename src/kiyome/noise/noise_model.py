"""The noise model of a sample of rows.

The true class of each row is hidden. N rows, S of them sampled, K classes, M top classes of a sampled row.
Every K x K is [true, given].

    q = p ** tau, rows at one    tau by likelihood of the given labels: results are free of p's temperature
    t_k                          mean q_k of the rows labeled k
    A[k, j] = m ** 3 / s         over rows surely of class k: m the mean of q_j, s its mean square
    T                            by EM: true class ~ q ** sharpness, given label ~ T[true]
    W = (A + T) / 2 + leak       the weight of another class in the ranking

Labels and predictions alone cannot distinguish a predictor's doubt from people's errors. A and T guess in
opposite ways: a predictor's doubt comes and goes, so A shrinks what is not steady over the sure rows; T
counts as noise what surprises a sharpened predictor. Each fails where the other works, and the leak bounds
both.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kiyome.checks import Labels, Matrix, Numbers
from kiyome.noise.sharpness import NoiseStatistics, agreement, noise_statistics
from kiyome.noise.top_classes import Sample

LEAK = 0.04  # times 1 / mean(t): the weaker the predictor, the less its confusions show noise
NUM_ROUNDS = 10  # of EM; 8 lose 0.001 of average precision
TINY = 1e-12  # below it, a probability is rounding
SLACK = 1e-9  # a row this close below a mean counts as above it

POWER_RANGE = 0.02, 50.0  # a predictor beyond it is one-hot or blind, and tau has no meaning
NEWTON_ROUNDS = 20
CONVERGED = 1e-7  # of the power: Newton doubles the digits, so the next step would be rounding
NEAR = 1e-2  # of the power by some of the rows, where Newton starts with all of them
ONE_IN = 10  # rows for that

STANDARD_ERRORS = 2  # below a model's agreement, that of other rows is surely less
IDENTITY = 0.03  # part of it in A, so that its inverse stays small


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
    anchors: Matrix
    """(K, K) A, rows at one."""
    statistics: NoiseStatistics

    @cached_property
    def inverse(self) -> Matrix:
        """(K, K) what turns calibrated probabilities of given labels into those of true classes."""
        mixing = (1 - IDENTITY) * self.anchors + IDENTITY * np.eye(len(self.anchors))
        return np.linalg.pinv(mixing).astype(np.float64, copy=False)

    @property
    def true_power(self) -> float:
        """Power of pred_probs that true classes are drawn from."""
        return self.statistics.sharpness * self.power

    def for_rows(self, sample: LogProbs) -> "NoiseModel":
        """Return the model for rows too few for their own: it states less if they surely agree less."""
        q, _ = tempered(sample, self.power)
        likeliest = _first_largest(q)
        predicted = sample.classes[likeliest, np.arange(q.shape[1])]
        agrees = float((likeliest == 0).mean())
        most = agrees + STANDARD_ERRORS * np.sqrt(agrees * (1 - agrees) / len(predicted))
        kappa = agreement(sample.given, predicted, float(most), sample.num_classes)
        if kappa >= self.statistics.kappa:
            return self
        return replace(self, statistics=replace(self.statistics, kappa=kappa))


def fit_noise(sample: LogProbs) -> tuple[NoiseModel, Matrix]:
    """Return the noise model of a sample, and each row's probability (S,) of a right label."""
    power = calibrating_power(sample)
    q, _ = tempered(sample, power)
    t, A = anchors(sample, q)
    likeliest = _first_largest(q)
    rows = np.arange(q.shape[1])
    predicted, sureness = sample.classes[likeliest, rows], q[likeliest, rows]
    statistics = noise_statistics(sample.given, predicted, sureness, likeliest == 0, A)
    T, right = latent_transition(sample, statistics.sharpness * power)
    leak = LEAK / float(t.mean())
    weights = (A + T) / 2 + leak * (1 - np.eye(sample.num_classes))
    weights = weights.clip(min=TINY)
    model = NoiseModel(
        power=power,
        self_confidence=t,
        weights=weights,
        leak=leak,
        transition=T,
        anchors=A / A.sum(axis=1, keepdims=True),
        statistics=statistics,
    )
    return model, right


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
