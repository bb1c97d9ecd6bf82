"""Look twice at folders: none is silently a class."""

import pytest

from kiyome.errors import TableError
from kiyome.reading.read_table import read_table


def names(*folders):
    return [f"{folder}/{number}.jpg" for folder in folders for number in range(2)]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("val/cat", "val/dog", "test/dog"), r"only splits: test, val.*/val$"),
        (
            ("train/cat", "train/dog", "test/cat", "extra/x"),
            r"named like splits beside others: 'test', 'train'.*--class-map",
        ),
        (
            ("train/cat", "train/dog", "test/cat", "test/dog", "extra/x"),
            r"same folders below several others .*: 'cat', 'dog'.* such as .*/train",
        ),
        (
            ("train/cat", "train/dog", "test/cow", "test/hen"),
            r"/test has none of the class folders of train \('cat', 'dog'\), but 'cow', 'hen'.*--ignore",
        ),
        (("ok", "nok", "test"), r"named like splits beside others: 'test'.*Move them"),
        (
            ("a/cat", "a/dog", "b/cat", "b/dog"),
            r"same folders below several .*: 'cat', 'dog'",
        ),
    ],
)
def test_folders_that_are_no_classes_are_named(lay, tmp_path, folders, message):
    lay(tmp_path, *names(*folders))
    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("folders", "splits", "note"),
    [
        (
            ("train/cat", "train/dog", "val/cat", "test/dog"),
            {"train": 4, "val": 2, "test": 2},
            "Splits from folders: 4 train, 2 val, 2 test.",
        ),
        (
            (
                "seg_train/seg_train/cat",
                "seg_train/seg_train/dog",
                "seg_test/seg_test/cat",
                "seg_pred/seg_pred",
            ),
            {"train": 4, "test": 2, "unlabeled": 2},
            "Splits from folders: 4 train, 2 test, 2 unlabeled.",
        ),
        (
            ("Training/cat", "Training/dog", "Testing/images"),
            {"train": 4, "unlabeled": 2},
            "Splits from folders: 4 train, 2 unlabeled.",
        ),
        (
            ("training_set/training_set/cat", "training_set/training_set/dog", "validation/dog"),
            {"train": 4, "val": 2},
            "Splits from folders: 4 train, 2 val.",
        ),
    ],
)
def test_class_folders_in_folders_of_splits(lay, tmp_path, folders, splits, note):
    lay(tmp_path, *names(*folders))
    table = read_table(tmp_path)
    assert table.class_names == ("cat", "dog")
    assert {name: int(table.in_split(name).sum()) for name in table.splits_in_use} == splits
    assert table.notes == (note,)
    assert [path.split("/")[-2] for path in table.paths[table.is_labeled]] == [
        table.class_names[label] for label in table.given_labels[table.is_labeled]
    ]
    together = read_table(tmp_path, ignore_splits=True)
    assert together.splits is None
    assert len(together) == table.is_labeled.sum()


def test_photos_beside_class_folders_of_a_split_are_skipped(lay, tmp_path):
    lay(tmp_path, "1.jpg", "test/2.jpg", *names("train/cat", "train/dog", "test/cat"))
    table = read_table(tmp_path)
    assert dict(table.skipped) == {
        "1.jpg": "lies outside the class folders",
        "test/2.jpg": "lies outside the class folders",
    }


def test_a_class_without_photos_in_train_is_named(lay, tmp_path):
    lay(tmp_path, *names("train/cat", "train/dog", "test/cat", "test/hen"))
    assert read_table(tmp_path).notes[1] == (
        "1 classes have no row in train, so no model learns them: 'hen'."
    )


def test_a_class_map_names_the_classes_in_splits(lay, tmp_path):
    lay(tmp_path, *names("train/cat", "train/dog", "test/dog"))
    table = read_table(tmp_path, class_map={"dog": "dogs", "cat": "cats"})
    assert table.class_names == ("dogs", "cats")
    assert table.splits_in_use == ("train", "test")
    assert read_table(tmp_path, class_map=["train", "test"]).class_names == ("train", "test")


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/train", "cat/test", "dog/train", "dog/test"),
        ("covid/patient1", "covid/patient2", "other/patient1", "other/patient2"),
        ("bus", "car", "train"),
        ("test_tube", "flask"),
        ("latest", "oldest"),
    ],
)
def test_classes_are_still_classes(lay, tmp_path, folders):
    lay(tmp_path, *names(*folders))
    assert read_table(tmp_path).class_names == tuple(sorted({each.split("/")[0] for each in folders}))


def test_a_class_map_says_that_a_folder_is_a_class(lay, tmp_path):
    lay(tmp_path, *names("ok", "nok", "test"))
    assert read_table(tmp_path, class_map=["ok", "nok", "test"]).num_classes == 3


def test_the_table_of_all_photos_is_named_before_those_of_some(lay, tmp_path):
    names = [f"scan_{row:02d}.jpg" for row in range(20)]
    lay(tmp_path / "scans", *names)
    (tmp_path / "net.csv").write_text("".join(f"{name},0.25,0.75\n" for name in names[:10]))
    (tmp_path / "oof.csv").write_text("".join(f"{name},0.25,0.75\n" for name in names))
    (tmp_path / "scans.csv").write_text("".join(f"{name},mild\n" for name in names))
    with pytest.raises(TableError, match=r"a table, scans.csv, that .* Give the table: .*scans.csv"):
        read_table(tmp_path)
    (note,) = read_table(tmp_path, need_labels=False).notes
    assert note == f"scans.csv names these photos and is not read: give {tmp_path / 'scans.csv'} to use it."
