"""True accuracy of a model from a review under way. N rows.

    true accuracy = accuracy on given + share gained - share lost

    gained    rows whose label is wrong and whose true class the model predicts
    lost      rows whose wrong label it repeats

Both are counted in the reviewed rows. In all others they are estimated from rows that were looked at whatever
their suspicion, as the noise rate is (`review_audit`); without such rows any unseen label may be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate, check_confidence
from kiyome.evaluation.review_audit import (
    RIGHT,
    UNSEEN,
    UNSURE,
    WRONG,
    ReviewDesign,
    check_review_answers,
    estimate_review,
    head_and_sample,
    share_left,
)


@dataclass(frozen=True, kw_only=True)
class ReviewedScore:
    """What a review says about the score of a model on the N rows under review."""

    accuracy_on_true: Estimate
    """Its rows are those of the random sample, on which the interval rests beside the counted ones."""
    noise_rate: Estimate
    num_seen: int
    """Rows that somebody looked at."""
    num_wrong: int
    """Wrong labels among them."""
    num_unsure: int
    """Rows among them on which people are unsure or disagree: the interval holds all their answers."""

    @property
    def num_measured(self) -> int:
        """Rows of the random sample."""
        return self.accuracy_on_true.num_rows

    def describe(self) -> str:
        """Return the result in a sentence."""
        true = self.accuracy_on_true
        value, low, high = (100 * each for each in (true.value, true.low, true.high))
        unsure = f", {self.num_unsure:,} unsure or disputed" if self.num_unsure else ""
        return (
            f"True accuracy by the review: {value:.1f} % ({low:.1f} to {high:.1f} %); {self.num_seen:,} rows"
            f" reviewed, {self.num_wrong:,} labels found wrong{unsure}; rest by {self.num_measured:,} random"
            " rows."
        )


def reviewed_score(
    design: ReviewDesign,
    answers: ArrayLike,
    right_on_given: ArrayLike,
    right_on_reviewed: ArrayLike,
    *,
    confidence: float = 0.95,
) -> ReviewedScore:
    """Return the true accuracy and the noise rate of all N rows from a review under way.

    Parameters
    ----------
    design, answers
        As for `estimate_review`.
    right_on_given
        (N,) true where the model predicts the given label.
    right_on_reviewed
        (N,) true where it predicts the label that the review gave; only rows answered `WRONG` count.
    confidence
        Of the interval, which is a little too wide: gained and lost rows have an interval each.

    Raises
    ------
    InputError
        Arrays that do not fit each other.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> suspicion = np.sort(rng.beta(0.2, 2, 3000))[::-1]
    >>> wrong, right = rng.random(3000) < suspicion, rng.random(3000) < 0.95
    >>> design = ReviewDesign(probability=suspicion, ranking=np.arange(3000),
    ...                       random_order=rng.permutation(3000))
    >>> answers = np.full(3000, UNSEEN)
    >>> looked_at = design.queue(0.25)[:600]
    >>> answers[looked_at] = wrong[looked_at]
    >>> found = reviewed_score(design, answers, right & ~wrong, right)
    >>> f"{right.mean():.1%}", found.accuracy_on_true.as_percent()
    ('95.2%', '95.2 % (89.2 to 98.9 %, n = 103)')
    """
    check_confidence(confidence)
    given = check_review_answers(design, answers)
    before, after = (_mask(each, len(given)) for each in (right_on_given, right_on_reviewed))
    is_wrong, unseen, unsure = given == WRONG, given == UNSEEN, given == UNSURE
    head, sample = head_and_sample(design, given)

    def of_unseen(found: NDArray[np.bool_], possible: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return value and ends of the share of rows of a kind that nobody looked at."""
        kind = np.where(given >= RIGHT, found.astype(np.float64), given)
        left = share_left(design, kind, head, sample, (1 + confidence) / 2)
        return np.clip([left.value, left.low, left.high], 0, (unseen & possible).mean())

    gained, lost = is_wrong & after & ~before, is_wrong & before & ~after
    more, less = of_unseen(gained, ~before), of_unseen(lost, before)
    counted = before.mean() + (gained.sum() - lost.sum()) / len(given)
    value, low, high = counted + more - less[[0, 2, 1]]
    low, high = low - (unsure & before).mean(), high + (unsure & ~before).mean()
    review = estimate_review(design, given, confidence=confidence)
    return ReviewedScore(
        accuracy_on_true=Estimate(
            value=float(value),
            low=float(np.clip(low, 0, value)),
            high=float(np.clip(high, value, 1)),
            num_rows=review.num_measured,
        ),
        noise_rate=review.noise_rate,
        num_seen=review.num_seen,
        num_wrong=review.num_wrong,
        num_unsure=int(np.count_nonzero(unsure)),
    )


def _mask(values: ArrayLike, num_rows: int) -> NDArray[np.bool_]:
    mask = np.asarray(values)
    if mask.shape != (num_rows,) or mask.dtype != np.bool_:
        raise InputError(
            f"Right rows have shape {mask.shape} of {mask.dtype}, there are {num_rows} rows.",
            expected="Expected (N,) of bool.",
            remedy="Pass pred_probs.argmax(axis=1) == labels.",
        )
    return mask
