"""The current decisions: a fold of the log, by reviewer and row. N rows, K classes, R reviewers.

Each event replaces the decision of its reviewer about its row. In arrays a decision is one code: NONE,
UNSURE, DROP, NONE_OF_THESE, BOTH, KEEP, or LABEL + the label that the row should have.

    undo and redo     decide a  decide b  undo       redo       undo       decide c
    can be undone     a         a b       a          a b        a          a c
    can be redone     -         -         b          -          b          -

An undo writes what was current before the batch, a redo writes the batch again; both are events like any
other. An import ends what can be undone: nobody takes back a file by pressing a key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from kiyome.decisions.events import Decision, Event, Verdict
from kiyome.decisions.items import ReviewItems

NONE, UNSURE, DROP, NONE_OF_THESE, BOTH, KEEP, LABEL = range(7)
VERDICTS: tuple[Verdict | None, ...] = (
    None,
    "unsure",
    "drop",
    "none_of_these",
    "both",
    "keep",
    "relabel",
)
"""The verdict of each code; the last one for LABEL and all codes above it."""

Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]


@dataclass(kw_only=True, eq=False)
class _ReviewerState:
    """Everything one person decided; arrays of zeros take no memory before they are written to."""

    first: Event
    codes: Codes
    versions: Codes
    events: dict[int, list[Event]] = field(default_factory=dict)
    """Row -> events, in order of their sequence."""
    done: list[str] = field(default_factory=list)
    """Keys of the batches that undo would take back, the next one last."""
    undone: list[str] = field(default_factory=list)
    """Keys of the batches that redo would restore."""
    times: list[tuple[float, int]] = field(default_factory=list)
    """Second and number of rows of each batch that was decided."""


class CurrentDecisions:
    """The current decisions after the events so far; `apply` adds more. Not for several threads at once.

    >>> from pathlib import Path
    >>> items = ReviewItems(run="r", title="r", blind=True, audit=None, image_ids=["a", "b"],
    ...     shown_ids=["a", "b"], class_names=("cat", "dog"), fingerprint="", table_content="",
    ...     photo_root=Path(), photo_paths=["", ""], ranking=np.arange(2))
    >>> event = Event(number=1, batch="k", kind="decide", undoes=None, reviewer="Ann", image_id="b",
    ...     sequence=1, verdict="relabel", label="dog", run="r", table_content="", seen={}, milliseconds=None,
    ...     decided_at="2026-01-01T00:00:00+00:00")
    >>> current = CurrentDecisions(items)
    >>> current.apply([event])
    >>> current.of("Ann", 1).label, current.decided.tolist(), current.to_undo("Ann")[1][0].verdict
    ('dog', [False, True], None)
    """

    def __init__(self, items: ReviewItems) -> None:
        self.items = items
        self.last_number = 0
        """Number of the last event so far: ask the store for those after it."""
        self.num_decisions: NDArray[np.int16] = np.zeros(len(items), np.int16)
        """(N,) number of reviewers with a decision, unsure ones included."""
        self.disputed: Mask = np.zeros(len(items), np.bool_)
        """(N,) rows with different decisions by two reviewers; unsure contradicts nobody."""
        self.num_skipped = 0
        """Events about photos or classes that are not in the table, written by other programs."""
        self._reviewers: dict[str, _ReviewerState] = {}
        self._batches: dict[str, list[Event]] = {}

    @property
    def reviewers(self) -> list[str]:
        """Everyone who wrote an event, in the order of their first one."""
        return list(self._reviewers)

    def first_event(self, reviewer: str) -> Event | None:
        """Return the first event under a name; None where nobody used it."""
        state = self._reviewers.get(reviewer)
        return state.first if state else None

    @property
    def decided(self) -> Mask:
        """(N,) rows with a decision by anyone."""
        decided: Mask = self.num_decisions > 0
        return decided

    def apply(self, events: Iterable[Event]) -> None:
        """Fold more events, in the order of their numbers; those applied before are skipped."""
        new = (event for event in events if event.number > self.last_number)
        for _, batch in groupby(new, key=attrgetter("batch")):
            self._apply_batch(list(batch))

    def _apply_batch(self, whole: list[Event]) -> None:
        self.last_number = whole[-1].number
        batch = [event for event in whole if applies_to(event, self.items)]
        self.num_skipped += len(whole) - len(batch)
        if not batch:
            return
        first = batch[0]
        if first.reviewer not in self._reviewers:
            self._reviewers[first.reviewer] = self._new_state(first)
        state = self._reviewers[first.reviewer]
        for event in batch:
            row, code = self.items.row_of[event.image_id], self._code_of(event)
            self.num_decisions[row] += int(code != NONE) - int(state.codes[row] != NONE)
            state.codes[row], state.versions[row] = code, event.sequence
            state.events.setdefault(row, []).append(event)
            self.disputed[row] = self._is_disputed(row)
        if first.batch not in self._batches:
            _update_undo(state, first, len(batch))
        self._batches.setdefault(first.batch, []).extend(batch)

    def _new_state(self, first: Event) -> _ReviewerState:
        zeros = [np.zeros(len(self.items), np.int32) for _ in range(2)]
        return _ReviewerState(first=first, codes=zeros[0], versions=zeros[1])

    def of(self, reviewer: str, row: int) -> Decision:
        """Return the decision of a reviewer about a row, without a verdict where there is none."""
        state = self._reviewers.get(reviewer)
        if state is None or state.versions[row] == 0:
            return Decision(image_id=self.items.image_ids[row], verdict=None, reviewer=reviewer)
        return state.events[row][-1].decision

    def decisions(self) -> list[Decision]:
        """Return every current decision, by row, then by when it was made."""
        found = []
        for row in self.decided.nonzero()[0].tolist():
            last = {event.reviewer: event.decision for event in self.history(row)}
            found += [decision for decision in last.values() if decision.verdict is not None]
        return found

    def history(self, row: int) -> list[Event]:
        """Return every event about a row, in the order in which they were written."""
        found = (event for state in self._reviewers.values() for event in state.events.get(row, ()))
        return sorted(found, key=attrgetter("number"))

    def codes(self, reviewer: str) -> Codes:
        """Return the decisions (N,) of a reviewer as codes; a read-only view."""
        state = self._reviewers.get(reviewer)
        view = (state.codes if state else np.zeros(len(self.items), np.int32)).view()
        view.flags.writeable = False
        return view

    def outcomes(self, reviewer: str, rows: NDArray[np.intp] | None = None) -> Codes:
        """Return the codes of a reviewer (all rows if None), with keep as relabel to the given label.

        In a blind review the given labels are unknown, and keep stays `KEEP`.
        """
        chosen = slice(None) if rows is None else rows
        codes, given = self.codes(reviewer)[chosen], self.items.given_labels
        return codes if given is None else np.where(codes == KEEP, LABEL + given[chosen], codes)

    def batch_times(self, reviewer: str) -> Sequence[tuple[float, int]]:
        """Return the second (since 1970) and the number of rows of each batch of a reviewer, in order."""
        state = self._reviewers.get(reviewer)
        return state.times if state else ()

    def to_undo(self, reviewer: str) -> tuple[str, list[Decision]] | None:
        """Return the key of the batch to undo and the decisions to write; None where there is nothing."""
        state = self._reviewers.get(reviewer)
        if state is None or not state.done:
            return None
        batch = state.done[-1]
        return batch, [self._again(event, self._before(state, event)) for event in self._batches[batch]]

    def to_redo(self, reviewer: str) -> tuple[str, list[Decision]] | None:
        """Return the key of the batch to redo and the decisions to write; None where there is nothing."""
        state = self._reviewers.get(reviewer)
        if state is None or not state.undone:
            return None
        batch = state.undone[-1]
        return batch, [self._again(event, event) for event in self._batches[batch]]

    def _before(self, state: _ReviewerState, event: Event) -> Event | None:
        """Return the event of the reviewer about the same row before this one."""
        events = state.events[self.items.row_of[event.image_id]]
        index = event.sequence - events[0].sequence
        return events[index - 1] if index else None

    def _again(self, event: Event, wanted: Event | None) -> Decision:
        """Return a decision to write now that repeats the wanted one."""
        now = self.of(event.reviewer, self.items.row_of[event.image_id])
        verdict, label = (wanted.verdict, wanted.label) if wanted else (None, None)
        return replace(now, verdict=verdict, label=label)

    def _is_disputed(self, row: int) -> bool:
        if self.num_decisions[row] < 2:
            return False
        given = self.items.given_labels
        codes = {int(state.codes[row]) for state in self._reviewers.values()} - {NONE, UNSURE}
        kept = KEEP if given is None else LABEL + int(given[row])
        return len({kept if code == KEEP else code for code in codes}) > 1

    def _code_of(self, event: Event) -> int:
        if event.verdict != "relabel":
            return VERDICTS.index(event.verdict)
        return LABEL + self.items.label_of[event.label or ""]


def applies_to(event: Event, items: ReviewItems) -> bool:
    """Return whether an event names a photo of the table, and a class where it names one."""
    known_label = event.verdict != "relabel" or (event.label or "") in items.label_of
    return known_label and event.image_id in items.row_of


def _update_undo(state: _ReviewerState, first: Event, num_rows: int) -> None:
    """Record what can be undone, redone and timed after a new batch."""
    if first.kind == "decide":
        state.done.append(first.batch)
        state.undone.clear()
        state.times.append((datetime.fromisoformat(first.decided_at).timestamp(), num_rows))
    elif first.kind == "import":
        state.done.clear()
        state.undone.clear()
    else:
        source, target = (state.done, state.undone) if first.kind == "undo" else (state.undone, state.done)
        if first.undoes in source:
            source.remove(first.undoes)
            target.append(first.undoes)


def decision_of(code: int, image_id: str, class_names: Sequence[str]) -> Decision:
    """Return the decision that a code stands for.

    >>> decision_of(LABEL + 1, "a.png", ("cat", "dog")).label, decision_of(DROP, "a.png", ()).verdict
    ('dog', 'drop')
    """
    label = class_names[code - LABEL] if code >= LABEL else None
    return Decision(image_id=image_id, verdict=VERDICTS[min(code, LABEL)], label=label)
