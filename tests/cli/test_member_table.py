"""What people see of the members while they are trained."""

import io
import re

import pytest
from rich.console import Console

from kiyome.cli.member_table import MemberTable, watching
from kiyome.progress import MemberEvent


def event(member, state, num_epochs=0, epochs=4):
    lines = [
        {"epoch": epoch, "train_loss": 2.0 / epoch, "held_out_accuracy_on_labels": epoch / 10}
        for epoch in range(1, num_epochs + 1)
    ]
    return MemberEvent(member=member, state=state, config={"epochs": epochs}, metrics=tuple(lines))


def test_a_member_tells_its_state_loss_agreement_and_time_left():
    now = [0.0]
    table = MemberTable(clock=lambda: now[0])
    for member in ("a", "b", "c"):
        table.on_event(event(member, "waiting"))
    table.on_event(event("a", "cached", 4))
    table.on_event(event("b", "learning"))
    now[0] = 30.0
    table.on_step("b", 10, 40)  # a quarter in half a minute
    table.on_event(event("b", "learning", 1))
    table.on_event(event("d", "remote", 2))
    assert table.cells() == [
        ("4 members", "1 done", pytest.approx((1 + 0.25 + 0 + 0.5) / 4), "", "", "3:30"),
        ("a", "done before", 1.0, "0.5000", "40.0%", ""),
        ("b", "epoch 2/4", 0.25, "2.0000", "10.0%", "1:30"),
        ("c", "waiting", 0.0, "", "", ""),
        ("d", "remote, 2/4", 0.5, "1.0000", "20.0%", ""),
    ]
    table.on_event(event("b", "predicting", 4))
    assert table.cells()[2][:2] == ("b", "predicting")
    table.on_event(event("b", "finished", 4))
    assert table.cells()[2] == ("b", "done", 1.0, "0.5000", "40.0%", "")


def test_what_was_done_before_a_kill_does_not_count_as_pace():
    now = [100.0]
    table = MemberTable(clock=lambda: now[0])
    table.on_event(event("a", "learning", 2))  # goes on at one half
    assert table.seconds_left() is None
    now[0] = 110.0
    table.on_step("a", 30, 40)
    assert table.lines["a"].seconds_left(110.0) == pytest.approx(10.0)


def test_a_long_table_shows_the_members_around_the_one_that_learns():
    table = MemberTable()
    for number in range(50):
        table.on_event(event(f"m{number}", "waiting"))
    table.on_event(event("m30", "learning", 1))
    names = [cells[0] for cells in table.cells(7)]
    assert names == ["50 members", *(f"m{number}" for number in range(27, 34))]


def tell_two_members(on_progress, on_event):
    on_progress("cache photos", 9, 9)
    for member in ("a", "b"):
        on_event(event(member, "waiting", epochs=2))
    for member in ("a", "b\x1b[2J"):
        on_event(event(member, "learning", epochs=2))
        for epoch in (1, 2):
            on_progress(member, 10 * epoch, 20)
            on_event(event(member, "learning", epoch, epochs=2))
        on_event(event(member, "predicting", 2, epochs=2))
        on_event(event(member, "finished", 2, epochs=2))


def test_a_pipe_gets_one_line_an_epoch():
    said = io.StringIO()
    with watching(Console(file=said, force_terminal=False)) as listeners:
        tell_two_members(*listeners)
    lines = [re.sub(r"  \d:\d\d left in all", "", line) for line in said.getvalue().splitlines()]
    assert lines == [
        "cache photos: 9",
        "a  epoch 1/2  loss 2.0000  agreement 10.0%",
        "a  epoch 2/2  loss 1.0000  agreement 20.0%",
        "a  done",
        r"b\x1b[2J  epoch 1/2  loss 2.0000  agreement 10.0%",
        r"b\x1b[2J  epoch 2/2  loss 1.0000  agreement 20.0%",
        r"b\x1b[2J  done",
    ]


def test_a_terminal_gets_a_table():
    said = io.StringIO()
    with watching(Console(file=said, force_terminal=True, width=100, height=40)) as listeners:
        tell_two_members(*listeners)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.getvalue().replace(r"b\x1b[2J", "B"))
    assert re.search(r"3 members +2 done", last)
    assert re.search(r"a +done +━+ +1\.0000 +20\.0%", last)
    assert "\x1b[2J" not in said.getvalue()


def test_nothing_to_tell_leaves_a_terminal_alone():
    said = io.StringIO()
    with watching(Console(file=said, force_terminal=True)):
        pass
    assert said.getvalue() == ""
