"""The diary: what is noted, compared, marked, and what survives a kill in the middle of a line."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.table import Table
from kiyome.artifacts.table_files import write_table
from kiyome.errors import InputError, StaleArtifact
from kiyome.estimates import proportion
from kiyome.experiments import DIARY, compared_with, note_run, note_scores, read_diary

N, K = 300, 3


def leaves(**columns: object) -> Table:
    return Table(
        root=Path(),
        image_ids=[f"{row:03d}.jpg" for row in range(N)],
        paths=[""] * N,
        class_names=("a", "b", "c"),
        **{"given_labels": np.arange(N) % K, "folds": np.arange(N) % 5, **columns},
    )


def run_of(place: Path, table: Table, *, wrong: int, command: str = "train", **config: object) -> Path:
    """A finished run that errs on the first `wrong` rows."""
    guesses = (table.given_labels + (np.arange(N) < wrong)) % K
    probs = np.full((N, K), 0.1) + 0.7 * np.eye(K)[guesses]
    with RunFolder.create_or_reopen(place, command=command, config=config, table=table) as run:
        write_table(table, run.path / "table.parquet")
        Predictions(
            pred_probs=probs, kind="out_of_fold", source="test", table_fingerprint=table.fingerprint
        ).save(run.path / "predictions")
    return place


def test_each_experiment_is_compared_row_by_row_with_the_first(tmp_path: Path) -> None:
    table = leaves()
    first = note_run(run_of(tmp_path / "first", table, wrong=60, loss="cross_entropy"))
    better = note_run(run_of(tmp_path / "better", table, wrong=30, loss="elr"))
    alike = note_run(run_of(tmp_path / "alike", table, wrong=58, loss="elr"))
    assert first.verdict() == "the baseline"
    assert (first.accuracy_on_given.value, better.accuracy_on_given.value) == (0.8, 0.9)
    assert better.verdict().startswith("better: +10.00 points (")
    assert alike.verdict().startswith("cannot tell: +0.67 points (")
    assert "rows would be needed" in alike.verdict()
    assert better.changed == {"loss": ("cross_entropy", "elr")}
    assert alike.changed == {"loss": ("cross_entropy", "elr")}  # as its verdict: against the first
    assert read_diary(tmp_path) == (first, better, alike)


def test_scores_are_on_given_labels_whatever_training_used(tmp_path: Path) -> None:
    table = leaves()
    cleaned = table.with_labels((table.given_labels + (np.arange(N) < 60)) % K)
    entry = note_run(run_of(tmp_path / "cleaned", cleaned, wrong=60))
    assert entry.accuracy_on_given.value == 0.8


def test_what_a_cleaning_kept_and_the_truth_stand_beside_the_score(tmp_path: Path) -> None:
    true = np.where(np.arange(N) < 100, leaves().given_labels, -1)
    run = run_of(tmp_path / "run", leaves(true_labels=true), wrong=60)
    entry = note_run(run, leaks=["flags saw the labels"], is_kept=np.arange(N) >= 60)
    assert entry.accuracy_on_kept is not None
    assert entry.accuracy_on_true is not None
    assert (entry.accuracy_on_kept.value, entry.accuracy_on_kept.num_rows) == (1.0, 240)
    assert (entry.accuracy_on_true.value, entry.accuracy_on_true.num_rows) == (0.4, 100)
    assert read_diary(tmp_path)[0].leaks == ("flags saw the labels",)


def test_the_baseline_is_the_first_run_on_the_same_rows_and_folds(tmp_path: Path) -> None:
    note_run(run_of(tmp_path / "first", leaves(), wrong=60, command="find"))
    three = leaves(folds=np.arange(N) % 3)
    assert note_run(run_of(tmp_path / "folds", three, wrong=30)).verdict() == "the baseline"
    again = note_run(run_of(tmp_path / "again", three, wrong=60))
    assert (again.baseline, again.verdict()[:14]) == ("folds", "worse: -10.00 ")
    asked = compared_with(read_diary(tmp_path), tmp_path, "first")
    assert [entry.verdict() for entry in asked[1:]] == ["not compared: other folds than first"] * 2
    other_labels = leaves(given_labels=(np.arange(N) + 1) % K)
    assert note_run(run_of(tmp_path / "labels", other_labels, wrong=30)).verdict() == "the baseline"
    unknown = note_run(run_of(tmp_path / "unknown", leaves(folds=None), wrong=30))
    assert "folds unknown" in unknown.leaks[0]


def test_the_same_result_is_noted_once_and_another_one_again(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", leaves(), wrong=60)
    assert note_run(run) == note_run(run)
    run_of(run, leaves(), wrong=50)
    note_run(run)
    assert [entry.accuracy_on_given.value for entry in read_diary(tmp_path)] == [0.8, 250 / 300]


def test_another_baseline_can_be_asked_for(tmp_path: Path) -> None:
    for name, wrong in (("first", 60), ("second", 30), ("third", 60)):
        note_run(run_of(tmp_path / name, leaves(), wrong=wrong))
    verdicts = [entry.verdict() for entry in compared_with(read_diary(tmp_path), tmp_path, "second")]
    assert verdicts[0].startswith("worse: -10.00")
    assert verdicts[1] == "the baseline"
    (tmp_path / "third" / "predictions" / "pred_probs.npy").unlink()
    gone = compared_with(read_diary(tmp_path), tmp_path, "second")[2]
    assert gone.verdict().startswith("not compared: predictions/pred_probs.npy is missing or was changed")
    with pytest.raises(InputError, match="Name one of first, second, third"):
        compared_with(read_diary(tmp_path), tmp_path, "fourth")


def test_what_changed_and_the_verdict_speak_of_the_same_baseline(tmp_path: Path) -> None:
    for name, command, config in (
        ("found", "find", {"seed": 0, "method": "adaptive"}),
        ("first", "train", {"seed": 0, "loss": "a", "epochs": 3}),
        ("second", "train", {"seed": 1, "loss": "b", "epochs": 3}),
    ):
        note_run(run_of(tmp_path / name, leaves(), wrong=60, command=command, **config))
    entries = read_diary(tmp_path)
    assert [entry.baseline for entry in entries] == [None, "found", "found"]
    assert entries[1].changed == {"command": ("find", "train")}
    assert entries[2].changed == {"command": ("find", "train"), "seed": (0, 1), "loss": (None, "b")}
    asked = compared_with(entries, tmp_path, "first")
    assert asked[2].changed == {"seed": (0, 1), "loss": ("a", "b")}
    assert asked[1].changed == {}


def test_scores_of_others_stay_with_the_run_and_the_newest_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", leaves(), wrong=60)
    note_run(run)
    note_run(run_of(tmp_path / "other", leaves(), wrong=30))
    before = (tmp_path / DIARY).read_bytes()
    note_scores(run, {"public": 0.9, "private": 0.8})
    assert note_scores(run, {"public": 0.91}).leaderboard == {"public": 0.91, "private": 0.8}
    assert (tmp_path / DIARY).read_bytes().startswith(before)
    assert [entry.leaderboard for entry in read_diary(tmp_path)] == [{"public": 0.91, "private": 0.8}, {}]
    run_of(run, leaves(), wrong=50)
    assert note_run(run).leaderboard == {}  # what was handed in had other predictions
    note_scores(run, {"public": 0.92})
    assert [entry.leaderboard.get("public") for entry in read_diary(tmp_path)] == [0.91, None, 0.92]


def test_each_split_has_a_score_of_its_own(tmp_path: Path) -> None:
    """The first 60 rows are wrong: a fifth of train, none of the others; unlabeled rows have no score."""
    splits = np.repeat(np.array(["train", "val", "test", "unlabeled"], object), [100, 80, 90, 30])
    parted = {
        "splits": splits,
        "given_labels": np.where(splits == "unlabeled", -1, np.arange(N) % K),
        "folds": np.where(splits == "train", np.arange(N) % 5, -1),
    }
    first = note_run(run_of(tmp_path / "first", leaves(**parted), wrong=20), is_kept=np.arange(N) >= 20)
    assert (first.accuracy_on_given.value, first.accuracy_on_given.num_rows) == (0.8, 100)
    assert first.accuracy_on_kept.num_rows == 80
    assert {name: (each.value, each.num_rows) for name, each in first.by_split.items()} == {
        "val": (1.0, 80),
        "test": (1.0, 90),
    }
    worse = note_run(run_of(tmp_path / "worse", leaves(**parted), wrong=145))
    assert (worse.accuracy_on_given.value, worse.by_split["val"].value) == (0.0, 1 - 45 / 80)
    assert worse.against_baseline.difference.num_rows == 100
    assert read_diary(tmp_path) == (first, worse)


def test_a_table_without_train_is_scored_on_its_first_split(tmp_path: Path) -> None:
    parted = leaves(splits=["test"] * N, folds=None)
    entry = note_run(run_of(tmp_path / "run", parted, wrong=60))
    assert entry.accuracy_on_given == entry.by_split["test"]


def test_a_score_of_others_has_an_interval_if_its_rows_are_known(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", leaves(), wrong=60)
    note_run(run)
    entry = note_scores(run, {"public": 0.9, "private": 0.8}, rows={"public": 400})
    assert entry.leaderboard_range("private") is None
    assert entry.leaderboard_range("public") == proportion(360, 400)
    assert note_scores(run, {"public": 0.91}).leaderboard_range("public") is None  # of unknown rows
    for rows, score in ((0, 0.9), (400, 1.2)):
        with pytest.raises(InputError, match=f"public={score} of {rows} rows is no share of right rows"):
            note_scores(run, {"public": score}, rows={"public": rows})


def test_scores_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", leaves(), wrong=60)
    note_run(run)
    before = (tmp_path / DIARY).read_bytes()
    for scores, message in (
        ({}, "There is no score"),
        ({"=1+1": 0.9}, "letters, digits, dots and dashes"),
        ({"public": float("nan")}, "public=nan is not a finite number"),
    ):
        with pytest.raises(InputError, match=message):
            note_scores(run, scores)
    with pytest.raises(InputError, match=r"'nothere' has no score in the diary\. Name one of run"):
        note_scores(tmp_path / "nothere", {"public": 0.9})
    assert (tmp_path / DIARY).read_bytes() == before


def test_a_line_that_a_kill_cut_short_is_left_out_and_cleared_away(tmp_path: Path) -> None:
    first = note_run(run_of(tmp_path / "first", leaves(), wrong=60))
    with (tmp_path / DIARY).open("ab") as file:
        file.write(b'{"run": "seco')
    assert read_diary(tmp_path) == (first,)
    second = note_run(run_of(tmp_path / "second", leaves(), wrong=30))
    assert read_diary(tmp_path) == (first, second)


def test_runs_that_end_at_once_are_all_noted(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / f"run{wrong}", leaves(), wrong=wrong) for wrong in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note_run, runs))
    assert sorted(entry.run for entry in read_diary(tmp_path)) == [f"run{wrong}" for wrong in range(8)]


def test_what_is_no_diary_or_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no diary"):
        read_diary(tmp_path)
    run = run_of(tmp_path / "run", leaves(), wrong=60)
    os.truncate(run / "predictions" / "pred_probs.npy", 100)
    with pytest.raises(StaleArtifact, match="is missing or was changed"):
        note_run(run)
    (tmp_path / DIARY).write_text(json.dumps({"run": "x"}) + "\n")
    with pytest.raises(InputError, match=r"line 1 of .*diary.jsonl"):
        read_diary(tmp_path)
