"""Copies and groups across the splits of a table, as `check` lists them."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kiyome.artifacts.leaks import read_leaks
from kiyome.testing import write_digits
from kiyome.workflows.check import check

NUM_TRAIN, NUM_TEST = 300, 60


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits with a column of splits; test photos 0 to 3 are copies of train photos, the first mislabeled."""
    folder = tmp_path_factory.mktemp("leaks") / "digits"
    write_digits(folder, num_photos=NUM_TRAIN + NUM_TEST, noise_rate=0)
    with (folder / "train.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    photos = folder / "train_images"
    for number, turn in enumerate([None, None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90]):
        copied = Image.open(photos / rows[7 * number]["image_id"])
        changed = copied if turn is None else copied.transpose(turn)
        changed.resize((48, 48) if number else copied.size).save(
            photos / rows[NUM_TRAIN + number]["image_id"]
        )
        rows[NUM_TRAIN + number]["label"] = rows[7 * number]["label"]
    rows[NUM_TRAIN]["label"] = rows[1]["label"]
    with (folder / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "label", "split", "patient_id"])
        for number, row in enumerate(rows):
            patient = 0 if number in (20, NUM_TRAIN + 50) else number + 1
            writer.writerow(
                [row["image_id"], row["label"], "test" if number >= NUM_TRAIN else "train", f"p{patient}"]
            )
    return folder


def test_check_lists_copies_across_splits_with_two_labels_first(digits: Path, tmp_path: Path) -> None:
    result = check(digits / "train.csv", output=tmp_path / "run")
    with (result.folder / "leaks.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    ids = result.table.image_ids
    expected = {
        (ids[NUM_TRAIN], ids[0], "same pixels", "True"),
        (ids[NUM_TRAIN + 1], ids[7], "nearly the same", "False"),
        (ids[NUM_TRAIN + 2], ids[14], "mirrored", "False"),
        (ids[NUM_TRAIN + 3], ids[21], "turned", "False"),
        (ids[NUM_TRAIN + 50], ids[20], "same group", "False"),
    }
    listed = {(row["image_id"], row["other_image_id"], row["kind"], row["labels_differ"]) for row in lines}
    assert expected <= listed
    others = [float(row["similarity"]) for row in lines[1:] if row["similarity"]][3:]
    assert len(others) < NUM_TEST / 8  # digits of 8 x 8 pixels are nearly alike
    assert max(others, default=0) < 0.93
    assert lines[0]["labels_differ"] == "True"
    assert {(row["split"], row["other_split"]) for row in lines} == {("test", "train")}
    counts = result.summary()["leaks"]
    assert counts["rows_of_a_group_in_an_earlier_split"] == {"test": 1}
    assert counts["pairs_with_different_labels"] == 1
    assert (
        "photos of test lie in train, too (leaks.csv, 1 pairs with two labels)"
        in result.summary()["notes"][-2]
    )


def test_the_list_is_read_back_as_it_was(digits: Path, tmp_path: Path) -> None:
    result = check(digits / "train.csv", output=tmp_path / "run")
    read = read_leaks(result.folder, result.table)
    assert read is not None
    assert result.leaks is not None
    for name in ("first", "second", "kinds", "labels_differ", "pixels", "shows_same"):
        assert np.array_equal(getattr(read, name), getattr(result.leaks, name))
    assert np.allclose(read.similarity, result.leaks.similarity, atol=1e-3, equal_nan=True)


def test_without_splits_there_is_no_list(digits: Path, tmp_path: Path) -> None:
    result = check(digits / "train.csv", output=tmp_path / "run", ignore_splits=True)
    assert not (result.folder / "leaks.csv").exists()
    assert "leaks" not in result.summary()
    assert read_leaks(result.folder, result.table) is None
