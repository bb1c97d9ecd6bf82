"""What stands: the fold of the log of decisions, by reviewer and row. N rows, K classes, R reviewers.

Each event says what its reviewer holds of its row from then on, so folding is putting the last one in place.
A decision is one code: NOTHING, UNSURE, DROP, KEEP, or LABEL + the label that the row should have.

    undo and redo     decide a  decide b  undo       redo       undo       decide c
    can be undone     a         a b       a          a b        a          a c
    can be redone     -         -         b          -          b          -

An undo writes what stood before the batch, a redo what the batch said; both are events like any other. An
import ends what can be undone: nobody takes back a file by pressing a key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.events import Act, Event, Verdict
from kiyome.decisions.items import Subject

NOTHING, UNSURE, DROP, KEEP, LABEL = range(5)
VERDICTS: tuple[Verdict | None, ...] = (None, "unsure", "drop", "keep", "relabel")
"""Verdict of each code; of LABEL and all above it the last one."""

Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What one reviewer holds of one row."""

    verdict: Verdict | None
    """None: nothing stands, as after an undo."""
    label: str | None
    version: int
    """Sequence of the last event of this reviewer about this row; 0 where there is none."""


@dataclass(kw_only=True, eq=False)
class _Reviewer:
    """What one person decided; arrays of zeros take no memory before they are written to."""

    first: Event
    codes: Codes
    versions: Codes
    events: dict[int, list[Event]] = field(default_factory=dict)
    """Row -> events, in order of their sequence."""
    done: list[str] = field(default_factory=list)
    """Batches that an undo would take back, the last one first."""
    undone: list[str] = field(default_factory=list)
    """Batches that a redo would bring back."""
    times: list[tuple[float, int]] = field(default_factory=list)
    """Second and number of rows of each batch that was decided."""


class Standing:
    """What stands after the events so far; `take` adds more. Not for several threads at once.

    Parameters
    ----------
    subject : Subject
        Whose rows are decided about.

    Examples
    --------
    >>> from pathlib import Path
    >>> subject = Subject(run="r", title="r", blind=True, audit=None, image_ids=["a", "b"],
    ...     shown_ids=["a", "b"], class_names=("cat", "dog"), fingerprint="", table_content="",
    ...     photo_root=Path(), photo_paths=["", ""], ranking=np.arange(2))
    >>> event = Event(number=1, batch="k", kind="decide", undoes=None, reviewer="Ann", image_id="b",
    ...     sequence=1, verdict="relabel", label="dog", run="r", table_content="", seen={}, milliseconds=None,
    ...     decided_at="2026-01-01T00:00:00+00:00")
    >>> standing = Standing(subject)
    >>> standing.take([event])
    >>> standing.of("Ann", 1).label, standing.decided.tolist(), standing.to_undo("Ann")
    ('dog', [False, True], ('k', [Act(image_id='b', version=1, verdict=None, label=None)]))
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.last_number = 0
        """Of the last event that was taken: ask the store for those after it."""
        self.num_deciders: NDArray[np.int16] = np.zeros(len(subject), np.int16)
        """(N,) how many reviewers' decisions stand, those who are unsure among them."""
        self.disputed: Mask = np.zeros(len(subject), np.bool_)
        """(N,) rows of which two reviewers hold different things; being unsure contradicts nobody."""
        self.num_skipped = 0
        """Events about photos or classes that are not in the table, put in past kiyome."""
        self._reviewers: dict[str, _Reviewer] = {}
        self._batches: dict[str, list[Event]] = {}

    @property
    def reviewers(self) -> list[str]:
        """Everyone who wrote an event, in the order of their first one."""
        return list(self._reviewers)

    def first_event(self, reviewer: str) -> Event | None:
        """The first event in a name; None where nobody used it."""
        known = self._reviewers.get(reviewer)
        return known.first if known else None

    @property
    def decided(self) -> Mask:
        """(N,) rows of which anyone's decision stands."""
        decided: Mask = self.num_deciders > 0
        return decided

    def take(self, events: Iterable[Event]) -> None:
        """Fold more events, in the order of their numbers; those taken before are passed over."""
        new = (event for event in events if event.number > self.last_number)
        for _, batch in groupby(new, key=attrgetter("batch")):
            self._take_batch(list(batch))

    def _take_batch(self, whole: list[Event]) -> None:
        self.last_number = whole[-1].number
        batch = [event for event in whole if is_about(event, self.subject)]
        self.num_skipped += len(whole) - len(batch)
        if not batch:
            return
        first = batch[0]
        if first.reviewer not in self._reviewers:
            self._reviewers[first.reviewer] = self._newcomer(first)
        reviewer = self._reviewers[first.reviewer]
        for event in batch:
            row, code = self.subject.row_of[event.image_id], self._code_of(event)
            self.num_deciders[row] += int(code != NOTHING) - int(reviewer.codes[row] != NOTHING)
            reviewer.codes[row], reviewer.versions[row] = code, event.sequence
            reviewer.events.setdefault(row, []).append(event)
            self.disputed[row] = self._is_disputed(row)
        if first.batch not in self._batches:
            _remember(reviewer, first, len(batch))
        self._batches.setdefault(first.batch, []).extend(batch)

    def _newcomer(self, first: Event) -> _Reviewer:
        zeros = [np.zeros(len(self.subject), np.int32) for _ in range(2)]
        return _Reviewer(first=first, codes=zeros[0], versions=zeros[1])

    def of(self, reviewer: str, row: int) -> Decided:
        """What a reviewer holds of a row."""
        known = self._reviewers.get(reviewer)
        if known is None or known.versions[row] == 0:
            return Decided(verdict=None, label=None, version=0)
        last = known.events[row][-1]
        return Decided(verdict=last.verdict, label=last.label, version=last.sequence)

    def history(self, row: int) -> list[Event]:
        """Every event about a row, in the order in which they were written."""
        found = (event for known in self._reviewers.values() for event in known.events.get(row, ()))
        return sorted(found, key=attrgetter("number"))

    def codes(self, reviewer: str) -> Codes:
        """(N,) what a reviewer holds of each row, as codes; a read-only view."""
        known = self._reviewers.get(reviewer)
        view = (known.codes if known else np.zeros(len(self.subject), np.int32)).view()
        view.flags.writeable = False
        return view

    def outcomes(self, reviewer: str, rows: NDArray[np.intp] | None = None) -> Codes:
        """Codes of a reviewer's decisions where keeping a label, and relabeling to it, are the same.

        That is so only where the given labels are known: in a blind review a kept label stays `KEEP`.

        Parameters
        ----------
        reviewer
            Whose.
        rows
            (n,) rows to say it of; all if not given.
        """
        chosen = slice(None) if rows is None else rows
        codes, given = self.codes(reviewer)[chosen], self.subject.given_labels
        return codes if given is None else np.where(codes == KEEP, LABEL + given[chosen], codes)

    def batch_times(self, reviewer: str) -> Sequence[tuple[float, int]]:
        """Second (since 1970) and number of rows of each batch that a reviewer decided, in order."""
        known = self._reviewers.get(reviewer)
        return known.times if known else ()

    def to_undo(self, reviewer: str) -> tuple[str, list[Act]] | None:
        """The batch that an undo takes back, and what to write for that; None where there is nothing."""
        known = self._reviewers.get(reviewer)
        if known is None or not known.done:
            return None
        batch = known.done[-1]
        return batch, [self._act(event, self._before(known, event)) for event in self._batches[batch]]

    def to_redo(self, reviewer: str) -> tuple[str, list[Act]] | None:
        """The batch that a redo brings back, and what to write for that; None where there is nothing."""
        known = self._reviewers.get(reviewer)
        if known is None or not known.undone:
            return None
        batch = known.undone[-1]
        return batch, [self._act(event, event) for event in self._batches[batch]]

    def _before(self, known: _Reviewer, event: Event) -> Event | None:
        """What stood for the reviewer before an event about the same row."""
        events = known.events[self.subject.row_of[event.image_id]]
        place = event.sequence - events[0].sequence
        return events[place - 1] if place else None

    def _act(self, event: Event, wanted: Event | None) -> Act:
        held = self.of(event.reviewer, self.subject.row_of[event.image_id])
        verdict, label = (wanted.verdict, wanted.label) if wanted else (None, None)
        return Act(image_id=event.image_id, version=held.version, verdict=verdict, label=label)

    def _is_disputed(self, row: int) -> bool:
        if self.num_deciders[row] < 2:
            return False
        given = self.subject.given_labels
        codes = {int(known.codes[row]) for known in self._reviewers.values()} - {NOTHING, UNSURE}
        kept = KEEP if given is None else LABEL + int(given[row])
        return len({kept if code == KEEP else code for code in codes}) > 1

    def _code_of(self, event: Event) -> int:
        if event.verdict != "relabel":
            return VERDICTS.index(event.verdict)
        return LABEL + self.subject.label_of[event.label or ""]


def is_about(event: Event, subject: Subject) -> bool:
    """Whether an event names a photo of the table, and a class where it names one."""
    known_label = event.verdict != "relabel" or (event.label or "") in subject.label_of
    return known_label and event.image_id in subject.row_of


def _remember(reviewer: _Reviewer, first: Event, num_rows: int) -> None:
    """Keep what can be undone, redone, and timed."""
    if first.kind == "decide":
        reviewer.done.append(first.batch)
        reviewer.undone.clear()
        reviewer.times.append((datetime.fromisoformat(first.decided_at).timestamp(), num_rows))
    elif first.kind == "import":
        reviewer.done.clear()
        reviewer.undone.clear()
    else:
        taken, put = (
            (reviewer.done, reviewer.undone) if first.kind == "undo" else (reviewer.undone, reviewer.done)
        )
        if first.undoes in taken:
            taken.remove(first.undoes)
            put.append(first.undoes)


def decision_of(code: int, class_names: Sequence[str]) -> tuple[Verdict | None, str | None]:
    """Verdict and class name of a code.

    >>> decision_of(LABEL + 1, ("cat", "dog")), decision_of(DROP, ())
    (('relabel', 'dog'), ('drop', None))
    """
    verdict = VERDICTS[min(code, LABEL)]
    return verdict, class_names[code - LABEL] if code >= LABEL else None
