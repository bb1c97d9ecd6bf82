"""How far the review is, how fast it goes, and how long it will take."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kiyome.reviewing.standing import NOTHING, Standing

BREAK_SECONDS = 300.0
"""Whoever decides nothing for so long is doing something else."""
RECENT_BATCHES = 200
"""The pace is that of the last so many, since people become faster."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How much one person decided, and how fast."""

    reviewer: str
    decided: int
    """Rows of which this person's decision stands."""
    per_hour: float | None
    """Rows in an hour of work; None before there are two batches to measure between."""


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """How far a review is. Counts of flagged rows are None where it is blind."""

    rows: int
    flagged: int | None
    decided: int
    """Rows of which anyone's decision stands; in a blind review, mine."""
    mine: int
    flagged_decided: int | None
    disputed: int | None
    """Rows of which two people hold different things; None where the review is blind."""
    per_hour: float | None
    """My pace."""
    seconds_left: float | None
    """Until every flagged row is decided at my pace alone; every row, where the review is blind."""
    by_reviewer: tuple[Pace, ...]
    """Everyone; only me, where the review is blind."""


def rows_per_hour(times: Sequence[tuple[float, int]]) -> float | None:
    """Rows decided in an hour of work, breaks not counted; None where nothing can be said.

    Parameters
    ----------
    times
        Second and number of rows of each batch, in order. A batch took the time since the one before, unless
        that was a break: then nobody knows, and the batch is left out.

    Examples
    --------
    >>> rows_per_hour([(0.0, 1), (10.0, 1), (20.0, 1), (5000.0, 1), (5010.0, 1)])
    360.0
    """
    if len(times) < 2:
        return None
    seconds, rows = np.array(times[-RECENT_BATCHES - 1 :], dtype=np.float64).T
    spent = np.diff(seconds)
    at_work = (spent >= 0) & (spent <= BREAK_SECONDS)
    total = float(spent[at_work].sum())
    return float(rows[1:][at_work].sum()) / total * 3600 if total > 0 else None


def review_progress(standing: Standing, *, me: str | None = None) -> ReviewProgress:
    """How far the review is, for the person who asks."""
    subject = standing.subject
    flagged = subject.is_label_issue
    mine = standing.codes(me or "") != NOTHING
    decided = mine if subject.blind else standing.decided
    per_hour = rows_per_hour(standing.batch_times(me or ""))
    left = _count(~decided if flagged is None else flagged & ~decided)
    names = [name for name in standing.reviewers if not subject.blind or name == me]
    return ReviewProgress(
        rows=len(subject),
        flagged=None if flagged is None else _count(flagged),
        decided=_count(decided),
        mine=_count(mine),
        flagged_decided=None if flagged is None else _count(flagged & decided),
        disputed=None if subject.blind else _count(standing.disputed),
        per_hour=per_hour,
        seconds_left=left * 3600 / per_hour if per_hour else None,
        by_reviewer=tuple(
            Pace(
                reviewer=name,
                decided=_count(standing.codes(name) != NOTHING),
                per_hour=rows_per_hour(standing.batch_times(name)),
            )
            for name in names
        ),
    )


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
