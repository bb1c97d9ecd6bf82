"""What stands, against a plain loop over the whole log."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.decisions.current import DROP, KEEP, LABEL, NOTHING, UNSURE, Standing, decision_of
from kiyome.decisions.events import Event

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


def played(script, standing: Standing, log_of) -> tuple[Any, dict[str, PlainPerson]]:
    """The script as a server would run it, and as plain editors would."""
    log, people = log_of(standing.subject), {name: PlainPerson() for name in NAMES}
    for kind, name, said in script:
        people[name].move(kind, said)
        if kind in ("undo", "redo"):
            found = standing.to_undo(name) if kind == "undo" else standing.to_redo(name)
            if found is None:
                continue
            batch, acts = found
            for act in acts:
                assert act.version == standing.of(name, standing.subject.row_of[act.image_id]).version
            said_again = {standing.subject.row_of[act.image_id]: act.label or act.verdict for act in acts}
            standing.take(log.append(name, said_again, kind=kind, undoes=batch))
        else:
            standing.take(log.append(name, said, kind=kind))
    return log, people


@settings(derandomize=True, deadline=None, max_examples=60)
@given(script=moves)
def test_undo_and_redo_are_those_of_a_plain_editor(subject_of, log_of, script) -> None:
    standing = Standing(subject_of(5))
    _, people = played(script, standing, log_of)
    for name, person in people.items():
        for row in range(5):
            held = standing.of(name, row)
            assert (held.label or held.verdict) == person.now.get(row)
        assert (standing.to_undo(name) is None) == (not person.past)
        assert (standing.to_redo(name) is None) == (not person.future)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(script=moves, step=st.integers(1, 7), blind=st.booleans())
def test_the_fold_is_the_same_in_one_go_in_parts_and_as_a_loop(
    subject_of, log_of, script, step: int, blind: bool
) -> None:
    subject = subject_of(5, blind=blind)
    standing = Standing(subject)
    events = played(script, standing, log_of)[0].events
    parts = Standing(subject)
    for start in range(0, len(events), step):
        parts.take(events[max(0, start - 2) : start + step])  # some come twice
    whole = Standing(subject)
    whole.take(events)
    for other in (parts, whole):
        assert other.num_deciders.tolist() == standing.num_deciders.tolist()
        assert other.disputed.tolist() == standing.disputed.tolist()
        assert [other.to_undo(name) for name in NAMES] == [standing.to_undo(name) for name in NAMES]
    last: dict[tuple[str, str], Event] = {}
    for event in events:
        last[event.reviewer, event.image_id] = event
    for row, image_id in enumerate(subject.image_ids):
        held = [last[name, image_id] for name in NAMES if (name, image_id) in last]
        held = [event for event in held if event.verdict is not None]
        assert standing.num_deciders[row] == len(held)
        kept = "keep" if blind else subject.class_names[subject.given_labels[row]]
        answers = {e.label or (kept if e.verdict == "keep" else e.verdict) for e in held} - {"unsure"}
        assert standing.disputed[row] == (len(answers) > 1)
        assert [event.number for event in standing.history(row)] == [
            event.number for event in events if event.image_id == image_id
        ]


def test_codes_and_outcomes(subject_of, log_of) -> None:
    subject = subject_of(6, given_labels=np.array([2, 1, 0, 0, 0, 0], np.int32))
    standing, log = Standing(subject), log_of(subject)
    standing.take(log.append("Ann", {0: "keep", 1: "class 1", 2: "drop", 3: "unsure", 4: "class 2"}))
    assert standing.codes("Ann").tolist() == [KEEP, LABEL + 1, DROP, UNSURE, LABEL + 2, NOTHING]
    assert standing.outcomes("Ann").tolist() == [LABEL + 2, LABEL + 1, DROP, UNSURE, LABEL + 2, NOTHING]
    assert standing.outcomes("Ann", np.array([4, 0])).tolist() == [LABEL + 2, LABEL + 2]
    assert standing.codes("nobody").tolist() == [NOTHING] * 6
    with pytest.raises(ValueError, match="read-only"):
        standing.codes("Ann")[0] = 1
    assert decision_of(KEEP, subject.class_names) == ("keep", None)


def test_keeping_a_label_is_relabeling_to_it(subject_of, log_of) -> None:
    subject = subject_of(2, given_labels=np.array([2, 1], np.int32))
    standing, log = Standing(subject), log_of(subject)
    standing.take(log.append("Ann", {0: "keep", 1: "keep"}))
    standing.take(log.append("Bob", {0: "class 2", 1: "class 0"}))
    assert standing.disputed.tolist() == [False, True]


def test_an_import_cannot_be_undone_by_a_key(subject_of, log_of) -> None:
    subject = subject_of(3)
    standing, log = Standing(subject), log_of(subject)
    standing.take(log.append("Ann", {0: "keep"}))
    standing.take(log.append("Ann", {0: "drop", 1: "drop"}, kind="import"))
    assert standing.to_undo("Ann") is None


@pytest.mark.parametrize("change", [{"image_id": "other.png"}, {"label": "owl"}])
def test_events_of_another_table_are_skipped_and_counted(subject_of, log_of, change: dict[str, str]) -> None:
    subject = subject_of(3)
    standing, log = Standing(subject), log_of(subject)
    first, second = log.append("Ann", {0: "class 1", 1: "keep"})
    standing.take([Event(**(vars(first) | change)), second])
    assert (standing.num_skipped, standing.last_number) == (1, second.number)
    assert standing.decided.tolist() == [False, True, False]
    assert standing.to_undo("Ann") == (second.batch, [standing.to_undo("Ann")[1][0]])
    standing.take(log.append("Ann", {2: "drop"}))
    assert (standing.num_skipped, standing.decided.sum()) == (1, 2)


def test_a_million_rows_take_little_memory_until_they_are_decided(subject_of) -> None:
    standing = Standing(subject_of(10, image_ids=["a"] * 1_000_000))
    assert standing.num_deciders.nbytes + standing.disputed.nbytes <= 3_000_000


def test_events_of_a_real_store_fold(subject_of, tmp_path: Path) -> None:
    from kiyome.decisions.events import Act
    from kiyome.decisions.store import open_decisions

    subject = subject_of(4)
    store = open_decisions(
        f"sqlite:///{tmp_path}/decisions.sqlite",
        fingerprint=subject.fingerprint,
        class_names=subject.class_names,
    )
    standing = Standing(subject)
    shared = {"reviewer": "Ann", "run": "run", "table_content": "", "seen": {}}
    first = Act(image_id=subject.image_ids[2], version=0, verdict="relabel", label="class 1")
    standing.take(store.append([first], key="a", **shared))
    batch, acts = standing.to_undo("Ann")
    standing.take(store.append(acts, key="b", kind="undo", undoes=batch, **shared))
    assert standing.of("Ann", 2).verdict is None
    batch, acts = standing.to_redo("Ann")
    standing.take(store.append(acts, key="c", kind="redo", undoes=batch, **shared))
    assert standing.of("Ann", 2).label == "class 1"
    again = Standing(subject)
    again.take(store.events_after(0))
    undo = Act(image_id=subject.image_ids[2], version=3, verdict=None, label=None)
    assert again.to_undo("Ann") == standing.to_undo("Ann") == ("a", [undo])
    store.close()
