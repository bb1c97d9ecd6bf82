"""Which rows to show, and in which order. N rows, K classes.

order ── (N,) rows, made once ──┐
filters ── (N,) mask ───────────┴── rows to show
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.current import LABEL, NOTHING, VERDICTS, Codes, Standing
from kiyome.decisions.events import Verdict
from kiyome.decisions.items import ALONE, Secret, Subject
from kiyome.errors import InputError, choose


def expected_gain(subject: Subject) -> NDArray[np.float64]:
    """Labels (N,) that a look at each row is expected to put right; above 1 only where rows are copies.

    Raises
    ------
    InputError
        In a blind review, which has no chances.
    """
    if subject.probability is None or subject.given_labels is None:
        raise InputError("Gain is a sum of chances.", came="a blind review", remedy="Ask for order 'random'.")
    if subject.duplicate_groups is None:
        return subject.probability
    return gain_with_copies(subject.probability, subject.given_labels, subject.duplicate_groups)


def gain_with_copies(
    chances: NDArray[np.float64], labels: NDArray[np.integer], groups: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Each row's chance (N,) to be wrong, or what a look at the picture brings where other rows show it, too.

    Parameters
    ----------
    chances
        (N,) that the given label is wrong.
    labels
        (N,) given ones.
    groups
        (N,) rows with the same number show the same picture; `ALONE` shows it alone.

    Examples
    --------
    >>> gain_with_copies(np.array([0.5, 0.25, 0.5, 0.1, 0.2]), np.array([0, 1, 1, 0, 1]),
    ...                  np.array([ALONE, 0, 0, 1, 1])).tolist()
    [0.5, 0.75, 0.75, 1.0, 1.0]
    """
    copies = np.flatnonzero(groups != ALONE)
    if len(copies) == 0:
        return chances
    _, pictures = np.unique(groups[copies], return_inverse=True)
    sums = np.bincount(pictures, weights=chances[copies])
    num_labels = int(labels[copies].max()) + 1
    cells, counts = np.unique(pictures * num_labels + labels[copies], return_counts=True)
    most_frequent = np.zeros(len(sums), dtype=np.int64)
    np.maximum.at(most_frequent, cells // num_labels, counts)
    gain = chances.copy()
    gain[copies] = np.maximum(sums, np.bincount(pictures) - most_frequent)[pictures]
    return gain


Order = Literal["suspicion", "gain", "pair", "random", "table"]
State = Literal["open", "left", "mine", "decided", "disputed", "all"]
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

ORDERS: tuple[Order, ...] = get_args(Order)
BLIND_ORDERS: tuple[Order, ...] = ("random",)
"""Any other could tell something of the labels."""
MOST_SEARCHED = 200
"""Characters of a text to search for."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What someone asked to see; refused when made, if it cannot be."""

    order: Order = "suspicion"
    """suspicion: most suspicious first. gain: as `kiyome.reviewing.queue` says. pair: the (given, suggested)
    cells with most flagged rows first, most suspicious first in each. random: as the review's secret
    draws. table: as the rows lie. A blind review has its one random order."""
    given: str | None = None
    """Only rows with this given label, a class name."""
    likely: str | None = None
    """Only rows that the model takes for this class."""
    flagged: bool | None = None
    """Only rows that are flagged (True), or are not (False)."""
    min_chance: float = 0.0
    """Only rows whose label is wrong with at least this chance, 0 to 1."""
    max_chance: float = 1.0
    """Only rows whose label is wrong with at most this chance, 0 to 1."""
    state: State = "all"
    """open: nobody's decision stands. left: mine does not stand. mine: mine stands. decided: anyone's stands.
    disputed: two people hold different things. Unsure is a decision. In a blind review nobody else is there:
    open is left, decided is mine."""
    verdict: Verdict | None = None
    """Only rows of which this verdict stands: the reviewer's if one is named, else anyone's."""
    reviewer: str | None = None
    """Only rows of which this person's decision stands."""
    search: str = ""
    """Only rows whose shown id has this text in it; case does not count."""

    def __post_init__(self) -> None:
        for name, known in (("order", ORDERS), ("state", get_args(State))):
            choose(name, getattr(self, name), known)
        if self.verdict is not None:
            choose("verdict", self.verdict, get_args(Verdict))
        if not 0 <= self.min_chance <= self.max_chance <= 1:
            raise InputError(
                "Chances lie in 0 to 1, the least not above the most.",
                came=f"min_chance={self.min_chance} and max_chance={self.max_chance}",
                remedy="Take 0 and 1 for all rows.",
            )
        if len(self.search) > MOST_SEARCHED:
            raise InputError(
                f"A text to search for has at most {MOST_SEARCHED} characters.",
                came=f"{len(self.search)}",
                remedy="Search for a part of it.",
            )


class Queue:
    """The queue of one subject; remembers each order once it is made.

    Parameters
    ----------
    subject : Subject
        Whose rows are put in line.
    secret : Secret
        Of the review; it draws the random order.

    Examples
    --------
    >>> from pathlib import Path
    >>> subject = Subject(run="r", title="r", blind=True, audit=None, image_ids=["a", "b"],
    ...     shown_ids=["a", "b"], class_names=("cat", "dog"), fingerprint="", table_content="",
    ...     photo_root=Path(), photo_paths=["", ""], ranking=np.arange(2))
    >>> Queue(subject, Secret(key=b"k")).rows(Asked(order="random", search="B"), Standing(subject)).tolist()
    [1]
    """

    def __init__(self, subject: Subject, secret: Secret) -> None:
        self.subject, self.secret = subject, secret
        self._orders: dict[Order, Rows] = {}

    @property
    def orders(self) -> tuple[Order, ...]:
        """What may be asked of this subject."""
        return BLIND_ORDERS if self.subject.blind else ORDERS

    def rows(self, asked: Asked, standing: Standing, *, me: str | None = None) -> Rows:
        """The rows to show, in order.

        Parameters
        ----------
        asked
            Order and filters.
        standing
            What was decided so far.
        me
            Who asks; where nobody does, nothing is mine.

        Raises
        ------
        InputError
            On a class that the table does not have, and where a blind review is asked for what it hides.
        """
        if self.subject.blind:
            refuse_unblinding(asked, me)
        order = self._in_order(asked.order)
        mask = mask_of(self.subject, asked, standing, me)
        return order if mask is None else order[mask[order]]

    def _in_order(self, order: Order) -> Rows:
        if order not in self._orders:
            self._orders[order] = rows_in_order(self.subject, order, self.secret)
        return self._orders[order]


def rows_in_order(subject: Subject, order: Order, secret: Secret) -> Rows:
    """All N rows in an order, as `Asked.order` says; equals stay as they are ranked."""
    ranking = subject.ranking
    if subject.blind or order == "suspicion":
        return ranking
    if order == "table":
        return np.arange(len(subject))
    if order == "random":
        return secret.order(subject.image_ids)
    weight = expected_gain(subject) if order == "gain" else _flagged_of_pair(subject)
    return ranking[np.argsort(-weight[ranking], kind="stable")]


def _flagged_of_pair(subject: Subject) -> NDArray[np.float64]:
    """(N,) flagged rows in the cell (given, suggested) of a flagged row, cells apart; 0 for other rows."""
    given, suggested, flagged = subject.given_labels, subject.suggested_labels, subject.is_label_issue
    weight = np.zeros(len(subject))
    if given is None or suggested is None or flagged is None:
        return weight
    cells = given[flagged].astype(np.int64) * len(subject.class_names) + suggested[flagged]
    found, places, counts = np.unique(cells, return_inverse=True, return_counts=True)
    # equally large cells differ by less than a row, so that they do not mix
    weight[flagged] = (counts - np.arange(len(found)) / max(len(found), 1))[places]
    return weight


def mask_of(subject: Subject, asked: Asked, standing: Standing, me: str | None) -> Mask | None:
    """(N,) rows that pass every filter; None where nothing is filtered."""
    masks = [*_label_masks(subject, asked), *_decision_masks(subject, asked, standing, me)]
    if asked.search:
        wanted = asked.search.casefold()
        masks.append(np.array([wanted in shown.casefold() for shown in subject.shown_ids], np.bool_))
    return np.logical_and.reduce(masks) if masks else None


def _label_masks(subject: Subject, asked: Asked) -> list[Mask]:
    masks: list[Mask] = []
    if asked.given is not None and subject.given_labels is not None:
        masks.append(subject.given_labels == _label(subject, asked.given))
    if asked.likely is not None and subject.likely_labels is not None:
        masks.append(subject.likely_labels == _label(subject, asked.likely))
    if asked.flagged is not None and subject.is_label_issue is not None:
        masks.append(subject.is_label_issue == asked.flagged)
    if subject.probability is not None and asked.min_chance > 0:
        masks.append(subject.probability >= asked.min_chance)
    if subject.probability is not None and asked.max_chance < 1:
        masks.append(subject.probability <= asked.max_chance)
    return masks


def _decision_masks(subject: Subject, asked: Asked, standing: Standing, me: str | None) -> list[Mask]:
    masks: list[Mask] = []
    if asked.state == "disputed":
        masks.append(standing.disputed)
    elif asked.state != "all":
        by_me = subject.blind or asked.state in ("mine", "left")
        stands = standing.codes(me or "") != NOTHING if by_me else standing.decided
        masks.append(stands if asked.state in ("mine", "decided") else ~stands)
    if asked.reviewer is not None and asked.verdict is None:
        masks.append(standing.codes(asked.reviewer) != NOTHING)
    if asked.verdict is not None:
        who = standing.reviewers if asked.reviewer is None else [asked.reviewer]
        held = [_has_verdict(standing.codes(name), asked.verdict) for name in who]
        masks.append(np.logical_or.reduce(held) if held else np.zeros_like(standing.disputed))
    return masks


def _has_verdict(codes: Codes, verdict: Verdict) -> Mask:
    wanted = VERDICTS.index(verdict)
    mask: Mask = codes >= LABEL if wanted == LABEL else codes == wanted
    return mask


def refuse_unblinding(asked: Asked, me: str | None) -> None:
    """Refuse what would tell something of labels, guesses, or what others decided.

    Raises
    ------
    InputError
        Naming what was asked for.
    """
    hidden = ("given", "likely", "flagged", "min_chance", "max_chance")
    told = [name for name in hidden if getattr(asked, name) != getattr(Asked(), name)]
    told += ["order"] if asked.order not in BLIND_ORDERS else []
    told += ["state"] if asked.state == "disputed" else []
    told += ["reviewer"] if asked.reviewer is not None and asked.reviewer != me else []
    told += ["verdict"] if asked.verdict is not None and (me is None or asked.reviewer != me) else []
    if told:
        raise InputError(
            "A blind review shows photos in a random order, and one's own decisions.",
            came=f"{told[0]}={getattr(asked, told[0])!r}",
            remedy="Ask for order 'random', and leave that out.",
        )


def _label(subject: Subject, name: str) -> int:
    if name not in subject.label_of:
        raise InputError(
            "A class is one of the table's.",
            came=repr(name[:MOST_SEARCHED]),
            remedy=f"The classes are {', '.join(subject.class_names[:20])}.",
        )
    return subject.label_of[name]
