"""What makes a number mean less than it seems: signs that can be seen, as marks that stay with the number.

Whether predictions were made out of fold cannot be known from them. A model that saw its own labels shows
where labels are wrong: it repeats nearly all of these, which one that did not see them has no way to do.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, proportion

MOST_REPEATED = 0.4  # of labels known to be wrong; what had not seen them repeated 0 to 13 %
MOST_SUSPECTS_MET = (
    0.8  # of labels that another model speaks against; it errs, too: up to 66 % on clean labels
)
SURE = 0.9  # another model's probability for another class, from which it speaks against a label


def repeated_mistakes(labels: ArrayLike, choice: ArrayLike, is_suspect: ArrayLike) -> Estimate | None:
    """Of labels that are wrong, or that another model speaks against, the share that a model chooses.

    Parameters
    ----------
    labels, choice
        (N,) given labels, and the classes that the model chooses.
    is_suspect
        (N,) true where the label is known to be wrong, or is probably so by what did not see it either.

    Returns
    -------
    Estimate or None
        None where no row is suspect.

    Examples
    --------
    >>> repeated_mistakes([0, 1, 1, 1], [0, 1, 1, 0], [False, True, True, True]).value
    0.6666666666666666
    """
    given, chosen, suspect = (np.asarray(each) for each in (labels, choice, is_suspect))
    if given.shape != chosen.shape or suspect.shape != given.shape or suspect.dtype != np.bool_:
        raise InputError(
            "There is a label, a choice and a suspicion, true or false, for each row.",
            came=f"shapes {given.shape}, {chosen.shape}, {suspect.shape} of {suspect.dtype}",
            remedy="Pass three arrays of N.",
        )
    if not suspect.any():
        return None
    return proportion(int((given == chosen)[suspect].sum()), int(suspect.sum()))


def speaks_against(labels: NDArray[np.integer], pred_probs: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Rows (N,) where a model is sure of another class than the given label.

    >>> speaks_against(np.array([0, 0]), np.array([[0.05, 0.95], [0.4, 0.6]]))
    array([ True, False])
    """
    against: NDArray[np.bool_] = (pred_probs.argmax(axis=1) != labels) & (pred_probs.max(axis=1) >= SURE)
    return against


def mark_of_seen_labels(
    repeated: Estimate | None, known_by: str, *, most: float = MOST_SUSPECTS_MET
) -> str | None:
    """What to say of predictions that repeat more mistakes than `most`; None where there is no such sign.

    A forest that saw its labels repeats all mistakes, a small network 59 to 88 %, a linear head 1 to 11 %, no
    more than one that did not see them: no mark is no proof.

    >>> mark_of_seen_labels(proportion(58, 60), "true labels")[:60]
    'repeats 96.7 % (88.6 to 99.1 %, n = 60) of the labels that a'
    >>> mark_of_seen_labels(proportion(6, 60), "true labels")
    """
    if repeated is None or repeated.low < most:
        return None
    return (
        f"repeats {repeated.as_percent()} of the labels that are wrong by {known_by}: predictions that did"
        " not see these labels hardly could; are they in sample?"
    )
