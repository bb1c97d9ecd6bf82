"""What a review that is under way says about all rows: the review is the audit. N rows, H strata.

    suspicion ─► strata ─► random order in each ─► measured rows, looked at whatever their suspicion
    answers ─┬► head: the most suspicious rows, all looked at: counted     ──┐
             ├► measured rows behind it, a simple random sample of a stratum ┴► intervals
             └► both, with the suspicion as prior ─► curve ─► probability of each row

The intervals come from random rows alone: they assume nothing about the suspicion. The curve uses the
head, too, and is narrower, but it assumes that strata next to each other are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kiyome.errors import InputError
from kiyome.estimates import Estimate
from kiyome.evaluation.stratified import stratified_proportion

Numbers = NDArray[np.float64]
Labels = NDArray[np.intp]
Mask = NDArray[np.bool_]

UNSEEN, UNSURE, RIGHT, WRONG = -2.0, -1.0, 0.0, 1.0
"""Answers about a given label. UNSURE: people looked, and could not tell."""

NUM_STRATA = 8
LEAST_SPREAD = 0.1  # standard deviation of a row; as if no suspicion were surer than 99 in 100
LOG_ODDS = (-9.0, 4.0)  # of suspicion, beyond which it tells nothing more
MOST_LEFT = 0.01
"""Share of all labels; people may stop when fewer are wrong and unseen."""
LATE_SHARE = 0.5
"""Of the looks that go to measured rows once no more are expected to be wrong and unseen."""
MOST_SKIPPED = 0.01  # of the head: people pass over a row now and then

PRIOR_MEANS = (0.35, 0.9)
"""Of level and slope of the curve, in log odds, as fitted to sixteen sets of people's labels."""
PRIOR_SPREADS = (0.45, 0.12)
STEP_SPREAD = 0.25
"""Of the further step from one stratum to the next less suspicious one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewDesign:
    """The suspicion of all rows, and the random order in which some are looked at whatever theirs is."""

    probability: Numbers
    """(N,) probability that the given label is wrong, as stated before the review."""
    ranking: Labels
    """(N,) rows, the most suspicious first."""
    random_order: Labels
    """(N,) rows in an order that depends on nothing."""

    @cached_property
    def stratum_of_row(self) -> Labels:
        """(N,) from 0, the most suspicious rows; each stratum needs about as many measured rows."""
        spreads = np.maximum(np.sqrt(self.probability * (1 - self.probability)), LEAST_SPREAD)[self.ranking]
        sums = spreads.cumsum()
        parts = ((sums - spreads / 2) / sums[-1] * NUM_STRATA).astype(np.intp)
        strata = np.empty(len(parts), dtype=np.intp)
        strata[self.ranking] = np.unique(parts, return_inverse=True)[1]
        return strata

    @property
    def num_strata(self) -> int:
        """H, at most `NUM_STRATA`."""
        return int(self.stratum_of_row.max()) + 1

    @cached_property
    def measured_order(self) -> Labels:
        """(N,) the order of measured rows: one of each stratum in turn, random within it."""
        strata = self.stratum_of_row[self.random_order]
        by_stratum = np.argsort(strata, kind="stable")
        sizes = np.bincount(strata)
        turns = np.arange(len(strata)) - np.repeat(sizes.cumsum() - sizes, sizes)
        return self.random_order[by_stratum][np.argsort(turns, kind="stable")]

    def take(self, rows: Mask) -> ReviewDesign:
        """Return the design of some of the rows (N,), in the same orders."""
        number = np.cumsum(rows) - 1
        ranking, random_order = (number[each[rows[each]]] for each in (self.ranking, self.random_order))
        return ReviewDesign(probability=self.probability[rows], ranking=ranking, random_order=random_order)

    def queue(self, share: float, *, ranking: Labels | None = None) -> Labels:
        """Return all rows (N,) by the ranking or another one, this share of the looks going to measured rows.

        Once the rows behind are expected to hold few wrong labels (`MOST_LEFT`), it is `LATE_SHARE`: then
        only measured rows can show that people may stop.

        >>> design = ReviewDesign(probability=np.linspace(0.9, 0.1, 8), ranking=np.arange(8),
        ...                       random_order=np.array([5, 7, 1, 0, 6, 2, 4, 3]))
        >>> design.queue(0.5), design.queue(0.0)
        (array([0, 1, 2, 3, 4, 5, 6, 7]), array([0, 1, 2, 3, 4, 5, 6, 7]))
        """
        if not 0 <= share <= 1:
            raise InputError(
                f"The share of measured rows is {share}.",
                expected="Expected a number from 0 to 1.",
                remedy="Pass 0.1 for one row in ten, 0 for none.",
            )
        orders = self.ranking if ranking is None else ranking, self.measured_order
        if share in (0, 1):
            return orders[int(share)]
        behind = np.append(self.probability[orders[0]][::-1].cumsum()[::-1][1:], 0)
        head = int(np.argmax(behind < MOST_LEFT * len(behind))) + 1
        early = _side_by_side(*orders, share)[: round(head / (1 - share))]
        late = np.ones(len(behind), np.bool_)
        late[early] = False
        ranked, measured = (order[late[order]] for order in orders)
        return np.concatenate([early, _side_by_side(ranked, measured, max(share, LATE_SHARE))])


def _side_by_side(ranking: Labels, measured: Labels, share: float) -> Labels:
    """Return the rows of two orders, each order at its pace; a row counts where it comes first."""
    looks = np.arange(1, len(ranking) + 1)
    places = np.concatenate([looks / (1 - share), looks / share])
    both = np.concatenate([ranking, measured])[np.argsort(places, kind="stable")]
    rows, first = np.unique(both, return_index=True)
    return rows[np.argsort(first)]


@dataclass(frozen=True, kw_only=True, eq=False)
class ReviewEstimate:
    """What the answers of a review say about all N rows."""

    num_seen: int
    """Rows that somebody looked at."""
    num_wrong: int
    """Wrong labels among them."""
    num_measured: int
    """Rows of the random sample behind the head; the intervals come from these."""
    left: Estimate
    """Share of all rows whose label is wrong and that nobody looked at: the value by the curve, inside the
    interval by the random rows; from 0 to all before there is one of these."""
    noise_rate: Estimate
    """Share of all rows whose label is wrong, likewise; an unsure row is in the interval both ways."""
    left_by_curve: Estimate
    """The same share as `left`, by the curve."""
    probability: Numbers
    """(N,) probability that each given label is wrong, by the curve; never rises along the ranking."""


def estimate_review(design: ReviewDesign, answers: ArrayLike, *, confidence: float = 0.95) -> ReviewEstimate:
    """Return noise rate, wrong labels left and recalibrated probabilities from a review under way.

    Parameters
    ----------
    design
        Suspicion and random order of the table; people may look at rows in any order.
    answers
        (N,) `WRONG`, `RIGHT`, `UNSURE` or `UNSEEN`; a number from 0 to 1 is an expected answer.
    confidence
        Of the intervals.

    Raises
    ------
    InputError
        Answers that do not fit the design.

    Notes
    -----
    The head is the longest start of the ranking of which at most one row in a hundred was passed over; a
    passed row may be wrong or right. Behind it, in each stratum, the rows in random order up to the first
    unseen one are a simple random sample, whoever looked at them and why: so the estimate holds over restarts
    and several people. Intervals by `stratified_proportion`. A stratum without a sampled row joins the next
    more suspicious one, else the least suspicious one that has any.

    The curve is logistic in the log odds of suspicion, with a further step from each stratum to the next,
    under normal priors: the mode of the posterior, and the spread of its normal approximation. It uses head
    and sample only, as people may pick other rows because these look wrong. Probabilities
    are made monotone. Coverage, calibration and the number of looks until people may stop are in
    benchmarks/results/review_audit.txt.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> suspicion = np.sort(rng.beta(0.2, 2, 3000))[::-1]
    >>> wrong = rng.random(3000) < suspicion
    >>> design = ReviewDesign(probability=suspicion, ranking=np.arange(3000),
    ...                       random_order=rng.permutation(3000))
    >>> answers = np.full(3000, UNSEEN)
    >>> looked_at = design.queue(0.25)[:600]
    >>> answers[looked_at] = wrong[looked_at]
    >>> estimate = estimate_review(design, answers)
    >>> f"{wrong.mean():.1%}", estimate.num_wrong, estimate.noise_rate.as_percent()
    ('9.0%', 207, '9.4 % (8.0 to 13.0 %, n = 102)')
    """
    given = check_review_answers(design, answers)
    seen, known, unsure = given != UNSEEN, given >= RIGHT, given == UNSURE
    head, sample = head_and_sample(design, given)
    probability, left_by_curve = _by_curve(design, given, (head | sample) & known, confidence)
    left = share_left(design, given, head, sample, confidence)
    left = replace(left, value=float(np.clip(left_by_curve.value, left.low, left.high)))
    wrong, open_ = given[known].sum(), np.count_nonzero(unsure)
    found = np.array([wrong + probability[unsure].sum(), wrong, wrong + open_]) / len(given)
    value, low, high = (found + np.array([left.value, left.low, left.high])).tolist()
    noise_rate = replace(left, value=value, low=low, high=high)
    return ReviewEstimate(
        num_seen=int(np.count_nonzero(seen)),
        num_wrong=int(np.count_nonzero(given == WRONG)),
        num_measured=int(np.count_nonzero(sample)),
        left=left,
        noise_rate=noise_rate,
        left_by_curve=left_by_curve,
        probability=probability,
    )


def looks_to_stop(
    design: ReviewDesign,
    answers: ArrayLike,
    *,
    share: float,
    most_left: float = MOST_LEFT,
    confidence: float = 0.95,
) -> int:
    """Return about how many looks it takes until fewer than `most_left` of all N labels are wrong and unseen.

    As if each next row of the queue with this share of measured rows had its expected answer: the number for
    which the upper end of `ReviewEstimate.left`, with that confidence on this one side, is below; 0 where it
    is already.
    """
    given = check_review_answers(design, answers)
    probability = estimate_review(design, given).probability
    queue = design.queue(share)
    queue = queue[given[queue] == UNSEEN]

    def is_enough(looks: int) -> bool:
        expected = given.copy()
        expected[queue[:looks]] = probability[queue[:looks]]
        return estimate_review(design, expected, confidence=2 * confidence - 1).left.high < most_left

    low, high = 0, len(queue)
    if is_enough(0):
        return 0
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def check_review_answers(design: ReviewDesign, answers: ArrayLike) -> Numbers:
    """Return the answers (N,) as numbers; InputError where they do not fit the design."""
    given = np.asarray(answers, dtype=np.float64)
    allowed = (given == UNSEEN) | (given == UNSURE) | ((given >= RIGHT) & (given <= WRONG))
    if given.shape != design.probability.shape or not allowed.all():
        raise InputError(
            f"The answers have the shape {given.shape} for {len(design.probability)} rows, or other values.",
            expected="Expected one number a row: 1 wrong, 0 right, -1 unsure, -2 unseen.",
            remedy="Pass the answers in the order of the table.",
        )
    return given


def head_and_sample(design: ReviewDesign, answers: Numbers) -> tuple[Mask, Mask]:
    """Return masks (N,) of the head and of the known rows of the random sample behind it."""
    seen = answers != UNSEEN
    head = _head(design, seen)
    return head, _sampled(design, seen) & ~head & (answers >= RIGHT)


def _head(design: ReviewDesign, seen: Mask) -> Mask:
    """Return a mask (N,) of the most suspicious rows that, but for a few, were all looked at."""
    skipped = (~seen[design.ranking]).cumsum()
    whole = np.flatnonzero(skipped <= MOST_SKIPPED * np.arange(1, len(seen) + 1))
    head = np.zeros(len(seen), dtype=np.bool_)
    head[design.ranking[: whole[-1] + 1 if len(whole) else 0]] = True
    return head


def _sampled(design: ReviewDesign, seen: Mask) -> Mask:
    """Return a mask (N,) of the rows of each stratum that come before its first unseen one."""
    strata, order = design.stratum_of_row, design.measured_order
    unseen = order[~seen[order]]
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    first = np.full(design.num_strata, len(order))
    np.minimum.at(first, strata[unseen], place[unseen])
    sampled: Mask = place < first[strata]
    return sampled


def share_left(
    design: ReviewDesign, answers: Numbers, head: Mask, sample: Mask, confidence: float
) -> Estimate:
    """Return the share of all rows that are wrong and unseen, from a sample behind the head."""
    if not sample.any():
        return Estimate(value=0.0, low=0.0, high=float((answers == UNSEEN).mean()), num_rows=0)
    strata, size = design.stratum_of_row, design.num_strata
    rows = np.bincount(strata[sample], minlength=size)
    hits = np.bincount(strata[sample], answers[sample], minlength=size)
    present = np.flatnonzero(rows)
    joined = np.maximum(np.searchsorted(present, np.arange(size), side="right") - 1, 0)
    sizes = np.bincount(joined, np.bincount(strata[~head], minlength=size))
    every = stratified_proportion(hits[present], rows[present], sizes, confidence=confidence)
    unseen = answers == UNSEEN
    found = answers[~head & (answers >= RIGHT)].sum()
    skipped, most = np.count_nonzero(head & unseen), np.count_nonzero(~head & unseen)
    value, low, high = np.clip(np.array([every.value, every.low, every.high]) * sizes.sum() - found, 0, most)
    value, low, high = (np.array([value, low, high + skipped]) / len(answers)).tolist()
    return Estimate(value=value, low=low, high=high, num_rows=every.num_rows)


def _by_curve(
    design: ReviewDesign, answers: Numbers, used: Mask, confidence: float
) -> tuple[Numbers, Estimate]:
    """Return the probability (N,) that each label is wrong, and the share that is wrong and unseen."""
    from sklearn.isotonic import isotonic_regression

    with np.errstate(divide="ignore"):
        log_odds = np.log(design.probability) - np.log1p(-design.probability)
    x = np.clip(log_odds, *LOG_ODDS)
    steps = np.tri(design.num_strata)[:, 1:]
    columns = np.column_stack([np.ones(len(x)), x, steps[design.stratum_of_row]])
    means = np.array([*PRIOR_MEANS, *[0.0] * steps.shape[1]])
    weights = 1 / np.array([*PRIOR_SPREADS, *[STEP_SPREAD] * steps.shape[1]]) ** 2
    unseen = answers == UNSEEN
    mode, curvature = _logistic_mode(columns[used], answers[used], means, weights)
    curve = 1 / (1 + np.exp(-(columns @ mode)))
    probability = np.empty(len(x))
    probability[design.ranking] = isotonic_regression(curve[design.ranking], increasing=False)
    variances = (curve * (1 - curve))[unseen]
    slopes = columns[unseen].T @ variances
    spread = np.sqrt(slopes @ np.linalg.solve(curvature, slopes) + variances.sum())
    left = curve[unseen].sum()
    factor = np.exp(NormalDist().inv_cdf((1 + confidence) / 2) * spread / left) if unseen.any() else 1.0
    low, value, high = np.minimum([left / factor, left, left * factor], unseen.sum()) / len(x)
    return probability, Estimate(
        value=float(value), low=float(low), high=float(high), num_rows=int(np.count_nonzero(used))
    )


def _logistic_mode(
    columns: Numbers, answers: Numbers, means: Numbers, weights: Numbers
) -> tuple[Numbers, Numbers]:
    """Return the likeliest coefficients of a logistic curve under normal priors, and the curvature there."""

    def loss(values: Numbers) -> float:
        z = columns @ values
        return float(np.logaddexp(0, z).sum() - z @ answers + weights @ (values - means) ** 2 / 2)

    values: Numbers = means.copy()
    step: Numbers = np.ones_like(means)
    curvature: Numbers = np.diag(weights)
    while np.abs(step).max() > 1e-6:
        p: Numbers = 1 / (1 + np.exp(-(columns @ values)))
        slope = columns.T @ (answers - p) - weights * (values - means)
        curvature = (columns.T * (p * (1 - p))) @ columns + np.diag(weights)
        step = np.asarray(np.linalg.solve(curvature, slope), np.float64)
        while loss(values + step) > loss(values) and np.abs(step).max() > 1e-6:
            step *= 0.5  # far from the mode a whole step of Newton's may overshoot
        values += step
    return values, curvature
