"""Splits as people lay them out: folders above and below classes, lists, tables beside, arrays, archives."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kiyome.errors import TableError
from kiyome.workflows.inputs import open_table

CLASSES = ("cat", "dog")


def photos(folder: str, *, first: int = 0, classes=CLASSES) -> list[str]:
    return [f"{folder}/{name}/{name}{number}.jpg" for name in classes for number in range(first, first + 3)]


def loose(folder: str) -> list[str]:
    return [f"{folder}/{number}.jpg" for number in range(3)]


def splits_of(path: Path, **options: object) -> dict[str, int]:
    table = open_table(path, missing_list=path / "missing.csv", **options)
    assert table.class_names == CLASSES
    return dict(Counter(table.split_names.tolist()))


@pytest.mark.parametrize(
    ("train", "test", "split"),
    [
        ("seg_train/seg_train", "seg_test/seg_test", "test"),
        ("training_set", "test_set", "test"),
        ("trainset", "testset", "test"),
        ("train/train", "test/test", "test"),
        ("TRN", "TST", "test"),
        ("train", "holdout", "test"),
        ("train", "held_out", "test"),
        ("train", "hold-out", "test"),
        ("trainval", "test", "test"),
        ("Train", "Valid", "val"),
        ("train", "dev", "val"),
        ("training", "evaluation", "test"),
        ("train", "inference", "unlabeled"),
    ],
)
def test_names_of_split_folders(lay, tmp_path, train, test, split):
    lay(tmp_path, *photos(train), *photos(test, first=3))
    assert splits_of(tmp_path) == {"train": 6, split: 6}


def test_splits_below_the_classes(lay, tmp_path):
    lay(tmp_path, *(f"{name}/{split}/{name}.jpg" for name in CLASSES for split in ("Train", "val", "test")))
    assert splits_of(tmp_path) == {"train": 2, "val": 2, "test": 2}
    assert splits_of(tmp_path, ignore_splits=True) == {"train": 6}
    assert splits_of(tmp_path, class_map=list(CLASSES)) == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize("inner", [("train", "bus"), ("test", "val"), ("train", "training")])
def test_folders_below_the_classes_that_are_not_surely_splits(lay, tmp_path, inner):
    lay(
        tmp_path,
        *(f"{name}/{each}/{number}.jpg" for name in CLASSES for each in inner for number in range(2)),
    )
    table = open_table(tmp_path, missing_list=tmp_path / "missing.csv", class_map=list(CLASSES))
    assert table.splits is None


def test_a_folder_of_splits_or_classes_beside_others_is_no_class(lay, tmp_path):
    lay(tmp_path / "a", *photos("Dataset/train"), *photos("Dataset/test"), *loose("samples"))
    lay(tmp_path / "b", *photos("train"), *loose("extra"))
    for name, inner in (("a", "Dataset"), ("b", "train")):
        with pytest.raises(TableError, match=f"{inner!r}, beside others") as raised:
            splits_of(tmp_path / name)
        assert raised.value.remedy.startswith(f"Give {tmp_path / name / inner}.")
        splits_of(tmp_path / name / inner)
    lay(tmp_path / "d", *photos("Train"), *loose("Test"), *loose("Meta"))
    with pytest.raises(TableError, match="named like splits beside others: 'Test', 'Train'") as raised:
        splits_of(tmp_path / "d")
    assert raised.value.remedy.startswith(f"Give {tmp_path}/d/Train --test {tmp_path}/d/Test.")
    assert splits_of(tmp_path / "d/Train", test=tmp_path / "d/Test") == {"train": 6, "unlabeled": 3}
    lay(tmp_path / "c", *loose("train"), *loose("bus"))  # a train is also a vehicle
    assert len(open_table(tmp_path / "c", missing_list=tmp_path / "missing.csv")) == 6


def test_the_folder_that_holds_the_classes_is_named_however_deep_it_is(lay, tmp_path):
    lay(tmp_path, *photos("train/train/images"))
    with pytest.raises(
        TableError, match=f"If its folders are the classes, give {tmp_path}/train/train/images"
    ):
        splits_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("val/val_annotations.txt", "{file}\t{label}\t0\t0\t62\t62"),
        ("val.csv", "val/images/{file},{label}"),
        ("val/labels.txt", "{file} {label}"),
    ],
)
def test_labels_of_a_split_without_class_folders_are_in_a_table(lay, tmp_path, name, line):
    lay(tmp_path, *photos("train"), *(f"val/images/v_{row}.jpg" for row in range(4)), *loose("test"))
    lines = [line.format(file=f"v_{row}.jpg", label=CLASSES[row % 2]) for row in range(4)]
    header = ["file_name,class"] if name.endswith(".csv") else []
    (tmp_path / name).write_text("\n".join([*header, *lines]) + "\n")
    table = open_table(tmp_path, missing_list=tmp_path / "missing.csv")
    assert Counter(table.split_names.tolist()) == {"train": 6, "val": 4, "unlabeled": 3}
    assert table.given_names[table.in_split("val")].tolist() == ["cat", "dog"] * 2
    assert f"Labels of 4 photos in val are those of {Path(name).name}." in table.notes
    joined = open_table(
        tmp_path / "train", test=tmp_path / name, test_images=tmp_path, missing_list=tmp_path / "missing.csv"
    )
    assert joined.given_names[joined.in_split("val")].tolist() == ["cat", "dog"] * 2


def test_a_table_of_other_labels_is_not_used(lay, tmp_path):
    lay(tmp_path, *photos("train"), *(f"val/v_{row}.jpg" for row in range(4)))
    (tmp_path / "val" / "list.txt").write_text("".join(f"v_{row}.jpg {'ab'[row % 2]}\n" for row in range(4)))
    assert splits_of(tmp_path) == {"train": 6, "unlabeled": 4}


@pytest.mark.parametrize(
    ("name", "labels", "num_labeled"),
    [
        ("sample.csv", ["cat"] * 6, 0),
        ("my_predictions.csv", ["cat", "dog"] * 3, 0),
        ("labels.csv", ["cat", "dog", "", "", "dog", "cat"], 4),
    ],
)
def test_a_submission_in_the_folder_of_a_split_is_no_label(lay, tmp_path, name, labels, num_labeled):
    lay(tmp_path, *photos("train"), *(f"test/t_{row}.jpg" for row in range(6)))
    lines = [f"t_{row}.jpg,{label}" for row, label in enumerate(labels)]
    (tmp_path / "test" / name).write_text("\n".join(["id,label", *lines]) + "\n")
    table = open_table(tmp_path, missing_list=tmp_path / "missing.csv")
    counts = Counter(table.split_names.tolist())
    assert (counts["train"], counts["test"], counts["unlabeled"]) == (6, num_labeled, 6 - num_labeled)


def listed(folder: Path, *, ending: str) -> None:
    for split, numbers in (("train", range(4)), ("test", range(4, 7))):
        lines = [f"{name}/{name}_{number}{ending}" for name in CLASSES for number in numbers]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("ending", ["", ".jpg"])
@pytest.mark.parametrize("place", [".", "meta"])
def test_lists_of_photos_in_class_folders(lay, tmp_path, ending, place):
    lay(tmp_path / "images", *(f"{name}/{name}_{number}.jpg" for name in CLASSES for number in range(7)))
    (tmp_path / place).mkdir(exist_ok=True)
    listed(tmp_path / place, ending=ending)
    images, train, test = tmp_path / "images", tmp_path / place / "train.txt", tmp_path / place / "test.txt"
    assert splits_of(train, images=images, test=test) == {"train": 8, "test": 6}
    [note] = open_table(images, missing_list=tmp_path / "missing.csv").notes
    assert note == (
        f"{test} tells splits and is not used: all rows are for training."
        f" `kiyome find {train} --images {images} --test {test}` keeps them apart."
    )


def test_a_list_of_another_split_beside_a_list_is_told(lay, tmp_path):
    lay(tmp_path, *photos("."))
    listed(tmp_path, ending=".jpg")
    table = open_table(tmp_path / "train.txt", missing_list=tmp_path / "missing.csv", allow_missing=True)
    assert any(note.startswith("test.txt beside the table is not read.") for note in table.notes)


def test_lists_that_are_no_tables_are_told_without_a_command(lay, tmp_path):
    lay(tmp_path, *photos("."), "cat/x.jpg")
    for split, text in (("train", "cat0\ncat1\ndog0\n"), ("test", "cat2\ndog2\n")):
        (tmp_path / f"{split}.txt").write_text(text)
    [note] = open_table(tmp_path, missing_list=tmp_path / "missing.csv").notes
    assert note == f"{tmp_path / 'test.txt'} tells splits and is not used: all rows are for training."


def test_a_list_by_number_with_its_splits(lay, tmp_path):
    names = [f"{number % 2 + 1:03}.{CLASSES[number % 2]}/{number}_x.jpg" for number in range(12)]
    lay(tmp_path / "images", *names)
    (tmp_path / "images.txt").write_text("".join(f"{row} {name}\n" for row, name in enumerate(names, 1)))
    flags = "".join(f"{row} {int(row % 3 > 0)}\n" for row in range(1, 13))
    (tmp_path / "train_test_split.txt").write_text(flags)
    table = open_table(tmp_path / "images.txt", missing_list=tmp_path / "missing.csv")
    assert Counter(table.split_names.tolist()) == {"train": 8, "test": 4}
    assert table.class_names == ("001.cat", "002.dog")
    [note] = open_table(tmp_path / "images", missing_list=tmp_path / "missing.csv").notes
    assert f"`kiyome find {tmp_path / 'images.txt'} --images {tmp_path / 'images'}`" in note
    (tmp_path / "train_test_split.txt").write_text(flags[:30])
    with pytest.raises(TableError, match=r"train_test_split.txt does not say 0 or 1 for each photo"):
        open_table(tmp_path / "images.txt", missing_list=tmp_path / "missing.csv")


@pytest.mark.parametrize("lines", ["p1/1.jpg\np2/2.jpg\n", "train/1.jpg\n" * 9])
def test_a_list_without_classes_is_refused(tmp_path, lines):
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(TableError):
        open_table(tmp_path / "list.txt", missing_list=tmp_path / "missing.csv", allow_missing=True)


IMAGES = np.zeros((8, 4, 4), np.uint8)
IMAGES[:, 0, 0] = range(8)
LABELS = np.arange(8) % 2
ARRAYS = {
    "x before": {"xtrain": IMAGES, "ytrain": LABELS, "xtest": IMAGES, "ytest": LABELS},
    "capitals": {"trainImages": IMAGES, "trainLabels": LABELS, "testImages": IMAGES, "testLabels": LABELS},
    "medmnist": {"train_images": IMAGES, "train_labels": LABELS[:, None], "test_images": IMAGES}
    | {"test_labels": LABELS[:, None]},
    "holdout": {"x_train": IMAGES, "y_train": LABELS, "x_holdout": IMAGES, "y_holdout": LABELS},
}


def splits_in(arrays: dict, tmp_path: Path, monkeypatch) -> dict[str, int]:
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "data.npz", **arrays)
    table = open_table(tmp_path / "data.npz", missing_list=tmp_path / "missing.csv")
    return dict(Counter(table.split_names.tolist()))


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
def test_names_of_arrays(tmp_path, monkeypatch, arrays):
    assert splits_in(arrays, tmp_path, monkeypatch) == {"train": 8, "test": 8}


def test_arrays_without_labels_an_array_of_splits_and_unknown_ones(tmp_path, monkeypatch):
    labeled = {"x_train": IMAGES, "y_train": LABELS}
    assert splits_in(labeled | {"x_test": IMAGES}, tmp_path, monkeypatch) == {"train": 8, "unlabeled": 8}
    split = np.array(["train"] * 6 + ["val", "test"])
    plain = {"images": IMAGES, "labels": LABELS, "split": split}
    assert splits_in(plain, tmp_path, monkeypatch) == {"train": 6, "val": 1, "test": 1}
    with pytest.raises(TableError, match=r"has images and labels of 'extra', which names no split"):
        splits_in(labeled | {"x_extra": IMAGES, "y_extra": LABELS}, tmp_path, monkeypatch)


@pytest.mark.parametrize("prefix", [True, False])
def test_an_archive_for_each_split(tmp_path, monkeypatch, prefix):
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        with zipfile.ZipFile(tmp_path / "data" / f"{split}.zip", "w") as archive:
            for name in photos(split):
                archive.writestr(name if prefix else name.removeprefix(f"{split}/"), b"\xff\xd8\xff")
    assert splits_of(tmp_path / "data") == {"train": 6, "test": 6}


def test_photos_that_are_still_packed_are_pointed_out(tmp_path, monkeypatch):
    monkeypatch.setenv("KIYOME_CACHE", str(tmp_path / "cache"))
    (tmp_path / "train.csv").write_text("id,label\n" + "".join(f"{n},{CLASSES[n % 2]}\n" for n in range(4)))
    for split, numbers in (("train", range(4)), ("test", range(4, 6))):
        with zipfile.ZipFile(tmp_path / f"{split}.zip", "w") as archive:
            for number in numbers:
                archive.writestr(f"{split}/{number}.jpg", b"\xff\xd8\xff")
    with pytest.raises(TableError, match=f"If they are in train.zip, add --images {tmp_path}/train.zip"):
        splits_of(tmp_path)
    assert splits_of(tmp_path, images=tmp_path / "train.zip") == {"train": 4}
