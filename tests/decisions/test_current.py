"""What stands, against a plain loop over the whole log."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.decisions.current import DROP, KEEP, LABEL, NONE, UNSURE, CurrentDecisions, decision_of
from kiyome.decisions.events import Decision, Event

NAMES = ("Ann", "Bob", "Cem")
SAID = ("keep", "drop", "unsure", "class 0", "class 1", "class 2")

moves = st.lists(
    st.tuples(
        st.sampled_from(["decide", "decide", "decide", "undo", "redo", "import"]),
        st.sampled_from(NAMES),
        st.dictionaries(st.integers(0, 4), st.sampled_from(SAID), min_size=1, max_size=3),
    ),
    max_size=40,
)


class PlainPerson:
    """What an editor with undo does: a stack of whole states."""

    def __init__(self) -> None:
        self.now: dict[int, str] = {}
        self.past: list[dict[int, str]] = []
        self.future: list[dict[int, str]] = []

    def move(self, kind: str, said: dict[int, str]) -> None:
        if kind == "undo" and self.past:
            self.future.append(self.now)
            self.now = self.past.pop()
        elif kind == "redo" and self.future:
            self.past.append(self.now)
            self.now = self.future.pop()
        elif kind in ("decide", "import"):
            self.past = [] if kind == "import" else [*self.past, self.now]
            self.future = []
            self.now = self.now | said


def played(script, current: CurrentDecisions, log_of) -> tuple[Any, dict[str, PlainPerson]]:
    """The script as a server would run it, and as plain editors would."""
    log, people = log_of(current.items), {name: PlainPerson() for name in NAMES}
    for kind, name, said in script:
        people[name].move(kind, said)
        if kind in ("undo", "redo"):
            found = current.to_undo(name) if kind == "undo" else current.to_redo(name)
            if found is None:
                continue
            batch, acts = found
            for act in acts:
                assert act.version == current.of(name, current.items.row_of[act.image_id]).version
            said_again = {current.items.row_of[act.image_id]: act.label or act.verdict for act in acts}
            current.apply(log.append(name, said_again, kind=kind, undoes=batch))
        else:
            current.apply(log.append(name, said, kind=kind))
    return log, people


@settings(derandomize=True, deadline=None, max_examples=60)
@given(script=moves)
def test_undo_and_redo_are_those_of_a_plain_editor(items_of, log_of, script) -> None:
    current = CurrentDecisions(items_of(5))
    _, people = played(script, current, log_of)
    for name, person in people.items():
        for row in range(5):
            held = current.of(name, row)
            assert (held.label or held.verdict) == person.now.get(row)
        assert (current.to_undo(name) is None) == (not person.past)
        assert (current.to_redo(name) is None) == (not person.future)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(script=moves, step=st.integers(1, 7), blind=st.booleans())
def test_the_fold_is_the_same_in_one_go_in_parts_and_as_a_loop(
    items_of, log_of, script, step: int, blind: bool
) -> None:
    items = items_of(5, blind=blind)
    current = CurrentDecisions(items)
    events = played(script, current, log_of)[0].events
    parts = CurrentDecisions(items)
    for start in range(0, len(events), step):
        parts.apply(events[max(0, start - 2) : start + step])  # some come twice
    whole = CurrentDecisions(items)
    whole.apply(events)
    for other in (parts, whole):
        assert other.num_decisions.tolist() == current.num_decisions.tolist()
        assert other.disputed.tolist() == current.disputed.tolist()
        assert [other.to_undo(name) for name in NAMES] == [current.to_undo(name) for name in NAMES]
    last: dict[tuple[str, str], Event] = {}
    for event in events:
        last[event.reviewer, event.image_id] = event
    for row, image_id in enumerate(items.image_ids):
        held = [last[name, image_id] for name in NAMES if (name, image_id) in last]
        held = [event for event in held if event.verdict is not None]
        assert current.num_decisions[row] == len(held)
        kept = "keep" if blind else items.class_names[items.given_labels[row]]
        answers = {e.label or (kept if e.verdict == "keep" else e.verdict) for e in held} - {"unsure"}
        assert current.disputed[row] == (len(answers) > 1)
        assert [event.number for event in current.history(row)] == [
            event.number for event in events if event.image_id == image_id
        ]


def test_codes_and_outcomes(items_of, log_of) -> None:
    items = items_of(6, given_labels=np.array([2, 1, 0, 0, 0, 0], np.int32))
    current, log = CurrentDecisions(items), log_of(items)
    current.apply(log.append("Ann", {0: "keep", 1: "class 1", 2: "drop", 3: "unsure", 4: "class 2"}))
    assert current.codes("Ann").tolist() == [KEEP, LABEL + 1, DROP, UNSURE, LABEL + 2, NONE]
    assert current.outcomes("Ann").tolist() == [LABEL + 2, LABEL + 1, DROP, UNSURE, LABEL + 2, NONE]
    assert current.outcomes("Ann", np.array([4, 0])).tolist() == [LABEL + 2, LABEL + 2]
    assert current.codes("nobody").tolist() == [NONE] * 6
    with pytest.raises(ValueError, match="read-only"):
        current.codes("Ann")[0] = 1
    assert decision_of(KEEP, "a", items.class_names) == Decision(image_id="a", verdict="keep")


def test_keeping_a_label_is_relabeling_to_it(items_of, log_of) -> None:
    items = items_of(2, given_labels=np.array([2, 1], np.int32))
    current, log = CurrentDecisions(items), log_of(items)
    current.apply(log.append("Ann", {0: "keep", 1: "keep"}))
    current.apply(log.append("Bob", {0: "class 2", 1: "class 0"}))
    assert current.disputed.tolist() == [False, True]


def test_an_import_cannot_be_undone_by_a_key(items_of, log_of) -> None:
    items = items_of(3)
    current, log = CurrentDecisions(items), log_of(items)
    current.apply(log.append("Ann", {0: "keep"}))
    current.apply(log.append("Ann", {0: "drop", 1: "drop"}, kind="import"))
    assert current.to_undo("Ann") is None


@pytest.mark.parametrize("change", [{"image_id": "other.png"}, {"label": "owl"}])
def test_events_of_another_table_are_skipped_and_counted(items_of, log_of, change: dict[str, str]) -> None:
    items = items_of(3)
    current, log = CurrentDecisions(items), log_of(items)
    first, second = log.append("Ann", {0: "class 1", 1: "keep"})
    current.apply([Event(**(vars(first) | change)), second])
    assert (current.num_skipped, current.last_number) == (1, second.number)
    assert current.decided.tolist() == [False, True, False]
    assert current.to_undo("Ann") == (second.batch, [current.to_undo("Ann")[1][0]])
    current.apply(log.append("Ann", {2: "drop"}))
    assert (current.num_skipped, current.decided.sum()) == (1, 2)


def test_a_million_rows_take_little_memory_until_they_are_decided(items_of) -> None:
    current = CurrentDecisions(items_of(10, image_ids=["a"] * 1_000_000))
    assert current.num_decisions.nbytes + current.disputed.nbytes <= 3_000_000


def test_events_of_a_real_store_fold(items_of, tmp_path: Path) -> None:
    from kiyome.decisions.store import open_decisions

    items = items_of(4)
    store = open_decisions(
        f"sqlite:///{tmp_path}/decisions.sqlite",
        fingerprint=items.fingerprint,
        class_names=items.class_names,
    )
    current = CurrentDecisions(items)
    shared = {"reviewer": "Ann", "run": "run", "table_content": "", "seen": {}}
    first = Decision(image_id=items.image_ids[2], version=0, verdict="relabel", label="class 1")
    current.apply(store.append([first], key="a", **shared))
    batch, acts = current.to_undo("Ann")
    current.apply(store.append(acts, key="b", kind="undo", undoes=batch, **shared))
    assert current.of("Ann", 2).verdict is None
    batch, acts = current.to_redo("Ann")
    current.apply(store.append(acts, key="c", kind="redo", undoes=batch, **shared))
    assert current.of("Ann", 2).label == "class 1"
    again = CurrentDecisions(items)
    again.apply(store.events_after(0))
    undo = Decision(image_id=items.image_ids[2], version=3, verdict=None, reviewer="Ann")
    assert again.to_undo("Ann") == current.to_undo("Ann") == ("a", [undo])
    store.close()
