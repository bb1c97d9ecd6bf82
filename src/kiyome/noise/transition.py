"""Transition and posterior matrices: estimated, in closed form, drawn at random. N rows, K classes.

    joint[true, given]                     shares or counts
    transition_matrix[true, given]         P(given | true): each row of the joint over its sum
    posterior_matrix[given, true]          P(true | given): each column over its sum, as a row

The row is always what you condition on, so rows sum to one. cleanlab's `noise_matrix` is the transpose of the
first, its `inverse_noise_matrix` the transpose of the second. A class without any mass has no distribution:
its row is the identity's, which counts its labels as right and keeps rows at one.

Noise and predictions with known truth, for tests, docs and trials:

    rng = np.random.default_rng(0)
    T = class_dependent_transition(5, 0.2, rng)            which classes people confuse
    labels = inject_label_noise(true_labels, T, rng)       given labels
    pred_probs = simulate_pred_probs(true_labels, 5, rng)  a model's predictions
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Matrix, check_arrays, check_labels
from kiyome.errors import InputError, choose
from kiyome.noise.adaptive import ADAPTIVE, adaptive_joint, fit_adaptive
from kiyome.noise.confident_joint import confident_joint


def transition_matrix(labels: ArrayLike, pred_probs: ArrayLike, *, method: str = "confident_joint") -> Matrix:
    """Return the estimated T (K, K), T[true, given] = P(given label | true class); rows sum to one.

    Parameters
    ----------
    labels
        (N,) given labels, whole numbers from 0 to K-1.
    pred_probs
        (N, K) out-of-fold probabilities, rows sum to one.
    method
        "confident_joint": of the calibrated confident joint, as in cleanlab.
        "adaptive": of the expected joint under the hidden true classes of `noise_rate`'s default.

    Raises
    ------
    InputError
        An unknown method; unsuitable arrays.

    Notes
    -----
    On 149 sets with known truth the adaptive matrix was the nearer one in 130: half the sum of absolute
    differences, averaged over true classes, 0.104 against 0.168 (with predictors right on 85 % or more,
    0.028 against 0.034, n = 46).

    The confident joint's row of a class without a confident row is the identity's. Under noise that depends
    on the photo the diagonal comes out too large (see `noise_rate`).

    Examples
    --------
    >>> pred_probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> transition_matrix([0, 0, 1, 1, 1], pred_probs).round(3)
    array([[0.667, 0.333],
           [0.   , 1.   ]])
    """
    return transition_of(_joint(labels, pred_probs, method))


def posterior_matrix(labels: ArrayLike, pred_probs: ArrayLike, *, method: str = "confident_joint") -> Matrix:
    """Return the estimated matrix (K, K), [given, true] = P(true class | given label); rows sum to one.

    Parameters and errors are those of `transition_matrix`. The row of a label without rows is the identity's.

    Examples
    --------
    >>> pred_probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.95, 0.05]]
    >>> posterior_matrix([0, 0, 1, 1, 1], pred_probs).round(3)
    array([[1.   , 0.   ],
           [0.333, 0.667]])
    """
    return posterior_of(_joint(labels, pred_probs, method))


def transition_of(joint: ArrayLike) -> Matrix:
    """Return the transition matrix of a joint [true, given] of shares or counts.

    >>> transition_of([[6, 2], [0, 2]])
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    return _rows_over_their_sum(_square(joint))


def posterior_of(joint: ArrayLike) -> Matrix:
    """Return the posterior matrix [given, true] of a joint [true, given] of shares or counts.

    >>> posterior_of([[6, 2], [0, 2]])
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    return _rows_over_their_sum(_square(joint).T)


def joint_from_transition(transition_matrix: ArrayLike, true_shares: ArrayLike) -> Matrix:
    """Return the joint [true, given] of a transition matrix and shares (K,) of the true classes.

    >>> joint_from_transition([[0.75, 0.25], [0, 1]], [0.8, 0.2])
    array([[0.6, 0.2],
           [0. , 0.2]])
    """
    return _square(transition_matrix) * np.asarray(true_shares, dtype=np.float64)[:, np.newaxis]


def joint_from_posterior(posterior_matrix: ArrayLike, given_shares: ArrayLike) -> Matrix:
    """Return the joint [true, given] of a posterior matrix and shares (K,) of the given labels.

    >>> joint_from_posterior([[1, 0], [0.5, 0.5]], [0.6, 0.4])
    array([[0.6, 0.2],
           [0. , 0.2]])
    """
    return (_square(posterior_matrix) * np.asarray(given_shares, dtype=np.float64)[:, np.newaxis]).T


def posterior_from_transition(transition_matrix: ArrayLike, true_shares: ArrayLike) -> Matrix:
    """Return, by Bayes' rule, the posterior matrix [given, true] of a transition matrix and true shares (K,).

    >>> posterior_from_transition([[0.75, 0.25], [0, 1]], [0.8, 0.2])
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    return posterior_of(joint_from_transition(transition_matrix, true_shares))


def transition_from_posterior(posterior_matrix: ArrayLike, given_shares: ArrayLike) -> Matrix:
    """Return, by Bayes' rule, the transition matrix of a posterior matrix and given shares (K,).

    >>> transition_from_posterior([[1, 0], [0.5, 0.5]], [0.6, 0.4])
    array([[0.75, 0.25],
           [0.  , 1.  ]])
    """
    return transition_of(joint_from_posterior(posterior_matrix, given_shares))


def _joint(labels: ArrayLike, pred_probs: ArrayLike, method: str) -> ArrayLike:
    choose("method", method, ("confident_joint", ADAPTIVE))
    if method == ADAPTIVE:
        return adaptive_joint(fit_adaptive(*check_arrays(labels, pred_probs)))
    return confident_joint(labels, pred_probs)


def _rows_over_their_sum(masses: Matrix) -> Matrix:
    totals = masses.sum(axis=1, keepdims=True)  # without keepdims, columns would be divided
    return np.where(totals > 0, masses / np.where(totals > 0, totals, 1), np.eye(len(masses)))


def _square(matrix: ArrayLike) -> Matrix:
    square = np.asarray(matrix, dtype=np.float64)
    if square.ndim != 2 or square.shape[0] != square.shape[1] or not (square >= 0).all():
        raise InputError(
            f"The matrix has shape {square.shape}"
            + (f" and a least entry of {square.min()}." if square.size else "."),
            expected="Expected a square matrix without negative or missing numbers.",
            remedy="Pass a (K, K) array.",
        )
    return square


def class_dependent_transition(
    num_classes: int,
    noise_rate: float,
    rng: np.random.Generator,
    *,
    true_shares: ArrayLike | None = None,
    concentration: float = 0.5,
) -> Matrix:
    """Return a random transition matrix (K, K) [true, given] with exactly this overall noise rate.

    Parameters
    ----------
    num_classes
        K, at least 2.
    noise_rate
        Share of wrong labels, from 0 to 1, when classes have `true_shares`. Classes differ, from none to
        twice that share (from `2 * noise_rate - 1` to all where it is above one half).
    rng
        Source of randomness.
    true_shares
        (K,) shares of the true classes; all equal where left out.
    concentration
        How a class's errors spread over the others: near 0 to one other class, large to all alike.

    Raises
    ------
    InputError
        Fewer than two classes, or a rate outside 0..1.

    Examples
    --------
    >>> T = class_dependent_transition(3, 0.2, np.random.default_rng(0))
    >>> T.sum(axis=1).round(9), round(float(1 - T.trace() / 3), 9)
    (array([1., 1., 1.]), 0.2)
    """
    if num_classes < 2 or not 0 <= noise_rate <= 1:
        raise InputError(
            f"num_classes={num_classes}, noise_rate={noise_rate}: one is out of its range.",
            expected="Expected two classes or more and a noise_rate in 0..1.",
            remedy="Correct the number.",
        )
    shares = np.full(num_classes, 1 / num_classes) if true_shares is None else np.asarray(true_shares)
    offsets = rng.random(num_classes)
    offsets -= shares @ offsets / shares.sum()  # now within -1..1, and of weighted mean 0
    rates = noise_rate + min(noise_rate, 1 - noise_rate) * offsets
    T = np.diag(1 - rates)
    T[~np.eye(num_classes, dtype=bool)] = (
        rates[:, np.newaxis] * rng.dirichlet(np.full(num_classes - 1, concentration), size=num_classes)
    ).ravel()
    return T


def inject_label_noise(
    true_labels: ArrayLike, transition_matrix: ArrayLike, rng: np.random.Generator
) -> Labels:
    """Return labels (N,) drawn row by row from the transition matrix's row of the true class.

    Parameters
    ----------
    true_labels
        (N,) right labels, whole numbers from 0 to K-1.
    transition_matrix
        (K, K) [true, given], rows sum to one.
    rng
        Source of randomness. Rows are independent, so the share of wrong labels varies about its mean.

    Raises
    ------
    InputError
        Rows of the matrix that are no distribution; labels that do not fit it.

    Examples
    --------
    >>> inject_label_noise([0, 1, 1, 0], [[0, 1], [0, 1]], np.random.default_rng(0))
    array([1, 1, 1, 1])
    """
    T = np.asarray(transition_matrix, dtype=np.float64)
    square = T.ndim == 2 and T.shape[0] == T.shape[1]
    if not (square and (T >= 0).all() and np.allclose(T.sum(axis=1), 1)):
        raise InputError(
            f"The transition matrix has {f'row sums {T.sum(axis=1)}' if square else f'shape {T.shape}'}.",
            expected="Expected a square matrix without negative numbers whose rows sum to one.",
            remedy="Pass T[true, given]; cleanlab's noise_matrix is the transpose.",
        )
    truth = check_labels(true_labels, num_rows=np.size(true_labels), num_classes=len(T))
    labels, uniform = truth.copy(), rng.random(len(truth))
    for true, row in enumerate(T):
        here = truth == true
        steps = row.cumsum()
        labels[here] = np.searchsorted(steps / steps[-1], uniform[here], side="right")
    return labels


def simulate_pred_probs(
    true_labels: ArrayLike,
    num_classes: int,
    rng: np.random.Generator,
    *,
    accuracy: float = 0.9,
    temperature: float = 1.0,
) -> Matrix:
    """Return predictions (N, K) of a simulated model with a known accuracy and a known miscalibration.

    A row's probabilities are drawn first, then the class that each belongs to, by these probabilities: at
    temperature 1, of rows with a probability of 0.8, 80 % are right.

    Parameters
    ----------
    true_labels
        (N,) right labels, whole numbers from 0 to K-1. The model has never seen a wrong one.
    num_classes
        K, at least 2.
    rng
        Source of randomness.
    accuracy
        Expected share of rows whose likeliest class is the true one, above 0.5 and at most 1.
    temperature
        Below 1 the model is over-confident, above 1 under-confident. The accuracy does not depend on it.

    Raises
    ------
    InputError
        A number out of its range; labels that do not fit.

    Notes
    -----
    Calibrated over all rows, and within each class where classes are equally frequent.

    Examples
    --------
    >>> true_labels = np.arange(10_000) % 3
    >>> probs = simulate_pred_probs(true_labels, 3, np.random.default_rng(0), accuracy=0.8)
    >>> float((probs.argmax(axis=1) == true_labels).mean().round(1)), float(probs.max(axis=1).mean().round(1))
    (0.8, 0.8)
    """
    if num_classes < 2 or not 0.5 < accuracy <= 1 or not temperature > 0:
        raise InputError(
            f"num_classes={num_classes}, accuracy={accuracy}, temperature={temperature}: one is out of its"
            " range.",
            expected="Expected two classes or more, an accuracy in 0.5..1, a temperature above 0.",
            remedy="Correct the number.",
        )
    truth = check_labels(true_labels, num_rows=np.size(true_labels), num_classes=num_classes)
    N, K = len(truth), num_classes
    rows = np.arange(N)
    # a beta variable on 0.5..1, whose mean is the accuracy; the rest goes to the other classes
    mean = 2 * accuracy - 1
    top = 0.5 + 0.5 * (rng.beta(2 * mean, 2 * (1 - mean), size=N) if mean < 1 else np.ones(N))
    slots = np.column_stack([top, (1 - top)[:, np.newaxis] * rng.dirichlet(np.ones(K - 1), size=N)])
    # the true class falls into a slot with that slot's probability, the others fill the rest at random
    slot_of_truth = (slots.cumsum(axis=1) <= rng.random((N, 1))).sum(axis=1).clip(max=K - 1)
    slot_of_class = rng.permuted(np.tile(np.arange(K), (N, 1)), axis=1)
    displaced = slot_of_class[rows, truth]
    slot_of_class[slot_of_class == slot_of_truth[:, np.newaxis]] = displaced
    slot_of_class[rows, truth] = slot_of_truth
    probs: Matrix = np.take_along_axis(slots, slot_of_class, axis=1) ** (1 / temperature)
    probs /= probs.sum(axis=1, keepdims=True)
    return probs
