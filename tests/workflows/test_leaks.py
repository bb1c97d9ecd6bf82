"""Copies and groups across the splits of a table, as `check` lists them."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from kiyome.artifacts.issues import write_issue_files
from kiyome.artifacts.leaks import Leaks, read_leaks, write_leaks
from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import RunFolder
from kiyome.artifacts.table import Table
from kiyome.artifacts.table_files import load_table, write_table
from kiyome.decisions.items import read_items
from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.check import check
from kiyome.workflows.curate import curate
from kiyome.workflows.find import find

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
    assert "photos of test probably lie in train, too (leaks.csv: " in result.summary()["notes"][-2]


def test_find_lists_them_by_features_and_curate_drops_them(digits: Path, tmp_path: Path) -> None:
    found = find(digits / "train.csv", backbone="tiny", output=tmp_path / "run", cache_folder=tmp_path)
    leaks = read_leaks(found.folder, found.table)
    assert leaks is not None
    pairs = set(zip(leaks.first.tolist(), leaks.second.tolist(), strict=True))
    assert {(NUM_TRAIN + number, 7 * number) for number in range(4)} <= pairs
    assert found.summary()["leaks"]["pairs_with_different_labels"] == 1
    items = read_items(found.folder)
    assert items.copies is not None
    assert items.copies[0].tolist() == [NUM_TRAIN, 0]
    table = curate(found.folder, unleak="train", min_similarity=0.95).table
    assert table.weights is not None
    assert np.flatnonzero(table.weights == 0).tolist() == [0, 7, 14, 21]


def test_the_list_is_read_back_as_it_was(digits: Path, tmp_path: Path) -> None:
    result = check(digits / "train.csv", output=tmp_path / "run")
    read = read_leaks(result.folder, result.table)
    assert read is not None
    assert result.leaks is not None
    for name in ("first", "second", "kinds", "labels_differ", "pixels", "has_exif", "shows_same"):
        assert np.array_equal(getattr(read, name), getattr(result.leaks, name))
    assert np.allclose(read.similarity, result.leaks.similarity, atol=1e-3, equal_nan=True)


LEAKS = Leaks(
    first=np.array([1, 0, 2, 6]),
    second=np.array([4, 3, 5, 7]),
    kinds=("mirrored", "same pixels", "cropped", "same group"),
    similarity=np.array([0.9, 1, 0.8, np.nan], np.float32),
    labels_differ=np.array([True, False, False, False]),
    pixels=np.full((4, 2), 100),
    has_exif=np.zeros((4, 2), bool),
)


def run_with(leaks: Leaks | None, place: Path) -> Path:
    """A run on ten rows, of which the last is flagged."""
    table = Table(
        root=Path(),
        image_ids=["=t0", "t1", "v2", "a3", "a4", "a5", "t6", "a7", "a8", "a9"],
        paths=[""] * 10,
        given_labels=[0, 1, 0, 0, 0, 0, 1, 0, 1, 0],
        class_names=("cat", "dog"),
        splits=["test", "test", "val", "train", "train", "train", "test", "train", "train", "train"],
    )
    with RunFolder.create_or_reopen(place / "leaves", command="find", config={}, table=table) as folder:
        write_table(table, folder.path / "table.parquet")
        if leaks is not None:
            write_leaks(folder.path, table, leaks)
        probs = np.full((10, 2), 0.5, np.float32)
        Predictions(
            pred_probs=probs, kind="out_of_fold", source="test", table_fingerprint=table.fingerprint
        ).save(folder.path / "predictions")
        write_issue_files(
            folder.path,
            table,
            is_label_issue=np.arange(10) == 9,
            label_quality=probs[:, 0],
            predicted_labels=table.given_labels,
            ranked_rows=np.arange(10),
            probability=np.where(np.arange(10) == 9, 0.9, 0.1),
        )
    return place / "leaves"


@pytest.mark.parametrize(
    ("options", "dropped", "gone"),
    [
        ({"unleak": "train"}, ["a3", "a4", "a5"], []),
        ({"unleak": "train", "min_similarity": 0.9}, ["a3", "a4"], []),
        ({"unleak": "train", "action": "drop", "min_similarity": 0.9}, ["a3", "a4", "a9"], []),
        ({"unleak": "test"}, ["'=t0", "t1"], ["=t0", "t1"]),
        ({"unleak": "val"}, ["v2"], ["v2"]),
    ],
)
def test_copies_are_dropped_from_the_split_that_is_asked_for(
    tmp_path: Path, options: dict[str, Any], dropped: list[str], gone: list[str]
) -> None:
    result = curate(run_with(LEAKS, tmp_path), **options)
    assert result.folder.name == "leaves-unleak"
    with (result.folder / "changes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [row["image_id"] for row in lines] == dropped
    assert {row["by"] for row in lines if row["image_id"] != "a9"} == {"leak"}
    table = load_table(result.folder / "table.parquet")
    assert len(table) == 10 - len(gone)
    assert not set(gone) & set(table.image_ids.tolist())
    used = table.image_ids[np.ones(len(table)) if table.weights is None else table.weights > 0]
    assert not set(dropped) & set(used.tolist())
    assert result.summary()["dropped_as_leaks"] == len([name for name in dropped if name != "a9"])


def test_the_worse_copy_is_the_smaller_or_that_with_the_less_likely_label(tmp_path: Path) -> None:
    sizes = np.array([[100, 100], [100, 50], [50, 100], [1, 9]])
    result = curate(run_with(replace(LEAKS, pixels=sizes), tmp_path), unleak="worse")
    assert result.curated.leaked is not None
    dropped = result.curated.table.image_ids[result.curated.leaked].tolist()
    assert dropped == ["t1", "v2", "a3"]  # the prediction of a4 denies the label of t1


def test_of_equal_size_the_copy_without_exif_is_worse(tmp_path: Path) -> None:
    sizes = np.array([[100, 100], [100, 50], [100, 100], [1, 9]])
    exif = np.array([[True, False], [False, True], [False, True], [True, True]])
    result = curate(run_with(replace(LEAKS, pixels=sizes, has_exif=exif), tmp_path), unleak="worse")
    assert result.curated.leaked is not None
    dropped = result.curated.table.image_ids[result.curated.leaked].tolist()
    assert dropped == ["v2", "a3", "a4"]  # the prediction of a4 denies the label of t1, whose file has EXIF


def test_exif_of_copies_is_in_the_list(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        split = "test" if number % 4 == 3 else "train"
        photo = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((64, 64))
        folder = tmp_path / "photos" / split / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[271] = "a camera"
        photo.save(folder / f"{number}.jpg", quality=95, exif=exif)
        if number < 2:
            copies = tmp_path / "photos" / "test" / f"class{number}"
            copies.mkdir(parents=True, exist_ok=True)
            photo.save(copies / f"copy{number}.png")
    result = check(tmp_path / "photos", output=tmp_path / "run")
    with (result.folder / "leaks.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(row["image_id"], row["exif"], row["other_exif"]) for row in lines] == [
        ("test/class0/copy0.png", "False", "True"),
        ("test/class1/copy1.png", "False", "True"),
    ]


def test_a_run_without_leaks_or_an_unknown_split_is_refused(tmp_path: Path) -> None:
    run = run_with(None, tmp_path)
    with pytest.raises(InputError, match="The unleak 'all' is unknown"):
        curate(run, unleak="all")
    with pytest.raises(InputError, match=r"leaves has no list of leaks \(leaks.csv\)"):
        curate(run, unleak="train")


def test_without_splits_there_is_no_list(digits: Path, tmp_path: Path) -> None:
    result = check(digits / "train.csv", output=tmp_path / "run", ignore_splits=True)
    assert not (result.folder / "leaks.csv").exists()
    assert "leaks" not in result.summary()
    assert read_leaks(result.folder, result.table) is None
