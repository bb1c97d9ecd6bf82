"""What a look at a row is expected to bring. N rows, K classes.

The gain of a row is the number of labels that one look at its photo is expected to put right with the
suggestion at hand:

    gain = sum over the rows that show the same picture of
           P(label wrong) * P(truth is the likeliest other class, given that the label is wrong)

It differs from suspicion, which is the first factor alone, in two ways. A photo that could be several other
classes comes later: a person is likely to be unsure there, or wrong. A picture that lies in several rows
comes earlier: one look settles them all, so they lie side by side in the queue.

Weighing how wrong a label seems against how ambiguous the photo is follows Bernhardt et al. (2022), "Active
label cleaning for improved dataset quality under resource constraints", Nature Communications 13, 1161, who
subtract the entropy of the prediction from its cross-entropy with the label; here both are chances, and
multiplied.
"""

import numpy as np
from numpy.typing import NDArray

from kiyome.errors import InputError
from kiyome.review.subject import ALONE, Subject

BLOCK_ENTRIES = 2**20


def expected_gain(subject: Subject) -> NDArray[np.float64]:
    """Labels (N,) that a look at each row is expected to correct; above 1 only where rows are duplicates.

    Raises
    ------
    InputError
        In a blind review, which has no chances.
    """
    if subject.probability is None or subject.pred_probs is None or subject.given_labels is None:
        raise InputError(
            "Gain is weighed by chances and guesses.", came="a blind review", remedy="Ask for order 'random'."
        )
    gain = subject.probability * clarity(subject.given_labels, subject.pred_probs)
    return gain if subject.duplicate_groups is None else shared_by_group(gain, subject.duplicate_groups)


def clarity(labels: NDArray[np.integer], pred_probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Share (N,) that the likeliest other class has among all classes but the given one.

    Parameters
    ----------
    labels
        (N,) given ones.
    pred_probs
        (N, K), read in blocks.

    Examples
    --------
    >>> clarity(np.array([0, 0]), np.array([[0.2, 0.8, 0.0], [0.2, 0.4, 0.4]])).tolist()
    [1.0, 0.5]
    """
    shares = np.empty(len(labels))
    block = max(1, BLOCK_ENTRIES // pred_probs.shape[1])
    for start in range(0, len(labels), block):
        given = labels[start : start + block]
        others = np.array(pred_probs[start : start + block], dtype=np.float64)
        others[np.arange(len(given)), given] = 0
        total = others.sum(axis=1)
        # where all is on the given class, nothing is clear about the others
        shares[start : start + block] = np.divide(
            others.max(axis=1), total, out=np.full(len(given), 1 / (others.shape[1] - 1)), where=total > 0
        )
    return shares


def shared_by_group(gain: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each row's gain (N,), or the sum over its group where other rows show the same picture.

    >>> shared_by_group(np.array([0.5, 0.25, 0.5]), np.array([ALONE, 0, 0])).tolist()
    [0.5, 0.75, 0.75]
    """
    together = groups != ALONE
    sums = np.bincount(groups[together], weights=gain[together])
    shared = gain.copy()
    shared[together] = sums[groups[together]]
    return shared
