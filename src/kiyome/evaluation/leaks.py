"""Scores of a test set whose photos lie in the training data, too. N test rows.

A model has seen the label of a leaked photo, so it is scored on its memory there. If train has another label
for the photo, that memory is wrong, and the score too low.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, difference_of_proportions, group_numbers, proportion_of_rows


@dataclass(frozen=True, kw_only=True)
class ScoresWithoutLeaks:
    """Accuracy on all rows of a test set, and without those that lie in the training data."""

    on_all: Estimate
    on_leaks: Estimate | None
    """Accuracy on the rows that lie in train; None without any."""
    without_leaks: Estimate | None
    """Accuracy on the rows that do not; None if all do."""
    difference: Estimate | None
    """Accuracy on all rows less that without leaks; None where there is only one kind of rows."""
    num_conflicts: int
    """Leaked rows that have another label in train."""

    @property
    def num_leaks(self) -> int:
        """Rows that lie in train."""
        return 0 if self.on_leaks is None else self.on_leaks.num_rows

    def describe(self) -> str:
        """Return the scores in a sentence.

        >>> scores_without_leaks([True] * 9 + [False], [True] * 2 + [False] * 8).describe()[84:]
        'the 2 that probably lie in train, 0 of these with another label: +2.50 points \
(-10.81 to +9.42).'
        """
        text = f"{self.on_all.as_percent()} on all rows"
        if self.on_leaks is None:
            return f"{text}, none of which is known to lie in train."
        if self.without_leaks is None or self.difference is None:
            return f"{text}, all of which probably lie in train."
        gain = self.difference
        value, low, high = (100 * each for each in (gain.value, gain.low, gain.high))
        return (
            f"{text}, {self.without_leaks.as_percent()} without the {self.num_leaks:,} that probably lie in"
            f" train, {self.num_conflicts:,} of these with another label: {value:+.2f} points ({low:+.2f} to"
            f" {high:+.2f})."
        )


def scores_without_leaks(
    correct: ArrayLike,
    is_leaked: ArrayLike,
    has_other_label: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> ScoresWithoutLeaks:
    """Return the accuracy on all rows of a test set, and without those that lie in the training data.

    Parameters
    ----------
    correct
        (N,) true where the prediction is the given label.
    is_leaked
        (N,) true where the photo, or a copy of it, lies in the training data.
    has_other_label
        (N,) true where it has another label there.
    groups
        (N,) rows with the same value belong together; an empty text stands alone.
    confidence, seed
        Of the intervals, and of their bootstrap over groups.

    Raises
    ------
    InputError
        Arrays of other shapes or types; another label of a row that does not lie in train.

    Notes
    -----
    Photos with copies may be easier or harder than others, so the rest is no random part of the test set.

    Examples
    --------
    >>> scores = scores_without_leaks([True, True, True, False], [True, True, False, False])
    >>> scores.on_all.value, scores.without_leaks.value, scores.difference.value
    (0.75, 0.5, 0.25)
    """
    right = _mask("correct", correct, np.size(correct))
    leaked = _mask("is_leaked", is_leaked, len(right))
    conflicts = np.zeros(len(right), np.bool_) if has_other_label is None else has_other_label
    other = _mask("has_other_label", conflicts, len(right))
    if (other & ~leaked).any():
        raise InputError(
            f"Row {int((other & ~leaked).argmax())} has another label in train, but does not lie there.",
            expected="Expected has_other_label only where is_leaked is true.",
            remedy="Pass has_other_label & is_leaked.",
        )
    together = None if groups is None else group_numbers(groups, len(right))

    def accuracy(rows: NDArray[np.bool_]) -> Estimate | None:
        if not rows.any():
            return None
        kept = None if together is None else together[rows]
        return proportion_of_rows(right[rows], groups=kept, confidence=confidence, seed=seed)

    on_leaks, without_leaks = accuracy(leaked), accuracy(~leaked)
    return ScoresWithoutLeaks(
        on_all=proportion_of_rows(right, groups=together, confidence=confidence, seed=seed),
        on_leaks=on_leaks,
        without_leaks=without_leaks,
        difference=_difference(on_leaks, without_leaks) if on_leaks and without_leaks else None,
        num_conflicts=int(other.sum()),
    )


def _difference(on_leaks: Estimate, without_leaks: Estimate) -> Estimate:
    """Return accuracy on all rows less that without leaks: the gap between both, times the share of leaks."""
    gap = difference_of_proportions(on_leaks, without_leaks)
    share = on_leaks.num_rows / gap.num_rows
    return replace(gap, value=share * gap.value, low=share * gap.low, high=share * gap.high)


def _mask(name: str, values: ArrayLike, num_rows: int) -> NDArray[np.bool_]:
    mask = np.asarray(values)
    if mask.shape != (num_rows,) or mask.dtype != np.bool_ or not num_rows:
        raise InputError(
            f"{name} has shape {mask.shape} of {mask.dtype}.",
            expected=f"Expected ({num_rows},) of bool, at least one row.",
            remedy="Pass one value for each test row.",
        )
    return mask
