"""The queue of rows to review: order and filters. N rows, K classes.

order ── (N,) rows, made once; by suspicion with some at random ──┐
filters ── (N,) mask ──────────────────────────────────────────────┴── rows to show
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.issues import NONE_CUT
from kiyome.artifacts.table import TEST, TRAIN, VAL
from kiyome.decisions.current import LABEL, NONE, VERDICTS, Codes, CurrentDecisions
from kiyome.decisions.events import Verdict
from kiyome.decisions.items import ALONE, ReviewItems, Secret
from kiyome.errors import InputError, choose
from kiyome.evaluation.review_audit import ReviewDesign


def expected_gain(items: ReviewItems) -> NDArray[np.float64]:
    """Return how many labels (N,) a look at each row is expected to correct; above 1 only for duplicates."""
    if items.probability is None or items.given_labels is None:
        raise InputError("A blind review has no order by gain.", remedy="Choose the order 'random'.")
    if items.duplicate_groups is None:
        return items.probability
    return gain_with_copies(items.probability, items.given_labels, items.duplicate_groups)


def gain_with_copies(
    probability: NDArray[np.float64], labels: NDArray[np.integer], groups: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return each row's probability (N,) to be wrong; for duplicates, what one look at the picture corrects.

    Rows with the same number in `groups` (N,) show the same picture; `ALONE` has no duplicate.

    >>> gain_with_copies(np.array([0.5, 0.25, 0.5, 0.1, 0.2]), np.array([0, 1, 1, 0, 1]),
    ...                  np.array([ALONE, 0, 0, 1, 1])).tolist()
    [0.5, 0.75, 0.75, 1.0, 1.0]
    """
    copies = np.flatnonzero(groups != ALONE)
    if len(copies) == 0:
        return probability
    _, pictures = np.unique(groups[copies], return_inverse=True)
    sums = np.bincount(pictures, weights=probability[copies])
    num_labels = int(labels[copies].max()) + 1
    cells, counts = np.unique(pictures * num_labels + labels[copies], return_counts=True)
    most_frequent = np.zeros(len(sums), dtype=np.int64)
    np.maximum.at(most_frequent, cells // num_labels, counts)
    gain = probability.copy()
    gain[copies] = np.maximum(sums, np.bincount(pictures) - most_frequent)[pictures]
    return gain


Order = Literal["suspicion", "gain", "pair", "leaks", "random", "table"]
State = Literal["open", "left", "mine", "decided", "disputed", "all"]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

ORDERS: tuple[Order, ...] = get_args(Order)
BLIND_ORDERS: tuple[Order, ...] = ("random",)
"""Any other could show something of the labels."""
MEASURED_ORDERS: tuple[Order, ...] = ("suspicion", "gain", "pair")
"""Between their rows stands the share of random rows that the review measures."""
MAX_SEARCHED = 200
"""Characters of a text to search for."""


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Order and filters of a queue; an InputError when made with values that cannot be."""

    order: Order = "suspicion"
    """suspicion: most suspicious first. gain: as `expected_gain` says. pair: the (given, suggested) cells
    with most flagged rows first, most suspicious first in each. Between the rows of these three stands the
    share of random rows that the review measures. leaks: photos that lie in two splits first, a photo next to
    its copy, those with two labels before. random: by the secret of the review. table: as in the table. A
    blind review has its one random order."""
    split: str | None = None
    """Only rows of this split: train, val or test."""
    given: str | None = None
    """Only rows with this given label, a class name."""
    likely: str | None = None
    """Only rows for which the model predicts this class."""
    flagged: bool | None = None
    """Only rows that are flagged (True), or are not (False)."""
    none: bool | None = None
    """Only rows that probably show none of the classes (True), or one of them (False)."""
    min_chance: float = 0.0
    """Only rows whose label is wrong with at least this probability, 0 to 1."""
    max_chance: float = 1.0
    """Only rows whose label is wrong with at most this probability, 0 to 1."""
    state: State = "all"
    """open: decided by nobody. left: not decided by me. mine: decided by me. decided: by anyone. disputed:
    two people differ. Unsure is a decision. A blind review shows nobody else: open is left, decided is
    mine."""
    verdict: Verdict | None = None
    """Only rows with this verdict: the reviewer's if one is named, else anyone's."""
    reviewer: str | None = None
    """Only rows with a decision of this person."""
    search: str = ""
    """Only rows whose shown id contains this text, in any case."""

    def __post_init__(self) -> None:
        for name, known in (("order", ORDERS), ("state", get_args(State))):
            choose(name, getattr(self, name), known)
        if self.verdict is not None:
            choose("verdict", self.verdict, get_args(Verdict))
        if self.split is not None:
            choose("split", self.split, (TRAIN, VAL, TEST))
        if not 0 <= self.min_chance <= self.max_chance <= 1:
            raise InputError(
                f"min_chance={self.min_chance} and max_chance={self.max_chance} are no range.",
                expected="Expected 0 <= min_chance <= max_chance <= 1.",
                remedy="Use 0 and 1 for all rows.",
            )
        if len(self.search) > MAX_SEARCHED:
            raise InputError(
                f"The text to search for has {len(self.search)} characters.",
                expected=f"Expected at most {MAX_SEARCHED}.",
                remedy="Search for a part of it.",
            )


class Queue:
    """All orders of the rows of one review, each computed once; the secret defines the random one.

    >>> from pathlib import Path
    >>> items = ReviewItems(run="r", title="r", blind=True, audit=None, image_ids=["a", "b"],
    ...     shown_ids=["a", "b"], class_names=("cat", "dog"), fingerprint="", table_content="",
    ...     photo_root=Path(), photo_paths=["", ""], ranking=np.arange(2))
    >>> queue_filter = QueueFilter(order="random", search="B")
    >>> Queue(items, Secret(key=b"k")).rows(queue_filter, CurrentDecisions(items)).tolist()
    [1]
    """

    def __init__(
        self,
        items: ReviewItems,
        secret: Secret,
        *,
        design: ReviewDesign | None = None,
        share: float = 0.0,
    ) -> None:
        self.items, self.secret, self.design, self.share = items, secret, design, share
        self._orders: dict[Order, Rows] = {}

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that this review may show."""
        if self.items.blind:
            return BLIND_ORDERS
        return tuple(order for order in ORDERS if order != "leaks" or self.items.copies is not None)

    def rows(self, queue_filter: QueueFilter, current: CurrentDecisions, *, me: str | None = None) -> Rows:
        """Return the rows to show, in order; `me` is the reviewer who looks."""
        if self.items.blind:
            refuse_unblinding(queue_filter, me)
        order = self._in_order(queue_filter.order)
        mask = mask_of(self.items, queue_filter, current, me)
        return order if mask is None else order[mask[order]]

    @cached_property
    def drawn(self) -> Mask:
        """(N,) rows that the order by suspicion shows before their rank, as they were drawn at random."""
        order = self._in_order("random" if self.items.blind else "suspicion")
        turns, ranks = (np.argsort(each) for each in (order, self.items.ranking))
        drawn: Mask = (turns < ranks) & (self.design is not None and self.share > 0)
        return drawn

    def _in_order(self, order: Order) -> Rows:
        if order not in self._orders:
            rows = rows_in_order(self.items, order, self.secret)
            if self.design is not None and order in MEASURED_ORDERS:
                rows = self.design.queue(self.share, ranking=rows)
            self._orders[order] = rows
        return self._orders[order]


def rows_in_order(items: ReviewItems, order: Order, secret: Secret) -> Rows:
    """Return all N rows in an order of `QueueFilter.order`; ties keep their rank."""
    ranking = items.ranking
    if items.blind or order == "suspicion":
        return ranking
    if order == "table":
        return np.arange(len(items))
    if order == "random":
        return secret.order(items.image_ids)
    if order == "leaks":
        return _copies_first(items)
    weight = expected_gain(items) if order == "gain" else _flagged_of_pair(items)
    return ranking[np.argsort(-weight[ranking], kind="stable")]


def _copies_first(items: ReviewItems) -> Rows:
    """Return all rows, those that lie in two splits first, pair by pair."""
    pairs = [] if items.copies is None else items.copies.ravel().tolist()
    return np.array(list(dict.fromkeys([*pairs, *items.ranking.tolist()])), np.intp)


def _flagged_of_pair(items: ReviewItems) -> NDArray[np.float64]:
    """Return the number (N,) of flagged rows like each flagged one, by (given, suggested); 0 for others."""
    given, suggested, flagged = items.given_labels, items.suggested_labels, items.is_label_issue
    weight = np.zeros(len(items))
    if given is None or suggested is None or flagged is None:
        return weight
    cells = given[flagged].astype(np.int64) * len(items.class_names) + suggested[flagged]
    found, places, counts = np.unique(cells, return_inverse=True, return_counts=True)
    # cells of equal size differ by less than a row, so that they do not mix
    weight[flagged] = (counts - np.arange(len(found)) / max(len(found), 1))[places]
    return weight


def mask_of(
    items: ReviewItems, queue_filter: QueueFilter, current: CurrentDecisions, me: str | None
) -> Mask | None:
    """Return a mask (N,) of rows that pass every filter; None where there is no filter."""
    masks = [*_label_masks(items, queue_filter), *_decision_masks(items, queue_filter, current, me)]
    if queue_filter.search:
        wanted = queue_filter.search.casefold()
        masks.append(np.array([wanted in shown.casefold() for shown in items.shown_ids], np.bool_))
    return np.logical_and.reduce(masks) if masks else None


def _label_masks(items: ReviewItems, queue_filter: QueueFilter) -> list[Mask]:
    masks: list[Mask] = []
    if queue_filter.split is not None:
        splits = np.full(len(items), TRAIN, object) if items.splits is None else items.splits
        masks.append(splits == queue_filter.split)
    if queue_filter.given is not None and items.given_labels is not None:
        masks.append(items.given_labels == _label(items, queue_filter.given))
    if queue_filter.likely is not None and items.likely_labels is not None:
        masks.append(items.likely_labels == _label(items, queue_filter.likely))
    if queue_filter.flagged is not None and items.is_label_issue is not None:
        masks.append(items.is_label_issue == queue_filter.flagged)
    if queue_filter.none is not None and items.probability_none is not None:
        masks.append((items.probability_none > NONE_CUT) == queue_filter.none)
    if items.probability is not None and queue_filter.min_chance > 0:
        masks.append(items.probability >= queue_filter.min_chance)
    if items.probability is not None and queue_filter.max_chance < 1:
        masks.append(items.probability <= queue_filter.max_chance)
    return masks


def _decision_masks(
    items: ReviewItems, queue_filter: QueueFilter, current: CurrentDecisions, me: str | None
) -> list[Mask]:
    masks: list[Mask] = []
    if queue_filter.state == "disputed":
        masks.append(current.disputed)
    elif queue_filter.state != "all":
        by_me = items.blind or queue_filter.state in ("mine", "left")
        decided = current.codes(me or "") != NONE if by_me else current.decided
        masks.append(decided if queue_filter.state in ("mine", "decided") else ~decided)
    if queue_filter.reviewer is not None and queue_filter.verdict is None:
        masks.append(current.codes(queue_filter.reviewer) != NONE)
    if queue_filter.verdict is not None:
        who = current.reviewers if queue_filter.reviewer is None else [queue_filter.reviewer]
        found = [_has_verdict(current.codes(name), queue_filter.verdict) for name in who]
        masks.append(np.logical_or.reduce(found) if found else np.zeros_like(current.disputed))
    return masks


def _has_verdict(codes: Codes, verdict: Verdict) -> Mask:
    wanted = VERDICTS.index(verdict)
    mask: Mask = codes >= LABEL if wanted == LABEL else codes == wanted
    return mask


def refuse_unblinding(queue_filter: QueueFilter, me: str | None) -> None:
    """Raise an InputError on a filter that would show something of labels, predictions or other people."""
    hidden = ("given", "likely", "flagged", "none", "min_chance", "max_chance")
    shown = [name for name in hidden if getattr(queue_filter, name) != getattr(QueueFilter(), name)]
    shown += ["order"] if queue_filter.order not in BLIND_ORDERS else []
    shown += ["state"] if queue_filter.state == "disputed" else []
    shown += ["reviewer"] if queue_filter.reviewer is not None and queue_filter.reviewer != me else []
    shown += (
        ["verdict"]
        if queue_filter.verdict is not None and (me is None or queue_filter.reviewer != me)
        else []
    )
    if shown:
        raise InputError(
            f"{shown[0]}={getattr(queue_filter, shown[0])!r} is not possible in a blind review.",
            expected="It shows photos in a random order, and one's own decisions.",
            remedy="Choose the order 'random', and leave this filter out.",
        )


def _label(items: ReviewItems, name: str) -> int:
    if name not in items.label_of:
        raise InputError(
            f"The class {name[:MAX_SEARCHED]!r} is not in the table.",
            expected=f"The classes are {', '.join(items.class_names[:20])}.",
            remedy="Choose one of them.",
        )
    return items.label_of[name]
