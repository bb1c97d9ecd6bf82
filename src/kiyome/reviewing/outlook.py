"""What the decisions so far say about the whole table: found, left, the next looks, when to stop. N rows.

decisions in common ─► answers ─► estimate_review ─► outlook, as the page shows it
"""

from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.current import BOTH, LABEL, NONE, UNSURE, Codes
from kiyome.decisions.items import ReviewItems, Secret
from kiyome.estimates import Estimate
from kiyome.evaluation import review_audit
from kiyome.evaluation.review_audit import MOST_LEFT, ReviewDesign, estimate_review, looks_to_stop

DEFAULT_SHARE = 0.1
"""Of the looks in the orders by suspicion, gain and pair that go to measured rows, drawn at random."""
NEXT_LOOKS = 100
ROWS_A_DECISION = 10_000
"""A larger table is estimated anew after several decisions only."""

Range = tuple[float, float, float]
"""A value, and the ends of its 95 % interval."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a review has found, and what is left."""

    rows: int
    share: float
    """Of the looks that go to measured rows."""
    looked_at: int
    found: int
    """Wrong labels so far; a disputed row counts as unsure."""
    measured: int
    """Random rows on which the intervals rest."""
    noise_rate: Range
    """Share of all rows with a wrong label."""
    left: Range
    """Number of wrong labels among rows that nobody looked at."""
    next_looks: int
    next_found: float
    """Wrong labels that so many next looks are expected to find."""
    most_left: float
    """Share of all labels; people may stop when fewer are wrong and unseen."""
    looks_to_expect: int
    """About how many looks it takes until no more are expected; 0 where that is so."""
    looks_to_stop: int
    """About how many it takes to be 95 % certain of that; 0 where people may stop."""


class Outlooks:
    """The outlook of one review after each decision, computed once."""

    def __init__(self, items: ReviewItems, design: ReviewDesign, share: float) -> None:
        self.items, self.design, self.share = items, design, share
        self._last: tuple[int, Outlook] | None = None
        self._lock = Lock()

    def after(self, number: int, codes: Codes) -> Outlook:
        """Return the outlook after the event of this number, from the decisions in common (N,) by then."""
        stage = number // (1 + len(self.items) // ROWS_A_DECISION)
        with self._lock:
            if self._last is None or self._last[0] != stage:
                self._last = stage, outlook(self.design, answers_of(self.items, codes), self.share)
            return self._last[1]


def design_of(items: ReviewItems, secret: Secret) -> ReviewDesign | None:
    """Return the design of a review, random by its secret at every start alike; None if blind."""
    if items.probability is None:
        return None
    return ReviewDesign(
        probability=items.probability,
        ranking=items.ranking,
        random_order=secret.order(items.image_ids),
    )


def answers_of(items: ReviewItems, codes: Codes) -> NDArray[np.float64]:
    """Return the answers (N,) about given labels: right where people keep one, or see it and another.

    >>> from pathlib import Path
    >>> items = ReviewItems(run="r", title="r", blind=False, audit=None, image_ids=["a", "b", "c", "d"],
    ...     shown_ids=["a", "b", "c", "d"], class_names=("cat", "dog"), fingerprint="", table_content="",
    ...     photo_root=Path(), photo_paths=[""] * 4, ranking=np.arange(4),
    ...     given_labels=np.array([0, 0, 1, 1], np.int32))
    >>> answers_of(items, np.array([LABEL, BOTH, NONE, UNSURE], np.int32)).tolist()
    [0.0, 0.0, -2.0, -1.0]
    """
    assert items.given_labels is not None  # noqa: S101 - only a blind review has none
    is_right = (codes == LABEL + items.given_labels) | (codes == BOTH)
    answers = np.where(is_right, review_audit.RIGHT, review_audit.WRONG)
    answers[codes <= UNSURE] = review_audit.UNSURE  # disputed ones, too
    answers[codes == NONE] = review_audit.UNSEEN
    return answers


def outlook(design: ReviewDesign, answers: NDArray[np.float64], share: float) -> Outlook:
    """Return the outlook of a review with these answers (N,)."""
    estimate = estimate_review(design, answers)
    rows, queue = len(answers), design.queue(share)
    coming = queue[answers[queue] == review_audit.UNSEEN]
    found = np.concatenate([[0.0], estimate.probability[coming].cumsum()])
    return Outlook(
        rows=rows,
        share=share,
        looked_at=estimate.num_seen,
        found=estimate.num_wrong,
        measured=estimate.num_measured,
        noise_rate=_range(estimate.noise_rate, 1),
        left=_range(estimate.left, rows),
        next_looks=min(NEXT_LOOKS, len(coming)),
        next_found=float(found[min(NEXT_LOOKS, len(coming))]),
        most_left=MOST_LEFT,
        looks_to_expect=int(np.argmax(found[-1] - found < MOST_LEFT * rows)),
        looks_to_stop=looks_to_stop(design, answers, share=share, most_left=MOST_LEFT),
    )


def _range(estimate: Estimate, rows: int) -> Range:
    return estimate.value * rows, estimate.low * rows, estimate.high * rows
