"""Noise and predictions whose truth is known, for tests, docs and trials. N rows, K classes.

rng = np.random.default_rng(0)
T = class_dependent_transition(5, 0.2, rng)            what people confuse
labels = inject_label_noise(true_labels, T, rng)       what they wrote
pred_probs = simulate_pred_probs(true_labels, 5, rng)  what a model would say
"""

import numpy as np
from numpy.typing import ArrayLike

from kiyome.checks import Labels, Matrix, check_labels
from kiyome.errors import InputError


def class_dependent_transition(
    num_classes: int,
    noise_rate: float,
    rng: np.random.Generator,
    *,
    true_shares: ArrayLike | None = None,
    concentration: float = 0.5,
) -> Matrix:
    """A random transition matrix (K, K) [true, given] whose overall noise rate is exactly `noise_rate`.

    Parameters
    ----------
    num_classes
        K, at least 2.
    noise_rate
        Share of wrong labels, from 0 to 1, when classes have `true_shares`. Classes differ, from none to
        twice that share (from `2 * noise_rate - 1` to all where it is above one half).
    rng
        Source of chance.
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
            "There are at least two classes, and noise_rate lies in 0..1.",
            came=f"num_classes={num_classes}, noise_rate={noise_rate}",
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
    """Labels (N,) drawn row by row from the transition matrix's row of the true class.

    Parameters
    ----------
    true_labels
        (N,) right labels, whole numbers from 0 to K-1.
    transition_matrix
        (K, K) [true, given], rows sum to one.
    rng
        Source of chance. Each row is drawn alone, so the share of wrong labels varies about its mean.

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
            "A transition matrix is square, without negative numbers, and its rows sum to one.",
            came=f"row sums {T.sum(axis=1)}" if square else f"shape {T.shape}",
            remedy="Pass T[true, given]; cleanlab's noise_matrix is the transpose.",
        )
    truth = check_labels(true_labels, num_rows=np.size(true_labels), num_classes=len(T))
    labels, chances = truth.copy(), rng.random(len(truth))
    for true, row in enumerate(T):
        here = truth == true
        steps = row.cumsum()
        labels[here] = np.searchsorted(steps / steps[-1], chances[here], side="right")
    return labels


def simulate_pred_probs(
    true_labels: ArrayLike,
    num_classes: int,
    rng: np.random.Generator,
    *,
    accuracy: float = 0.9,
    temperature: float = 1.0,
) -> Matrix:
    """Predictions (N, K) of a made-up model with a known accuracy and a known miscalibration.

    A row's largest probability is drawn first, then its true class is placed by these very probabilities:
    at temperature 1, of rows with a probability of 0.8, 80 % are right.

    Parameters
    ----------
    true_labels
        (N,) right labels, whole numbers from 0 to K-1. The model has never seen a wrong one.
    num_classes
        K, at least 2.
    rng
        Source of chance.
    accuracy
        Expected share of rows whose likeliest class is the true one, above 0.5 and at most 1.
    temperature
        Below 1 the model is over-confident, above 1 under-confident. It does not touch the accuracy.

    Raises
    ------
    InputError
        A dial out of its range; labels that do not fit.

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
            "There are at least two classes, accuracy lies above 0.5 and up to 1, temperature above 0.",
            came=f"num_classes={num_classes}, accuracy={accuracy}, temperature={temperature}",
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
