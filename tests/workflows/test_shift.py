"""Splits against train: sentences, the list of rows, and what is said without features."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from kiyome.artifacts.table import Table
from kiyome.cli import app
from kiyome.testing import write_digits
from kiyome.workflows.shift import WEAKER, compare_with_train, describe_shift, write_shift

N, K = 600, 10
DIGITS = load_digits()
PIXELS, LABELS = DIGITS.data[:N].astype(np.float32), DIGITS.target[:N]


def table_of(splits: np.ndarray, labels: np.ndarray = LABELS, **columns: object) -> Table:
    given = np.where(splits == "unlabeled", -1, labels)
    return Table(
        root=Path(),
        image_ids=[f"=digit {row:03d}.png" for row in range(N)],
        paths=[""] * N,
        class_names=[f"digit {k}" for k in range(K)],
        given_labels=given,
        folds=np.where(splits == "train", np.arange(N) % 5, -1),
        splits=splits.astype(object),
        **columns,
    )


@pytest.fixture(scope="module")
def splits() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.repeat(["train", "test", "unlabeled"], [300, 200, 100]))


def test_a_darker_test_set_is_told_and_its_rows_are_listed(splits: np.ndarray, tmp_path: Path) -> None:
    changed = (splits == "test") & (np.arange(N) % 2 == 0)
    features = np.where(changed[:, None], PIXELS * 0.7, PIXELS)
    table = table_of(splits)
    found = compare_with_train(table, features=features)
    assert list(found) == ["test", "unlabeled"]
    told = list(describe_shift(found))
    assert told[0].startswith("test does not look like train (AUC ")
    assert told[1].startswith("  Classes whose photos differ most: digit ")
    assert "  Class shares do not differ by more than luck." in told
    assert told[-1].startswith(
        ("unlabeled looks like train, as far as", "Cannot tell with 100 unlabeled rows")
    )
    write_shift(tmp_path, table, found)
    with (tmp_path / "shift.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    first = [row for row in listed if (row["split"], row["against"]) == ("test", "train")]
    assert len(first) == 200
    assert [float(row["unlike"]) for row in first] == sorted(
        (float(row["unlike"]) for row in first), reverse=True
    )
    row_of = {f"'{image_id}": row for row, image_id in enumerate(table.image_ids)}  # no formula
    assert np.mean([changed[row_of[row["image_id"]]] for row in first[:50]]) > 0.85
    assert {row["given_label"] for row in listed if row["split"] == "unlabeled"} == {""}
    assert {(row["split"], row["against"]) for row in listed} == {
        ("test", "train"),
        ("train", "test"),
        ("unlabeled", "train"),
        ("train", "unlabeled"),
    }
    kept = found["test"].summary()
    assert kept["verdict"] == "differs"
    assert kept["auc"]["low"] > 0.6
    assert kept["classes"]["digit 3"]["share"]["num_rows"] == 200


def test_without_features_only_shares_and_confidence_are_compared(tmp_path: Path) -> None:
    splits = np.where(np.random.default_rng(0).random(N) < np.where(LABELS < 2, 0.7, 0.2), "test", "train")
    probs = np.full((N, K), 0.05) + 0.5 * np.eye(K)[LABELS]
    table = table_of(splits)
    found = compare_with_train(table, pred_probs=probs)
    told = list(describe_shift(found))
    assert told[0] == f"test against train: {WEAKER}"
    assert told[1].startswith("  Class shares differ by more than luck: digit ")
    assert told[2].startswith("  Mean confidence: 55.0 % (")
    write_shift(tmp_path, table, found)
    assert not (tmp_path / "shift.csv").exists()
    assert found["test"].summary()["auc"] is None


def test_copies_and_groups_stay_together(splits: np.ndarray) -> None:
    """Photos of a patient look alike: other patients in test are no shift."""
    patients = np.arange(N) // 10
    features = np.random.default_rng(0).normal(size=(60, 5))[patients] + 0.3 * PIXELS[:, 2:7]
    by_patient = np.where(patients % 3 == 0, "test", "train")
    names = [f"patient {patient}" for patient in patients]
    for groups, alike in ((names, None), (None, patients)):
        table = table_of(by_patient, groups=groups)
        found = compare_with_train(table, features=features, alike=alike)["test"].photos
        assert found.auc.low <= 0.5
    alone = compare_with_train(table_of(by_patient), features=features)["test"].photos
    assert alone.auc.low > 0.5


def test_without_train_or_other_splits_there_is_nothing_to_compare() -> None:
    for name in ("train", "test"):
        assert compare_with_train(table_of(np.repeat([name], N)), features=PIXELS) == {}


def test_check_prints_class_shares_by_split(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", num_photos=200, noise_rate=0)
    table = tmp_path / "digits" / "train.csv"
    head, *lines = table.read_text().split()
    rows = [
        f"{line},{'test' if line[-1] in '01' or number % 4 == 0 else 'train'}"
        for number, line in enumerate(lines)
    ]
    table.write_text("\n".join([f"{head},split", *rows]))
    answer = CliRunner().invoke(app, ["check", str(tmp_path / "digits"), "--output", str(tmp_path / "run")])
    assert answer.exit_code == 0, answer.output
    told = " ".join(answer.output.split())
    assert f"test against train: {WEAKER}" in told
    assert "Class shares differ by more than luck: " in told
    again = CliRunner().invoke(
        app, ["check", str(tmp_path / "digits"), "--output", str(tmp_path / "run"), "--json"]
    )
    assert json.loads(again.stdout)["shift"]["test"]["classes"]["0"]["difference"]["low"] > 0
