"""A clock that goes back decides nothing: order is that of what was written, and resumes go on."""

import json

import pytest
from faulty_verbs import FIND, VERBS, anew, rows_of, rows_rebuilt_from

DAY = 86_400


def test_decisions_stand_in_the_order_in_which_they_were_made(forks, user_files, tmp_path):
    folder = anew(tmp_path / "work", user_files)
    assert forks.run(*FIND, folder=folder).code == 0
    for name, clock in (("ann", 0), ("bob", -2 * DAY)):
        assert forks.run(*VERBS["import"].argv[:-1], f"{name}.csv", folder=folder, clock=clock).code == 0
    store = folder / "run" / "review" / "decisions.sqlite"
    rows = rows_of(store)
    assert [row[0] for row in rows] == list(range(1, 17))
    assert [row[6] for row in rows] == ["ann"] * 8 + ["bob"] * 8
    assert rows[8][-1] < rows[0][-1]  # by the clock the second came first
    assert rows_rebuilt_from(store.with_suffix(".jsonl")) == rows
    again = forks.run(*VERBS["import"].argv, folder=folder, clock=-3 * DAY)
    assert (again.code, rows_of(store)) == (0, rows)


@pytest.mark.parametrize("fault", ["kill", "ENOSPC"])
def test_a_run_is_resumed_on_the_day_before(fault, sweep_of):
    sweep = sweep_of("find")
    folder = sweep.begin()
    assert sweep.run(*FIND, folder=folder, fault=fault, number=30).code
    assert sweep.run(*FIND, folder=folder, clock=-DAY).code == 0
    sweep.assert_as_expected("resumed a day before it began")


def test_the_diary_keeps_the_order_of_runs_and_their_folds(forks, user_files, tmp_path):
    folder = anew(tmp_path / "work", user_files)
    for name, clock in (("first", 0), ("second", -DAY)):
        assert forks.run(*FIND[:-1], name, "--seed", "3", folder=folder, clock=clock).code == 0
    entries = [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]
    assert [entry["run"] for entry in entries] == ["first", "second"]
    assert entries[1]["finished"] < entries[0]["finished"]
    assert entries[1]["baseline"] == "first"
