"""`kiyome curate` on real runs: versions on disk, decisions from files, the diary."""

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.storage import write_csv
from kiyome.cli import app
from kiyome.errors import InputError
from kiyome.experiments import read_diary
from kiyome.reading.read_table import read_table
from kiyome.testing import write_digits
from kiyome.workflows.curate import curate
from kiyome.workflows.find import find
from kiyome.workflows.predict import predict


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("curate")
    write_digits(place / "digits", num_photos=300)
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place / "cache")


def test_a_version_is_written_beside_the_old_one_and_noted(found) -> None:
    before = (found.folder / "table.parquet").read_bytes()
    result = curate(found.folder, action="relabel")
    assert result.folder.name == "run-relabel"
    assert (found.folder / "table.parquet").read_bytes() == before
    again = read_table(result.folder / "table.parquet", images=found.table.root)
    assert again.content_digest == result.table.content_digest
    changed = again.labels != again.given_labels
    assert 0 < changed.sum() <= found.num_issues
    with (result.folder / "changes.csv").open(newline="") as file:
        listed = {row["image_id"]: row["label_now"] for row in csv.DictReader(file)}
    names = np.array(again.class_names, dtype=object)
    assert listed == dict(zip(again.image_ids[changed], names[again.labels[changed]], strict=True))
    entry = read_diary(found.folder.parent)[-1]
    assert (entry.command, entry.verdict()) == ("curate", "no score")
    assert entry.config["rows_relabeled"] == changed.sum()


def test_the_next_round_is_named_after_the_version_and_taught_by_it(found, tmp_path, monkeypatch) -> None:
    cache = {"backbone": "tiny", "cache_folder": found.folder.parent / "cache"}
    monkeypatch.chdir(tmp_path)
    dropped = curate(found.folder, action="drop", output=tmp_path / "cleaned")
    again = find(dropped.folder / "table.parquet", **cache)
    assert again.folder.resolve() == tmp_path / "runs" / "cleaned-find"
    assert len(again.table) == len(found.table)
    assert not np.array_equal(again.pred_probs, found.pred_probs)
    taught = dropped.curated.actions != "drop"
    agrees = again.predicted_labels == again.table.given_labels
    assert agrees[taught].mean() > (found.predicted_labels == found.table.given_labels)[taught].mean()


def test_dropped_rows_leave_the_list_of_labels_and_no_table(found) -> None:
    answer = CliRunner().invoke(app, ["curate", str(found.folder), "--json"])
    assert answer.exit_code == 0, answer.output
    folder = found.folder.with_name("run-drop")
    said = CliRunner().invoke(app, ["curate", str(found.folder)]).output
    assert f"{found.num_issues:,} drop" in said
    assert f"kiyome train {folder}" in said.replace("\n", "")
    with (folder / "corrected_labels.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 300 - found.num_issues
    assert len(read_table(folder / "table.parquet", allow_missing=True)) == 300


def test_softened_labels_are_predictions_that_training_takes(found) -> None:
    result = curate(found.folder, action="soften")
    targets = Predictions.load(result.folder / "predictions", result.table).pred_probs
    issue = found.is_label_issue
    assert (targets[issue].max(axis=1) < 1).all()
    assert (targets[~issue].max(axis=1) == 1).all()


def test_softened_labels_teach_the_heads_of_find(found, tmp_path: Path) -> None:
    digits = found.folder.parent / "digits"
    soft = curate(found.folder, action="soften", output=tmp_path / "soft")
    how = {"backbone": "tiny", "cache_folder": found.folder.parent / "cache"}
    taught = find(digits, soft_labels=soft.folder, output=tmp_path / "taught", **how)
    again = find(soft.folder / "table.parquet", soft_labels=soft.folder, output=tmp_path / "again", **how)
    np.testing.assert_array_equal(taught.table.folds, found.table.folds)
    np.testing.assert_array_equal(taught.pred_probs, again.pred_probs)
    given, issue = found.table.given_labels, found.is_label_issue
    of_given = np.arange(len(given)), given
    assert taught.pred_probs[of_given][issue].mean() < found.pred_probs[of_given][issue].mean()
    np.testing.assert_array_equal(taught.given_labels, given)
    assert any("taught the soft labels of soft. Heads were" in note for note in taught.scored.notes)
    assert "soft labels" in read_diary(tmp_path)[-1].leaks[0]
    said = predict(taught.folder, digits, output=tmp_path / "said.csv", cache_folder=how["cache_folder"])
    assert said.pred_probs.shape == taught.pred_probs.shape


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_folds": 3}, "--soft-labels is given together with --folds or --seed"),
        ({"pred_probs": "oof.csv"}, "--soft-labels is given together with --pred-probs"),
        ({"with_runs": ["runs/a"]}, "--soft-labels is given together with --with"),
    ],
)
def test_soft_labels_are_no_other_predictions(found, change, words) -> None:
    with pytest.raises(InputError, match=words):
        find(found.folder.parent / "digits", backbone="tiny", soft_labels=found.folder, **change)


def test_soft_labels_of_other_photos_are_refused_before_a_run_begins(found, tmp_path: Path) -> None:
    write_digits(tmp_path / "others", num_photos=200)
    with pytest.raises(InputError, match=r"run on another table.*or leave out --soft-labels"):
        find(tmp_path / "others", backbone="tiny", soft_labels=found.folder, output=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_flags_beyond_the_share_of_a_class_are_left_alone_and_told(found, tmp_path) -> None:
    command = ["curate", str(found.folder), "--max-left-out", "0.03"]
    said = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "a")])
    assert said.exit_code == 0, said.output
    capped = curate(found.folder, max_left_out=0.03, output=tmp_path / "a")
    counts = np.bincount(found.table.labels[capped.table.weights == 0], minlength=10)
    assert (counts <= 0.03 * np.bincount(found.table.labels, minlength=10)).all()
    assert 0 < counts.sum() < found.num_issues
    assert capped.curated.notes
    for note in capped.curated.notes:
        assert f"note: {note}" in said.output
    assert capped.summary()["notes"] == list(capped.curated.notes)


def test_decisions_come_from_a_file(found, tmp_path: Path) -> None:
    ids, names = found.table.image_ids, found.table.class_names
    label = int(found.table.given_labels[1] == 0)
    said = f"image_id,decision,label\n{ids[0]},drop,\n{ids[1]},relabel,{names[label]}\n{ids[2]},unsure,\n"
    (tmp_path / "said.csv").write_text(said)
    result = curate(found.folder, decisions=tmp_path / "said.csv", output=tmp_path / "out")
    assert result.curated.num_changed == {"drop": 1, "relabel": 1}
    assert result.table.labels[1] == label
    (tmp_path / "bad.csv").write_text(f"image_id,decision,label\n{ids[0]},relabel,=1+1\n")
    with pytest.raises(InputError, match="'=1\\+1' line 2"):
        curate(found.folder, decisions=tmp_path / "bad.csv", output=tmp_path / "bad")
    (tmp_path / "none.csv").write_text("image_id\n1\n")
    with pytest.raises(InputError, match=r"none\.csv has no column decision"):
        curate(found.folder, decisions=tmp_path / "none.csv", output=tmp_path / "bad")


def test_a_run_without_issues_is_told_apart(found, tmp_path: Path) -> None:
    curated = curate(found.folder, action="soften", output=tmp_path / "soft")
    with pytest.raises(InputError, match=r"no .*label_issues.parquet. Issues are written by"):
        curate(curated.folder)


def test_a_class_that_a_spreadsheet_would_run_goes_out_marked_and_comes_back(tmp_path: Path) -> None:
    """`=HYPERLINK(...)` as a class name would open an address from corrected_labels.csv."""
    evil = '=HYPERLINK("http://evil.example","y")'
    rows = [[f"{row}.jpg", evil if row % 2 else "rust"] for row in range(40)]
    write_csv(tmp_path / "train.csv", [("image_id", "label"), *rows])
    probs = [[f"{row}.jpg", *((0.1, 0.9) if row % 2 else (0.9, 0.1))] for row in range(40)]
    write_csv(tmp_path / "oof.csv", [("image_id", "rust", evil), *probs])
    run = find(tmp_path / "train.csv", pred_probs=tmp_path / "oof.csv", output=tmp_path / "run")
    assert any(f"1 ids and class names, such as {evil!r}, would run" in note for note in run.scored.notes)

    safe = curate(run.folder, action="keep", output=tmp_path / "safe")
    raw = curate(run.folder, action="keep", raw=True, output=tmp_path / "raw")
    text = (safe.folder / "corrected_labels.csv").read_text()
    assert "'=HYPERLINK" in text
    assert "'=HYPERLINK" not in (raw.folder / "corrected_labels.csv").read_text()
    assert any("table.csv or corrected_labels.csv" in note for note in raw.curated.notes)
    for result in (safe, raw):
        table = read_table(result.folder / "corrected_labels.csv", allow_missing=True)
        assert sorted(table.class_names) == sorted([evil, "rust"])
        assert table.image_ids.tolist() == [row[0] for row in rows]
